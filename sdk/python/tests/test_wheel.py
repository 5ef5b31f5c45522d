"""The wheel carries `mvmctl`: installed into an empty environment, the first example runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_an_installed_wheel_is_all_it_takes(tmp_path: Path) -> None:
    program = os.environ.get("MVM_MVMCTL")
    if not program:
        pytest.skip("MVM_MVMCTL does not name the mvmctl to carry")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MVM_MVMCTL", "PYTHONPATH", "PYTHONHOME")
    }
    build = "import hatchling.build as b, sys; print(b.build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        check=True,
        cwd=ROOT,
        env={**environment, "MVM_MVMCTL_BINARY": program},
        capture_output=True,
        text=True,
    )
    wheel = tmp_path / built.stdout.strip().splitlines()[-1]
    assert "none-any" not in wheel.name
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(install, check=True, env=environment)
    example = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    environment["PATH"] = "/usr/bin:/bin"
    ran = subprocess.run(
        [python, "-c", example],
        check=True,
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ran.stdout == "5\n\n"
