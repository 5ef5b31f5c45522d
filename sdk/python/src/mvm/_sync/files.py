# Generated from mvm/_async by scripts/generate_sync.py; change it there.
"""Files of a sandbox. Paths are absolute ones of the guest."""

from __future__ import annotations

import builtins
import os
import stat as stat_bits
from collections.abc import Iterator
from typing import Any

from mvm._sync.concurrency import in_thread, pause
from mvm._sync.connection import Connection
from mvm.errors import InvalidArgument, NotFound
from mvm.local_files import LocalFile, entry_name, list_local, make_directory
from mvm.model import FileChange, FileEntry, Transfer

_PIECE = 256 << 10
# A guest can tell of directories in directories without an end.
_MAX_DEPTH = 128


class Files:
    """`sandbox.files`."""

    def __init__(self, connection: Connection, sandbox_path: str) -> None:
        self._connection = connection
        self._path = f"{sandbox_path}/files"

    def read(self, path: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or `length` of them from `offset` on. Raises `NotFound`."""
        data = bytearray()
        for chunk in self.read_chunks(path, offset=offset, length=length):
            data += chunk
        return bytes(data)

    def read_text(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """A file as text. Raises UnicodeDecodeError for what is none, unless `errors` says otherwise."""
        return (self.read(path)).decode(encoding, errors)

    def read_chunks(self, path: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a file in pieces, for one that is not to be in memory as a whole."""
        parameters: dict[str, Any] = {"path": path, "offset": offset or None, "length": length}
        for chunk in self._connection.chunks(self._path, parameters):
            yield chunk

    def write(
        self,
        path: str,
        data: bytes | str | Iterator[bytes],
        *,
        mode: int | None = None,
        make_parents: bool = True,
    ) -> int:
        """Writes a file and gives its size. It appears whole, in the place of what was there, or not at all."""
        answer = self._connection.request(
            "PUT",
            self._path,
            content=data.encode() if isinstance(data, str) else data,
            parameters={
                "path": path,
                "mode": None if mode is None else f"{mode:o}",
                "make_parents": "true" if make_parents else None,
            },
            waits=True,
        )
        return answer["bytes"]

    def list(self, path: str) -> builtins.list[FileEntry]:
        """What is in a directory, by name. Raises `NotFound`, and `InvalidArgument` for what is none."""
        answer = self._connection.request("GET", f"{self._path}/list", parameters={"path": path})
        return [FileEntry.from_json(item) for item in answer["items"]]

    def stat(self, path: str, *, follow: bool = True) -> FileEntry:
        """What a path names; with `follow` where a symlink leads. Raises `NotFound`."""
        parameters = {"path": path, "follow": "true" if follow else "false"}
        return FileEntry.from_json(self._connection.request("GET", f"{self._path}/stat", parameters=parameters))

    def exists(self, path: str) -> bool:
        """Whether a path names something; a symlink is something wherever it leads."""
        try:
            self.stat(path, follow=False)
        except NotFound:
            # It is the file that may be missing, not the sandbox.
            self.stat("/")
            return False
        return True

    def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True) -> None:
        """Makes a directory and, with `parents`, those above it; then one that is there is fine."""
        body: dict[str, Any] = {"path": path, "parents": parents}
        if mode is not None:
            body["mode"] = f"{mode:o}"
        self._connection.request("POST", f"{self._path}/mkdir", body=body)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Removes a file or an empty directory; with `recursive`, all that is in it too. Raises `NotFound`."""
        parameters = {"path": path, "recursive": "true" if recursive else None}
        self._connection.request("DELETE", self._path, parameters=parameters, waits=True)

    def rename(self, from_path: str, to_path: str) -> None:
        """Gives a file another path, in the place of a file that is there."""
        self._connection.request("POST", f"{self._path}/rename", body={"from": from_path, "to": to_path})

    def upload(self, local: str | os.PathLike[str], remote: str) -> Transfer:
        """Copies a local file to the path `remote`, or what is in a local directory into the directory `remote`.

        Symlinks are not followed: below a directory they are skipped and named in the answer, like all else
        that is neither a file nor a directory. Permission bits are kept.
        """
        start = os.fspath(local)
        if not in_thread(os.path.isdir, start):
            return Transfer(1, 0, self._upload_file(start, remote), ())
        tally = _Tally()
        waiting = [(start, remote.rstrip("/") or "/")]
        while waiting:
            here, there = waiting.pop()
            self.mkdir(there)
            tally.directories += 1
            for name, mode in in_thread(list_local, here):
                source, target = os.path.join(here, name), f"{there.rstrip('/')}/{name}"
                if stat_bits.S_ISDIR(mode):
                    waiting.append((source, target))
                elif stat_bits.S_ISREG(mode):
                    tally.files += 1
                    tally.bytes += self._upload_file(source, target)
                else:
                    tally.skipped.append(source)
        return tally.transfer()

    def _upload_file(self, source: str, target: str) -> int:
        file = in_thread(LocalFile.reading, source)

        def pieces() -> Iterator[bytes]:
            while True:
                piece = in_thread(file.read, _PIECE)
                if not piece:
                    return
                yield piece

        try:
            return self.write(target, pieces(), mode=file.mode)
        finally:
            in_thread(file.close)

    def download(self, remote: str, local: str | os.PathLike[str]) -> Transfer:
        """Copies a file to the local path, or what is in a directory into the local directory.

        The guest is not believed: a name with a separator in it is refused, no symlink is made or followed
        below `local`, and each file appears whole or not at all. What is neither a file nor a directory is
        skipped and named in the answer. Permission bits are kept, without those for set-user-id and the like.
        """
        target = os.fspath(local)
        entry = self.stat(remote)
        if entry.kind == "file":
            return Transfer(1, 0, self._download_file(remote, target, entry.mode), ())
        if entry.kind != "directory":
            raise InvalidArgument(f"`{remote}` is neither a file nor a directory")
        tally = _Tally()
        in_thread(make_directory, target, True)
        waiting = [(remote.rstrip("/") or "/", target, 0)]
        while waiting:
            there, here, depth = waiting.pop()
            tally.directories += 1
            for child in self.list(there):
                name = entry_name(child.name)
                source, place = f"{there.rstrip('/')}/{name}", os.path.join(here, name)
                if child.kind == "file":
                    tally.files += 1
                    tally.bytes += self._download_file(source, place, child.mode)
                elif child.kind == "directory" and depth < _MAX_DEPTH:
                    in_thread(make_directory, place, False)
                    waiting.append((source, place, depth + 1))
                else:
                    tally.skipped.append(source)
        return tally.transfer()

    def _download_file(self, source: str, target: str, mode: int) -> int:
        file = in_thread(LocalFile.replacing, target, mode & 0o777)
        try:
            for chunk in self.read_chunks(source):
                in_thread(file.write, chunk)
            in_thread(file.put_in_place)
        finally:
            in_thread(file.close)
        return file.size

    def watch(self, path: str, *, interval: float = 1.0, recursive: bool = False) -> Iterator[FileChange]:
        """Changes of a file or below a directory, for as long as it is iterated.

        It polls: every `interval` seconds it looks at sizes and times. What came and went in between is not
        seen, nor is a change that keeps both.
        """
        before = self._look(path, recursive)
        while True:
            pause(interval)
            now = self._look(path, recursive)
            for name in sorted(before.keys() | now.keys()):
                if name not in before:
                    yield FileChange("created", name)
                elif name not in now:
                    yield FileChange("removed", name)
                elif before[name] != now[name]:
                    yield FileChange("modified", name)
            before = now

    def _look(self, path: str, recursive: bool) -> dict[str, FileEntry]:
        seen: dict[str, FileEntry] = {}
        try:
            start = self.stat(path)
        except NotFound:
            self.stat("/")
            return seen
        if start.kind != "directory":
            return {path: start}
        waiting = [(path.rstrip("/"), 0)]
        while waiting:
            there, depth = waiting.pop()
            try:
                entries = self.list(there or "/")
            except NotFound:
                continue  # it went away since it was listed
            for entry in entries:
                seen[f"{there}/{entry.name}"] = entry
                if recursive and entry.kind == "directory" and depth < _MAX_DEPTH:
                    waiting.append((f"{there}/{entry.name}", depth + 1))
        return seen


class _Tally:
    def __init__(self) -> None:
        self.files = 0
        self.directories = 0
        self.bytes = 0
        self.skipped: builtins.list[str] = []

    def transfer(self) -> Transfer:
        return Transfer(self.files, self.directories, self.bytes, tuple(self.skipped))
