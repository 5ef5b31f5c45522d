"""Puts the mvmctl binary into the wheel, as `mvm/_bin/mvmctl`, and marks the wheel for its platform.

The binary is the one that `MVM_MVMCTL_BINARY` names. Without it the wheel is one for every platform, and
looks for mvmctl on the PATH.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ELF = b"\x7fELF"
INTERPRETER = b"/lib64/ld-linux"


class WheelBinary(BuildHookInterface[Any]):
    """Called by hatchling for each wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        named = os.environ.get("MVM_MVMCTL_BINARY")
        # An editable install uses the mvmctl of the machine.
        if not named or version == "editable":
            return
        binary = Path(named).resolve()
        if not binary.is_file() or not os.access(binary, os.X_OK):
            raise SystemExit(f"MVM_MVMCTL_BINARY names `{named}`, which is no program")
        build_data["force_include"][str(binary)] = "mvm/_bin/mvmctl"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform_tag(binary)}"


def _platform_tag(binary: Path) -> str:
    machine = platform.machine()
    content = binary.read_bytes()
    if content.startswith(ELF) and INTERPRETER in content:
        # Linked against the C library of this machine: it needs that version or a newer one.
        library, version = platform.libc_ver()
        if library == "glibc":
            major, minor = version.split(".")[:2]
            return f"manylinux_{major}_{minor}_{machine}"
    return f"linux_{machine}"
