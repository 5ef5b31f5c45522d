"""Files of this host that an upload reads and a download writes."""

from __future__ import annotations

import os
import secrets
import stat

from mvm.errors import InvalidArgument, TransportError


def entry_name(name: str) -> str:
    """A name that the guest told, if it is one. Raises `TransportError`: it could lead elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
        raise TransportError(f"the guest lists a file named `{name!r}`, which is no name of a file")
    return name


def list_local(path: str) -> list[tuple[str, int]]:
    """The names in a directory with their modes; symlinks are not followed."""
    with os.scandir(path) as entries:
        return sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)


def make_directory(path: str, is_target: bool) -> None:
    """Makes a directory if it is not there. Only the target itself may be a symlink to one."""
    try:
        os.mkdir(path)
    except FileExistsError:
        is_directory = os.path.isdir(path) if is_target else stat.S_ISDIR(os.lstat(path).st_mode)
        if not is_directory:
            raise InvalidArgument(f"`{path}` is there and is no directory") from None


class LocalFile:
    """An open file of this host: read from, or written beside its place until it is whole."""

    def __init__(self, descriptor: int, path: str, mode: int, place: str | None) -> None:
        self._descriptor = descriptor
        self._path = path
        self._place = place
        self.mode = mode
        self.size = 0

    @classmethod
    def reading(cls, path: str) -> LocalFile:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return cls(descriptor, path, stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o777, None)

    @classmethod
    def replacing(cls, place: str, mode: int) -> LocalFile:
        directory, name = os.path.split(place)
        beside = os.path.join(directory, f".{name[:100]}.{secrets.token_hex(4)}.part")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        return cls(descriptor, beside, mode, place)

    def read(self, length: int) -> bytes:
        return os.read(self._descriptor, length)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.size += len(data)

    def put_in_place(self) -> None:
        """Renames the file to its place; a symlink there is replaced, not followed."""
        assert self._place is not None
        os.fchmod(self._descriptor, self.mode)
        os.replace(self._path, self._place)
        self._place = None

    def close(self) -> None:
        """Closes the file; one that did not become whole is removed."""
        os.close(self._descriptor)
        if self._place is not None:
            os.unlink(self._path)
