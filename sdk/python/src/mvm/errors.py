"""What can go wrong: one class for each stable code, the same on every surface of mvm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .results import CommandResult


class Error(Exception):
    """Anything that went wrong.

    `code` tells what kind it is, `retryable` whether the same call may succeed later, `hint` the
    way out, and `causes` why, outermost first.
    """

    code: ClassVar[str] = "Error"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        causes: list[str] | None = None,
        retryable: bool = False,
    ) -> None:
        """An error of this kind."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.causes = causes or []
        self.retryable = retryable

    def __str__(self) -> str:
        """The message, its causes, and the way out."""
        text = ": ".join([self.message, *self.causes])
        return f"{text} (hint: {self.hint})" if self.hint else text


class CommandFailed(Error):
    """A command that was to succeed exited with another code than 0. `result` is all of it."""

    code = "CommandFailed"

    def __init__(self, result: CommandResult) -> None:
        """The failure of a command with this result."""
        super().__init__(f"the command exited with {result.exit_code}")
        self.result = result


class Timeout(Error):
    """Something took longer than it was given."""

    code = "Timeout"


class PolicyDenied(Error):
    """The host's policy, or who is asking, forbids it."""

    code = "PolicyDenied"


class AdmissionFailed(Error):
    """The plan of the sandbox was not admitted."""

    code = "AdmissionFailed"


class BuildFailed(Error):
    """The image could not be made."""

    code = "BuildFailed"


class SandboxUnavailable(Error):
    """The sandbox is not in a state in which this can be done."""

    code = "SandboxUnavailable"


class BackendUnsupported(Error):
    """This host, or this version, cannot do it."""

    code = "BackendUnsupported"


class SnapshotMismatch(Error):
    """A snapshot is not what it was, or does not fit this host."""

    code = "SnapshotMismatch"


class CleanupFailed(Error):
    """Something could not be removed."""

    code = "CleanupFailed"


class InvalidArgument(Error):
    """An argument breaks a rule."""

    code = "InvalidArgument"


class NotFound(Error):
    """What was named is not there."""

    code = "NotFound"


class TransportError(Error):
    """The connection to the server or the sandbox broke."""

    code = "TransportError"


_KINDS: tuple[type[Error], ...] = (
    Timeout,
    PolicyDenied,
    AdmissionFailed,
    BuildFailed,
    SandboxUnavailable,
    BackendUnsupported,
    SnapshotMismatch,
    CleanupFailed,
    InvalidArgument,
    NotFound,
    TransportError,
)


def from_problem(problem: dict[str, Any]) -> Error:
    """The error that a server's problem document (RFC 9457) is."""
    kinds = {kind.code: kind for kind in _KINDS}
    kind = kinds.get(str(problem.get("code")), TransportError)
    causes: list[Any] = problem.get("causes") or []
    return kind(
        str(problem.get("detail") or problem.get("title") or "the request failed"),
        hint=problem.get("hint"),
        causes=[str(cause) for cause in causes],
        retryable=bool(problem.get("retryable")),
    )
