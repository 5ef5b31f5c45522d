"""What can go wrong: one class for each error code, the same codes on every surface of mvm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mvm.model import CommandResult


class Error(Exception):
    """Anything mvm reports.

    `code` is the stable name of the kind of error, `retryable` whether the same request may succeed
    later, `hint` the way out if one is known, and `causes` what led to it, the nearest first.
    """

    code: str = "Error"
    retryable: bool
    hint: str | None
    causes: tuple[str, ...]

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        hint: str | None = None,
        causes: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.hint = hint
        self.causes = tuple(causes)

    def __str__(self) -> str:
        text = ": ".join([self.message, *self.causes])
        return f"{text} (hint: {self.hint})" if self.hint else text


class CommandFailed(Error):
    """A command that was to succeed did not; `result` is what it left."""

    code = "CommandFailed"
    result: CommandResult

    def __init__(self, result: CommandResult) -> None:
        if result.timed_out:
            how = "ran into its timeout"
        elif result.signal is not None:
            how = f"was killed by signal {result.signal}"
        else:
            how = f"exited with code {result.exit_code}"
        last = result.stderr_text.strip().rpartition("\n")[2]
        super().__init__(f"the command {how}" + (f": {last}" if last else ""))
        self.result = result

    def __reduce__(self) -> tuple[type[CommandFailed], tuple[CommandResult]]:
        return (type(self), (self.result,))


class RemoteError(CommandFailed):
    """A function in a microVM raised, or its arguments or result were refused there.

    `type` and `message` are those of the exception, `remote_traceback` is the guest's, and `result` holds what
    was written to standard error. All of it is the guest's word: no class is looked up by `type`.
    """

    type: str
    message: str
    remote_traceback: str
    run_id: str | None

    def __init__(self, type: str, message: str, remote_traceback: str, result: CommandResult) -> None:  # noqa: A002
        Error.__init__(self, message)
        self.type = type
        self.remote_traceback = remote_traceback
        self.result = result
        self.run_id = result.run_id

    def __str__(self) -> str:
        text = f"{self.type}: {self.message}" if self.message else self.type
        trace = self.remote_traceback.rstrip()
        return _printable(f"{text}\n\nIn the microVM:\n{trace}" if trace else text)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.type, self.message, self.remote_traceback, self.result))


def _printable(text: str) -> str:
    """A guest's text without what would steer a terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else repr(c)[1:-1] for c in text)


class Timeout(Error):
    """A limit in time passed: of a request, of a wait or of a start."""

    code = "Timeout"


class PolicyDenied(Error):
    """A policy forbids it; the rule is named."""

    code = "PolicyDenied"


class AdmissionFailed(Error):
    """The plan was not admitted; the rule is named."""

    code = "AdmissionFailed"


class BuildFailed(Error):
    """An image or a boot artifact could not be made."""

    code = "BuildFailed"


class SandboxUnavailable(Error):
    """The sandbox does not run, or its guest does not answer."""

    code = "SandboxUnavailable"


class BackendUnsupported(Error):
    """This version or this host cannot do what is asked; it is named."""

    code = "BackendUnsupported"


class SnapshotMismatch(Error):
    """The snapshot does not fit this host, or is not what was written."""

    code = "SnapshotMismatch"


class CleanupFailed(Error):
    """Something of a sandbox could not be removed."""

    code = "CleanupFailed"


class InvalidArgument(Error):
    """The request makes no sense as it is."""

    code = "InvalidArgument"


class NotFound(Error):
    """The sandbox, snapshot, process, program or file is not there."""

    code = "NotFound"


class TransportError(Error):
    """The server could not be reached or started, or the connection to it broke."""

    code = "TransportError"


_CLASSES: dict[str, type[Error]] = {
    kind.code: kind
    for kind in (
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
}


def from_problem(problem: dict[str, Any]) -> Error:
    """The error that a problem document of the server describes.

    A code that this version does not know becomes a plain `Error` that carries it.
    """
    code = str(problem.get("code") or "TransportError")
    message = str(problem.get("detail") or problem.get("title") or "the server told no reason")
    error = _CLASSES.get(code, Error)(
        message,
        retryable=bool(problem.get("retryable", False)),
        hint=problem.get("hint"),
        causes=[str(cause) for cause in problem.get("causes") or ()],
    )
    error.code = code
    return error
