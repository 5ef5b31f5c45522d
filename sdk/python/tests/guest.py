"""A directory like `/usr/lib/mvm` of a guest, and a runner in it as a process. See guest/runner/README.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
RUNNER = REPOSITORY / "guest" / "runner" / "python"
DECLARE = REPOSITORY / "sdk" / "python" / "src" / "mvm" / "declare"
WITHOUT_CACHES = shutil.ignore_patterns("__pycache__")


def install(library: Path) -> Path:
    """Puts the runner and the stub package where a guest has them, and gives the runner's path."""
    shutil.copytree(RUNNER / "mvm_runner", library / "mvm_runner", ignore=WITHOUT_CACHES)
    shutil.copytree(RUNNER / "mvm", library / "python" / "mvm", ignore=WITHOUT_CACHES)
    shutil.copytree(DECLARE, library / "python" / "mvm" / "declare", ignore=WITHOUT_CACHES)
    return Path(shutil.copy(RUNNER / "runner.py", library / "runner.py"))


def function(name: str, module: str = "main", **more: Any) -> dict[str, Any]:
    return {"kind": "function", "name": name, "language": "python", "module": module, "function": name, **more}


def write_workload(file: Path, *entrypoints: dict[str, Any]) -> None:
    app = {"name": "app", "image": {"kind": "source", "reference": "debian:python"}, "entrypoints": entrypoints}
    file.write_text(json.dumps({"version": 1, "id": "w", "apps": [app]}))


class Runner:
    """A runner that was started for one entrypoint; the first message is read."""

    def __init__(self, runner: Path, app: Path, entrypoint: str, workload: Path, python: str = sys.executable) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [python, str(runner), "app", entrypoint, str(workload)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=app,
            env=environment,
        )
        self.first = self.read()

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def send(self, line: bytes) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()
        return self.read()

    def call(self, **arguments: Any) -> Any:
        return self.send(json.dumps({"arguments": arguments}).encode() + b"\n")

    def end(self) -> tuple[int, bytes, str]:
        """Its exit code, what was left on its output, and all it wrote to standard error."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err.decode()
