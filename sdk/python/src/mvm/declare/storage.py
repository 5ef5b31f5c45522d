"""What an app finds: variables of its environment, mounts and files."""

from __future__ import annotations

from .value import Declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    Environment = Mapping[str, "str | Variable"]


class Variable(Declared):
    """What an environment variable is set to."""

    __slots__ = ()


class MountSource(Declared):
    """What is mounted."""

    __slots__ = ()


class Mount(Declared):
    """Something mounted into an app."""

    __slots__ = ()


class File(Declared):
    """A file whose content the declaration holds."""

    __slots__ = ()


def literal(value: str) -> Variable:
    """This text."""
    return Variable("literal", locals())


def secret(
    name: str,
    *,
    type: Literal["bearer", "basic", "sigv4", "hmac"] | None = None,  # noqa: A002 - the keyword of the declaration
    hosts: Sequence[str] | None = None,
    allowed_hosts: Sequence[str] | None = None,
    var: str | None = None,
) -> Variable:
    """A placeholder for a secret of the host's store, which the host sends to these hosts only (`bearer`)."""
    return Variable("secret", locals())


def volume(
    name: str,
    *,
    size_mib: int | None = None,
    size_mb: int | None = None,
    persistent: bool | None = None,
    persist: bool | None = None,
) -> MountSource:
    """Storage of the workload: declared where it has a size (MiB), and else named.

    `persistent`: it outlives the apps that mount it.
    """
    return MountSource("volume", locals())


def host_path(path: str) -> MountSource:
    """A directory of the host, by its absolute path."""
    return MountSource("host_path", locals())


def tmpfs(size_mib: int | None = None, *, size_mb: int | None = None) -> MountSource:
    """Memory of the guest, at most so many MiB."""
    return MountSource("tmpfs", locals())


def mount(
    source: str | MountSource,
    target: str,
    *,
    read_only: bool | None = None,
    mode: Literal["ro", "rw"] | None = None,
) -> Mount:
    """A volume, by itself or by its name, or another source, at an absolute path of the guest."""
    return Mount("mount", locals())


def file(
    path: str,
    content: str | None = None,
    *,
    text: str | None = None,
    content_base64: str | None = None,
    bytes_b64: str | None = None,
    mode: int | None = None,
) -> File:
    """A file at an absolute path of the guest, with its permission bits (0o644)."""
    return File("file", locals())
