"""Run code in local microVMs.

>>> from mvm import Sandbox
>>> with Sandbox.create() as sandbox:
...     result = sandbox.commands.run(["python3", "-c", "print(6*7)"])
...     print(result.stdout_text)
42
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    AdmissionFailed,
    BackendUnsupported,
    BuildFailed,
    CleanupFailed,
    CommandFailed,
    Error,
    InvalidArgument,
    NotFound,
    PolicyDenied,
    SandboxUnavailable,
    SnapshotMismatch,
    Timeout,
    TransportError,
)
from .results import (
    CommandResult,
    Entry,
    FileChange,
    Gap,
    Metrics,
    Output,
    Plan,
    ProcessInfo,
    ReceiptVerdict,
    Resources,
    SandboxInfo,
    SnapshotInfo,
    TextView,
)

if TYPE_CHECKING:
    from ._async.commands import AsyncCommands
    from ._async.files import AsyncFiles
    from ._async.process import AsyncProcess
    from ._async.sandbox import AsyncSandbox, AsyncSnapshot
    from ._async.sandbox import plan as async_plan
    from ._async.sandbox import verify_receipt as async_verify_receipt
    from ._sync.commands import Commands
    from ._sync.files import Files
    from ._sync.process import Process
    from ._sync.sandbox import Sandbox, Snapshot, plan, verify_receipt

__version__ = "0.1.0"

# Read when it is first used: importing this package costs next to nothing.
_LAZY = {
    "AsyncCommands": ("_async.commands", "AsyncCommands"),
    "AsyncFiles": ("_async.files", "AsyncFiles"),
    "AsyncProcess": ("_async.process", "AsyncProcess"),
    "AsyncSandbox": ("_async.sandbox", "AsyncSandbox"),
    "AsyncSnapshot": ("_async.sandbox", "AsyncSnapshot"),
    "async_plan": ("_async.sandbox", "plan"),
    "async_verify_receipt": ("_async.sandbox", "verify_receipt"),
    "Commands": ("_sync.commands", "Commands"),
    "Files": ("_sync.files", "Files"),
    "Process": ("_sync.process", "Process"),
    "Sandbox": ("_sync.sandbox", "Sandbox"),
    "Snapshot": ("_sync.sandbox", "Snapshot"),
    "plan": ("_sync.sandbox", "plan"),
    "verify_receipt": ("_sync.sandbox", "verify_receipt"),
}

__all__ = [
    "AdmissionFailed",
    "AsyncCommands",
    "AsyncFiles",
    "AsyncProcess",
    "AsyncSandbox",
    "AsyncSnapshot",
    "BackendUnsupported",
    "BuildFailed",
    "CleanupFailed",
    "CommandFailed",
    "CommandResult",
    "Commands",
    "Entry",
    "Error",
    "FileChange",
    "Files",
    "Gap",
    "InvalidArgument",
    "Metrics",
    "NotFound",
    "Output",
    "Plan",
    "PolicyDenied",
    "Process",
    "ProcessInfo",
    "ReceiptVerdict",
    "Resources",
    "Sandbox",
    "SandboxInfo",
    "SandboxUnavailable",
    "Snapshot",
    "SnapshotInfo",
    "SnapshotMismatch",
    "TextView",
    "Timeout",
    "TransportError",
    "async_plan",
    "async_verify_receipt",
    "plan",
    "verify_receipt",
]


def __getattr__(name: str) -> Any:
    """Reads a part of this package when it is first asked for."""
    try:
        module, attribute = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module `mvm` has no attribute `{name}`") from None
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value
