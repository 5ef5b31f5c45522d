"""Declarations: what a source file says of itself, read by `mvmctl compile` from its text.

Calling these does nothing: they return values, and a decorated function stays the function it is. Nothing here
needs anything but Python's own library, from version 3.9; the same files are in every guest as `mvm.declare`.
"""

from __future__ import annotations

from .decorators import App, AppOptions, Workload, app, func, workload
from .entrypoints import (
    Entrypoint,
    HealthCheck,
    Hook,
    Restart,
    WarmProcess,
    entrypoint,
    entrypoint_function,
    health_check,
    hook,
    resources,
    restart,
    warm_process,
)
from .images import (
    Dependencies,
    Image,
    Source,
    debian,
    image,
    local_path,
    nix_packages,
    no_deps,
    node_deps,
    node_image,
    oci_image,
    python_deps,
    python_image,
)
from .networks import (
    Dns,
    Egress,
    HostPort,
    Network,
    Port,
    dns_none,
    dns_resolver,
    dns_system,
    egress,
    host_port,
    network,
    port,
)
from .storage import (
    File,
    Mount,
    MountSource,
    Variable,
    file,
    host_path,
    literal,
    mount,
    secret,
    tmpfs,
    volume,
)
from .value import Declared

__all__ = [
    # declarations
    "workload",
    "app",
    "func",
    # what an app runs on
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
    # what it may reach
    "network",
    "egress",
    "host_port",
    "port",
    "dns_none",
    "dns_system",
    "dns_resolver",
    # what it finds
    "literal",
    "secret",
    "volume",
    "host_path",
    "tmpfs",
    "mount",
    "file",
    # what runs
    "entrypoint",
    "entrypoint_function",
    "warm_process",
    "hook",
    "health_check",
    "restart",
    # their values
    "Declared",
    "App",
    "AppOptions",
    "Dependencies",
    "Dns",
    "Egress",
    "Entrypoint",
    "File",
    "HealthCheck",
    "Hook",
    "HostPort",
    "Image",
    "Mount",
    "MountSource",
    "Network",
    "Port",
    "Restart",
    "Source",
    "Variable",
    "WarmProcess",
    "Workload",
]
