"""Files of a sandbox."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument, NotFound
from ..results import Entry, FileChange
from .client import AsyncClient, part

#: What a directory holds.
Entries = list[Entry]
#: Bytes read of a host's file at once.
_CHUNK = 256 * 1024


class AsyncFiles:
    """Reads and writes files of a sandbox. Paths of the sandbox are absolute."""

    def __init__(self, client: AsyncClient, sandbox: str) -> None:
        """The files of the sandbox of an identifier."""
        self._client = client
        self._path = f"/v1/sandboxes/{part(sandbox)}/files"

    async def read(self, path: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Reads a file, or `length` bytes of it from `offset` on."""
        query: dict[str, Any] = {"path": path, "offset": offset}
        if length is not None:
            query["length"] = length
        return await self._client.content("GET", self._path, **query)

    async def read_text(self, path: str) -> str:
        """Reads a file of UTF-8."""
        return (await self.read(path)).decode()

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """Reads a file part by part. One that ends early is an error, never a short read."""
        response = await self._client.open("GET", self._path, query={"path": path}, endless=True)
        try:
            async for chunk in self._client.chunks(response):
                yield chunk
        finally:
            await response.aclose()

    async def write(
        self,
        path: str,
        content: bytes | str | AsyncIterable[bytes],
        *,
        mode: int | None = None,
        make_parents: bool = True,
    ) -> int:
        """Writes a file, which appears whole or not at all; gives its size in bytes."""
        query: dict[str, Any] = {"path": path, "make_parents": make_parents}
        if mode is not None:
            query["mode"] = f"{mode:o}"
        data = content.encode() if isinstance(content, str) else content
        response = await self._client.send("PUT", self._path, content=data, query=query)
        return int(response.json()["bytes"])

    async def list(self, path: str) -> Entries:
        """Lists a directory, by name."""
        listed = await self._client.json("GET", f"{self._path}/list", path=path)
        return [Entry.of(entry) for entry in listed["items"]]

    async def stat(self, path: str, *, follow: bool = False) -> Entry:
        """What a path is; with `follow`, what a symlink leads to."""
        entry = await self._client.json("GET", f"{self._path}/stat", path=path, follow=follow)
        return Entry.of(entry)

    async def exists(self, path: str) -> bool:
        """Whether there is something at a path."""
        try:
            await self.stat(path)
        except NotFound:
            return False
        return True

    async def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True) -> None:
        """Makes a directory. With `parents`, missing ones too, and one that is there is no
        error.
        """
        body: dict[str, Any] = {"path": path, "parents": parents}
        if mode is not None:
            body["mode"] = f"{mode:o}"
        await self._client.json("POST", f"{self._path}/mkdir", body)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Removes a file, an empty directory, or with `recursive` a directory with all in it."""
        await self._client.json("DELETE", self._path, path=path, recursive=recursive)

    async def rename(self, source: str, target: str) -> None:
        """Renames a path; what is at the target is replaced."""
        body = {"from": source, "to": target}
        await self._client.json("POST", f"{self._path}/rename", body)

    async def upload(self, source: str | os.PathLike[str], target: str) -> None:
        """Copies a file or directory of the host to exactly `target`, with permission bits.

        Symlinks are refused: what they would lead to in the sandbox is something else.
        """
        pending = [(Path(source), target)]
        while pending:
            path, place = pending.pop()
            if path.is_symlink():
                raise InvalidArgument(f"cannot copy `{path}`: it is a symlink")
            mode = path.stat().st_mode & 0o7777
            if path.is_dir():
                await self.mkdir(place, mode=mode)
                children = sorted(path.iterdir(), reverse=True)
                pending += [(child, f"{place.rstrip('/')}/{child.name}") for child in children]
            elif path.is_file():
                await self.write(place, _content(path), mode=mode)
            else:
                raise InvalidArgument(f"cannot copy `{path}`: it is no file and no directory")

    async def download(self, source: str, target: str | os.PathLike[str]) -> None:
        """Copies a file or directory of the sandbox to exactly `target` of the host, which must
        not be there.

        Nothing is written outside `target`, whatever the sandbox tells; symlinks are refused.
        """
        root = Path(target)
        if root.exists() or root.is_symlink():
            raise InvalidArgument(f"`{root}` is there already")
        pending = [(await self.stat(source), source, root)]
        while pending:
            entry, path, place = pending.pop()
            if entry.kind == "directory":
                place.mkdir()
                for child in reversed(await self.list(path)):
                    if child.name in ("", ".", "..") or "/" in child.name or "\0" in child.name:
                        raise InvalidArgument(f"the sandbox names a file `{child.name!r}`")
                    inner = f"{path.rstrip('/')}/{child.name}"
                    pending.append((child, inner, place / child.name))
            elif entry.kind == "file":
                with place.open("xb") as file:
                    async for chunk in self.stream(path):
                        file.write(chunk)
            else:
                raise InvalidArgument(f"cannot copy `{path}`: it is a {entry.kind}")
            place.chmod(entry.mode & 0o777)

    async def watch(self, path: str, *, interval: float = 0.5) -> AsyncIterator[FileChange]:
        """What becomes of a file, or of what is directly in a directory, for as long as it is
        asked for.

        It looks every `interval` seconds: of several changes in between, one is seen.
        """
        before = await self._look(path)
        while True:
            await asyncio.sleep(interval)
            now = await self._look(path)
            for name in sorted(before.keys() | now.keys()):
                if name not in before:
                    yield FileChange("created", name)
                elif name not in now:
                    yield FileChange("removed", name)
                elif before[name] != now[name]:
                    yield FileChange("modified", name)
            before = now

    async def _look(self, path: str) -> dict[str, tuple[int, int]]:
        try:
            entry = await self.stat(path)
            if entry.kind != "directory":
                return {path: (entry.modified_at_ms, entry.size)}
            entries = await self.list(path)
        except NotFound:
            return {}
        inner = path.rstrip("/")
        return {f"{inner}/{one.name}": (one.modified_at_ms, one.size) for one in entries}


async def _content(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
