"""What calls give back."""

from __future__ import annotations

import base64
import codecs
from dataclasses import dataclass
from typing import Any, Literal

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True)
class CommandResult:
    """A command that has ended, with what it wrote. Another exit code than 0 is a result."""

    exit_code: int
    """Its own code; 124 where its timeout passed, 128 + N where signal N ended it."""
    signal: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    """Whether some of what it wrote is missing here."""
    duration_ms: float
    cpu_ms: float
    peak_memory_bytes: int
    run_id: str
    audit_id: str | None
    """Where the host's audit log tells of it."""
    receipt: bytes | None = None
    """The signed receipt, if one was asked for."""

    @property
    def stdout_text(self) -> str:
        """Standard output as UTF-8; what is none is replaced."""
        return self.stdout.decode("utf-8", errors="replace")

    @property
    def stderr_text(self) -> str:
        """Standard error as UTF-8; what is none is replaced."""
        return self.stderr.decode("utf-8", errors="replace")

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0

    @classmethod
    def of(
        cls, result: dict[str, Any], stdout: bytes, stderr: bytes, truncated: bool
    ) -> CommandResult:
        """The result that a server tells of."""
        receipt = result.get("receipt")
        return cls(
            exit_code=result["exit_code"],
            signal=result.get("signal"),
            stdout=stdout,
            stderr=stderr,
            timed_out=result["timed_out"],
            truncated=truncated,
            duration_ms=result["duration_ms"],
            cpu_ms=result["cpu_ms"],
            peak_memory_bytes=result["peak_memory_bytes"],
            run_id=result.get("run_id") or "",
            audit_id=result.get("audit_id"),
            receipt=base64.b64decode(receipt) if receipt else None,
        )


@dataclass(frozen=True)
class Output:
    """Bytes that a process wrote."""

    stream: Stream
    data: bytes


@dataclass(frozen=True)
class Gap:
    """Bytes of a process's output that were lost while nobody read them."""

    stream: Stream
    start: int
    end: int


@dataclass(frozen=True)
class ProcessInfo:
    """A process that a sandbox remembers."""

    id: int
    pid: int
    arguments: list[str]
    started_at_ms: int
    detached: bool
    exit_code: int | None
    """Nothing while it runs."""


@dataclass(frozen=True)
class Entry:
    """What a path of a sandbox is."""

    name: str
    kind: Literal["file", "directory", "symlink", "other"]
    size: int
    mode: int
    modified_at_ms: int
    user_id: int
    group_id: int
    target: str | None

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Entry:
        """The entry that a server tells of."""
        fields: dict[str, Any] = {**entry, "mode": int(entry["mode"], 8)}
        return cls(**fields)


@dataclass(frozen=True)
class FileChange:
    """Something that became of a file that is watched."""

    kind: Literal["created", "modified", "removed"]
    path: str


@dataclass(frozen=True)
class Resources:
    """What a microVM may use."""

    vcpus: int
    memory_mib: int
    disk_mib: int


@dataclass(frozen=True)
class SandboxInfo:
    """What is recorded of a sandbox."""

    id: str
    name: str | None
    state: str
    reason: str | None
    image: str
    image_digest: str
    resources: Resources
    created_at_ms: int
    expires_at_ms: int | None
    ownership: Literal["leased", "detached"]
    origin: Literal["boot", "template", "spare", "snapshot"]
    isolation: Literal["hardware", "emulated"]
    profile: str
    plan_digest: str
    audit_id: str

    @classmethod
    def of(cls, info: dict[str, Any]) -> SandboxInfo:
        """The record that a server tells of."""
        fields: dict[str, Any] = {**info, "resources": Resources(**info["resources"])}
        return cls(**fields)


@dataclass(frozen=True)
class Metrics:
    """What a sandbox takes of its host."""

    memory_bytes: int
    cpu_ms: int
    disk_bytes: int


@dataclass(frozen=True)
class SnapshotInfo:
    """A saved sandbox."""

    id: str
    name: str | None
    sandbox: str
    image: str
    created_at_ms: int
    method: Literal["delta", "stream"]
    bytes: int
    pause_ms: float


@dataclass(frozen=True)
class ReceiptVerdict:
    """What a receipt proves."""

    valid: bool
    flaw: str | None = None
    run_id: str | None = None
    key: str | None = None
    signer: str | None = None


@dataclass(frozen=True)
class Plan:
    """What would be launched, and would be admitted."""

    digest: str
    plan: dict[str, Any]


class TextView:
    """Text of bytes that come in parts: no character is split; what is no UTF-8 is replaced."""

    def __init__(self) -> None:
        """A view of nothing yet."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """The characters that are whole with this part."""
        return self._decoder.decode(data, final)
