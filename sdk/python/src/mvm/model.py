"""What requests answer: plain values, the same for the sync and the async interface."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any, Literal

from mvm.errors import CommandFailed

SandboxState = Literal["creating", "running", "paused", "cold", "restoring", "stopped", "failed", "destroyed"]
FileKind = Literal["file", "directory", "symlink", "other"]
Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True)
class Resources:
    """What a sandbox may use; memory and disk in MiB."""

    vcpus: int
    memory_mib: int
    disk_mib: int


@dataclass(frozen=True)
class SandboxInfo:
    """The record of a sandbox. Times are milliseconds since 1970; `expires_at_ms` None: no end in time."""

    id: str
    name: str | None
    state: SandboxState
    reason: str | None
    image: str
    image_digest: str
    resources: Resources
    created_at_ms: int
    expires_at_ms: int | None
    ownership: Literal["leased", "detached"]
    origin: Literal["boot", "template", "spare", "snapshot"]
    isolation: str
    profile: str
    plan_digest: str | None
    audit_id: str | None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SandboxInfo:
        resources = value["resources"]
        return cls(
            id=value["id"],
            name=value.get("name"),
            state=value["state"],
            reason=value.get("reason"),
            image=value["image"],
            image_digest=value["image_digest"],
            resources=Resources(resources["vcpus"], resources["memory_mib"], resources["disk_mib"]),
            created_at_ms=value["created_at_ms"],
            expires_at_ms=value.get("expires_at_ms"),
            ownership=value["ownership"],
            origin=value["origin"],
            isolation=value["isolation"],
            profile=value["profile"],
            plan_digest=value.get("plan_digest"),
            audit_id=value.get("audit_id"),
        )


@dataclass(frozen=True)
class SnapshotInfo:
    """The record of a snapshot: `bytes` on disk, and for how many milliseconds its sandbox stood still."""

    id: str
    name: str | None
    sandbox: str
    image: str
    created_at_ms: int
    method: Literal["delta", "stream"]
    bytes: int
    pause_ms: float

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SnapshotInfo:
        return cls(
            id=value["id"],
            name=value.get("name"),
            sandbox=value["sandbox"],
            image=value["image"],
            created_at_ms=value["created_at_ms"],
            method=value["method"],
            bytes=value["bytes"],
            pause_ms=value["pause_ms"],
        )


@dataclass(frozen=True)
class CommandResult:
    """How a command ended and what it wrote.

    `exit_code` is 124 for a timeout and 128 + N for signal N. `truncated` tells that output was left
    out, never silently. `receipt` holds the signed receipt if one was asked for.
    """

    exit_code: int
    signal: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    duration_ms: float
    cpu_ms: float
    peak_memory_bytes: int
    run_id: str | None
    audit_id: str | None
    receipt: bytes | None = None

    @property
    def stdout_text(self) -> str:
        """Standard output as UTF-8; what is none becomes U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def stderr_text(self) -> str:
        """Standard error as UTF-8; what is none becomes U+FFFD."""
        return self.stderr.decode("utf-8", "replace")

    def check(self) -> CommandResult:
        """This result. Raises `CommandFailed` unless the exit code is 0."""
        if self.exit_code != 0:
            raise CommandFailed(self)
        return self

    def with_output(self, stdout: bytes, stderr: bytes, truncated: bool) -> CommandResult:
        """This result with this output."""
        return replace(self, stdout=stdout, stderr=stderr, truncated=self.truncated or truncated)

    @classmethod
    def from_json(
        cls, value: dict[str, Any], *, stdout: bytes = b"", stderr: bytes = b"", truncated: bool = False
    ) -> CommandResult:
        """Takes the output from `value` where it carries some."""
        receipt = value.get("receipt")
        return cls(
            exit_code=value["exit_code"],
            signal=value.get("signal"),
            stdout=base64.b64decode(value["stdout_base64"]) if "stdout_base64" in value else stdout,
            stderr=base64.b64decode(value["stderr_base64"]) if "stderr_base64" in value else stderr,
            timed_out=value["timed_out"],
            truncated=bool(value.get("truncated", truncated)),
            duration_ms=value["duration_ms"],
            cpu_ms=value["cpu_ms"],
            peak_memory_bytes=value["peak_memory_bytes"],
            run_id=value.get("run_id"),
            audit_id=value.get("audit_id"),
            receipt=base64.b64decode(receipt) if receipt is not None else None,
        )


@dataclass(frozen=True)
class Output:
    """A piece of a process's output. `lost` counts bytes that are missing right before it."""

    stream: Stream
    data: bytes
    lost: int = 0


@dataclass(frozen=True)
class TextOutput:
    """A piece of a process's output as text; it begins and ends between characters."""

    stream: Stream
    text: str


@dataclass(frozen=True)
class ProcessInfo:
    """A process of a sandbox; `result` is None while it runs, and has no output and no `run_id`."""

    id: int
    pid: int
    arguments: tuple[str, ...]
    started_at_ms: int
    detached: bool
    result: CommandResult | None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ProcessInfo:
        result = value.get("result")
        return cls(
            id=value["id"],
            pid=value["pid"],
            arguments=tuple(value["arguments"]),
            started_at_ms=value["started_at_ms"],
            detached=value["detached"],
            result=CommandResult.from_json(result) if result is not None else None,
        )


@dataclass(frozen=True)
class FileEntry:
    """A file of the guest. `mode` holds the permission bits, `target` where a symlink leads."""

    name: str
    kind: FileKind
    size: int
    mode: int
    modified_at_ms: int
    user_id: int
    group_id: int
    target: str | None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FileEntry:
        return cls(
            name=value["name"],
            kind=value["kind"],
            size=value["size"],
            mode=int(value["mode"], 8),
            modified_at_ms=value["modified_at_ms"],
            user_id=value["user_id"],
            group_id=value["group_id"],
            target=value.get("target"),
        )


@dataclass(frozen=True)
class FileChange:
    """What a poll of `files.watch` saw: `path` is absolute."""

    kind: Literal["created", "modified", "removed"]
    path: str


@dataclass(frozen=True)
class Transfer:
    """What an upload or download moved; `skipped` names what is neither a file nor a directory."""

    files: int
    directories: int
    bytes: int
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Metrics:
    """What the microVM of a sandbox uses on the host."""

    memory_bytes: int
    cpu_ms: float
    disk_bytes: int


@dataclass(frozen=True)
class Plan:
    """What would be admitted: the plan as JSON, and its digest."""

    digest: str
    plan: dict[str, Any]


@dataclass(frozen=True)
class ReceiptVerdict:
    """Whether a receipt is genuine: if so whose run it names and who signed it, if not its `flaw`."""

    valid: bool
    run_id: str | None
    key: str | None
    signer: str | None
    flaw: str | None


@dataclass(frozen=True)
class HostInfo:
    """The host that runs the sandboxes."""

    version: str
    accelerator: str
    isolation: str
    default_image: str
