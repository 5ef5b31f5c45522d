"""The bodies of requests, made of keyword arguments. What is None is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import quote

from mvm.errors import InvalidArgument


class CreateOptions(TypedDict, total=False):
    """How a sandbox is to be; everything has a default.

    `image` is an input as `mvmctl` takes it, memory and disk are in MiB, `ttl_seconds` is when the sandbox
    ends at the latest (None: no such end), `profile` is one of restrictive, standard, dev, production.
    `network`, `secrets`, `mounts` and `ports` are passed on: a server that cannot grant them refuses them
    by name.
    """

    image: str | None
    name: str | None
    vcpus: int | None
    memory_mib: int | None
    disk_mib: int | None
    environment: Mapping[str, str] | None
    working_directory: str | None
    user: str | None
    ttl_seconds: int | None
    profile: str | None
    network: Any
    secrets: Any
    mounts: Any
    ports: Any


_RESOURCES = ("vcpus", "memory_mib", "disk_mib")


def create_body(options: Mapping[str, Any]) -> dict[str, Any]:
    """CREATE of the HTTP API. Raises `InvalidArgument` for an option that there is not."""
    body: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    for name, value in options.items():
        if name not in CreateOptions.__annotations__:
            raise InvalidArgument(f"a sandbox has no option `{name}`")
        if value is None:
            continue
        if name in _RESOURCES:
            resources[name] = value
        else:
            body[name] = dict(value) if name == "environment" else value
    if resources:
        body["resources"] = resources
    return body


def milliseconds(seconds: float | None, what: str) -> int | None:
    """Seconds as whole milliseconds, at least one. Raises `InvalidArgument` below zero."""
    if seconds is None:
        return None
    if seconds < 0:
        raise InvalidArgument(f"`{what}` is negative")
    return max(1, round(seconds * 1000))


def command_body(
    command: str | Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    working_directory: str | None = None,
    user: str | None = None,
    timeout: float | None = None,
    grace: float | None = None,
    terminal: tuple[int, int] | None = None,
    stdin: bool = False,
    detached: bool = False,
    receipt: bool = False,
) -> dict[str, Any]:
    """COMMAND of the HTTP API: a text is a line for the guest's shell, a sequence is a program with arguments."""
    body: dict[str, Any] = {"shell": command} if isinstance(command, str) else {"argv": list(command)}
    if environment:
        body["environment"] = dict(environment)
    if working_directory is not None:
        body["working_directory"] = working_directory
    if user is not None:
        body["user"] = user
    timeout_ms = milliseconds(timeout, "timeout")
    if timeout_ms is not None:
        body["timeout_ms"] = timeout_ms
    if grace is not None:
        if grace < 0:
            raise InvalidArgument("`grace` is negative")
        body["grace_ms"] = round(grace * 1000)
    if terminal is not None:
        body["terminal"] = {"columns": terminal[0], "rows": terminal[1]}
    for name, wanted in (("stdin", stdin), ("detached", detached), ("receipt", receipt)):
        if wanted:
            body[name] = True
    return body


def segment(text: str | int) -> str:
    """A text as one segment of a path."""
    encoded = quote(str(text), safe="")
    if encoded in ("", ".", ".."):
        raise InvalidArgument(f"`{text}` is no name")
    return encoded
