"""A wheel that carries mvmctl, in an environment that has nothing else: the examples of the README work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from mvm.private_server import find_mvmctl

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel in it."""
    directory = tmp_path_factory.mktemp("wheel")
    environment = {**os.environ, "MVM_MVMCTL_BINARY": find_mvmctl()}
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(directory), str(PROJECT)]
    subprocess.run(build, check=True, env=environment)
    (wheel,) = directory.glob("*.whl")
    assert wheel.name.startswith("mvm-0.1.0-py3-none-")
    assert not wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {"mvm/py.typed", "mvm/_bin/mvmctl", "mvm/_sync/sandbox.py"} <= set(names)
        assert (archive.getinfo("mvm/_bin/mvmctl").external_attr >> 16) & 0o111
    venv.create(directory / "venv", with_pip=True)
    interpreter = directory / "venv" / "bin" / "python"
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", wheel], check=True)
    return interpreter


def test_the_examples_of_the_readme(python: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    environment = {name: value for name, value in os.environ.items() if name in ("HOME", "MVM_HOME")}
    environment["PATH"] = "/usr/bin:/bin"
    said: list[str] = []
    for block in blocks:
        done = subprocess.run(
            [python, "-X", "dev", "-c", block],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert (done.returncode, done.stderr) == (0, "")
        said.append(done.stdout)
    assert said[0] == "42\nHELLO\nstdout b'1\\n'\nstdout b'2\\n'\nstdout b'3\\n'\nFalse True\n"
    assert said[1] == "Linux\n"
