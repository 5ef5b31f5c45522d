"""mvm in a guest: the declarations, which do nothing. What makes and reaches sandboxes is there by name only, so
that a module which uses both can be loaded; using it raises."""

from __future__ import annotations

from . import declare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = list(declare.__all__)

_RUNTIME = frozenset(
    [
        "Sandbox",
        "AsyncSandbox",
        "Snapshot",
        "AsyncSnapshot",
        "Commands",
        "AsyncCommands",
        "Process",
        "AsyncProcess",
        "Files",
        "AsyncFiles",
        "plan",
        "verify_receipt",
        "CommandResult",
        "CreateOptions",
        "FileChange",
        "FileEntry",
        "HostInfo",
        "Metrics",
        "Output",
        "Plan",
        "ProcessInfo",
        "ReceiptVerdict",
        "Resources",
        "SandboxInfo",
        "SnapshotInfo",
        "TextOutput",
        "Transfer",
        "Function",
        "AsyncFunction",
    ]
)
_ERRORS = frozenset(
    [
        "Error",
        "AdmissionFailed",
        "BackendUnsupported",
        "BuildFailed",
        "CleanupFailed",
        "CommandFailed",
        "InvalidArgument",
        "NotFound",
        "PolicyDenied",
        "RemoteError",
        "SandboxUnavailable",
        "SnapshotMismatch",
        "Timeout",
        "TransportError",
    ]
)


class _Absent(type):
    """A name of the runtime SDK. It is a class, as most are, and can stand in a type hint."""

    def __call__(cls, *_: Any, **__: Any) -> NoReturn:
        _refuse(cls.__name__)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse(f"{cls.__name__}.{name}")


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(f"`mvm.{name}` is not there in a guest, which has the declarations only")


def __getattr__(name: str) -> Any:
    if name in _RUNTIME:
        value: Any = _Absent(name, (), {"__module__": __name__})
    elif name in _ERRORS:
        # Nothing raises them here; a handler may name them.
        value = type(name, (Exception if name == "Error" else __getattr__("Error"),), {"__module__": __name__})
    elif name in declare.__all__:
        value = getattr(declare, name)
    else:
        raise AttributeError(f"module `mvm` has no attribute `{name}`")
    return globals().setdefault(name, value)
