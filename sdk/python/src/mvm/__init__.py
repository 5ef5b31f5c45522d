"""Run code in local microVMs.

    import mvm

    with mvm.Sandbox.create() as sandbox:
        print(sandbox.commands.run(["python3", "-c", "print(6*7)"]).stdout_text)

    @mvm.app(image="debian:python")
    def greet(name: str) -> str: ...  # greet.local("you") runs here, greet.remote("you") in a microVM

`Sandbox` blocks, `AsyncSandbox` is the same for asyncio. Importing this does nothing: the server is looked
for, or started, when the first sandbox is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mvm.errors import (
    AdmissionFailed,
    BackendUnsupported,
    BuildFailed,
    CleanupFailed,
    CommandFailed,
    Error,
    InvalidArgument,
    NotFound,
    PolicyDenied,
    RemoteError,
    SandboxUnavailable,
    SnapshotMismatch,
    Timeout,
    TransportError,
)

if TYPE_CHECKING:
    from mvm._async.commands import AsyncCommands
    from mvm._async.files import AsyncFiles
    from mvm._async.process import AsyncProcess
    from mvm._async.sandbox import AsyncSandbox
    from mvm._async.snapshot import AsyncSnapshot
    from mvm._sync.commands import Commands
    from mvm._sync.files import Files
    from mvm._sync.process import Process
    from mvm._sync.sandbox import Sandbox
    from mvm._sync.snapshot import Snapshot
    from mvm.declare import (
        app,
        debian,
        dns_none,
        dns_resolver,
        dns_system,
        egress,
        entrypoint,
        entrypoint_function,
        file,
        func,
        health_check,
        hook,
        host_path,
        host_port,
        image,
        literal,
        local_path,
        mount,
        network,
        nix_packages,
        no_deps,
        node_deps,
        node_image,
        oci_image,
        port,
        python_deps,
        python_image,
        resources,
        restart,
        secret,
        tmpfs,
        volume,
        warm_process,
        workload,
    )
    from mvm.declare.signatures import AsyncFunction, Function
    from mvm.model import (
        CommandResult,
        FileChange,
        FileEntry,
        HostInfo,
        Metrics,
        Output,
        Plan,
        ProcessInfo,
        ReceiptVerdict,
        Resources,
        SandboxInfo,
        SnapshotInfo,
        TextOutput,
        Transfer,
    )
    from mvm.request import CreateOptions

__version__ = "0.1.0"

# Loaded when they are asked for: asyncio alone would take most of the time of the import.
_MODULES = {
    "mvm._async.commands": ("AsyncCommands",),
    "mvm._async.files": ("AsyncFiles",),
    "mvm._async.process": ("AsyncProcess",),
    "mvm._async.sandbox": ("AsyncSandbox",),
    "mvm._async.snapshot": ("AsyncSnapshot",),
    "mvm._sync.commands": ("Commands",),
    "mvm._sync.files": ("Files",),
    "mvm._sync.process": ("Process",),
    "mvm._sync.sandbox": ("Sandbox",),
    "mvm._sync.snapshot": ("Snapshot",),
    "mvm.declare.signatures": ("AsyncFunction", "Function"),
    "mvm.declare": (
        "app",
        "debian",
        "dns_none",
        "dns_resolver",
        "dns_system",
        "egress",
        "entrypoint",
        "entrypoint_function",
        "file",
        "func",
        "health_check",
        "hook",
        "host_path",
        "host_port",
        "image",
        "literal",
        "local_path",
        "mount",
        "network",
        "nix_packages",
        "no_deps",
        "node_deps",
        "node_image",
        "oci_image",
        "port",
        "python_deps",
        "python_image",
        "resources",
        "restart",
        "secret",
        "tmpfs",
        "volume",
        "warm_process",
        "workload",
    ),
    "mvm.model": (
        "CommandResult",
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
    ),
    "mvm.request": ("CreateOptions",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `mvm` has no attribute `{name}`")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def verify_receipt(receipt: bytes) -> ReceiptVerdict:
    """Whether a receipt is genuine, whose run it names and who signed it."""
    from mvm._sync.sandbox import Sandbox

    return Sandbox.verify_receipt(receipt)


def plan(**options: Any) -> Plan:
    """What `Sandbox.create` with these options would have admitted. Nothing starts."""
    from mvm._sync.sandbox import Sandbox

    return Sandbox.plan(**options)


__all__ = [
    # declarations
    "workload",
    "app",
    "func",
    "local_path",
    "image",
    "debian",
    "oci_image",
    "python_image",
    "node_image",
    "nix_packages",
    "python_deps",
    "node_deps",
    "no_deps",
    "resources",
    "network",
    "egress",
    "host_port",
    "port",
    "dns_none",
    "dns_system",
    "dns_resolver",
    "literal",
    "secret",
    "volume",
    "host_path",
    "tmpfs",
    "mount",
    "file",
    "entrypoint",
    "entrypoint_function",
    "warm_process",
    "hook",
    "health_check",
    "restart",
    "Function",
    "AsyncFunction",
    # sandboxes
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
    # values
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
    # errors
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
