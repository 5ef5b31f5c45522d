"""Puts the `mvmctl` that MVM_MVMCTL_BINARY names into the wheel, which then is of one platform."""

from __future__ import annotations

import os
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CarryBinary(BuildHookInterface):  # pyright: ignore[reportMissingTypeArgument]
    """Runs when a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        binary = os.environ.get("MVM_MVMCTL_BINARY")
        if version == "editable" or not binary:
            return
        build_data["force_include"][os.path.abspath(binary)] = "mvm/_bin/mvmctl"
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
