"""The examples without a microVM: their types under the checks of a strict user, and the tests they bring."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from snippets import ROOT

EXAMPLES = ROOT / "examples"
PYTHON = [example for example in sorted(EXAMPLES.iterdir()) if (example / "app.py").exists()]
TYPESCRIPT = [example for example in sorted(EXAMPLES.iterdir()) if (example / "app.ts").exists()]
SDK = ROOT / "sdk" / "typescript"


def name(example: Path) -> str:
    return example.name


def run(command: list[str], folder: Path) -> str:
    variables = {"PYTHONPATH": str(ROOT / "sdk" / "python" / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, check=False, cwd=folder, env=os.environ | variables, capture_output=True, text=True)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, f"exit code {ended.returncode}\n{said}"
    return said


def test_there_are_examples_in_both_languages() -> None:
    assert len(PYTHON) >= 3
    assert len(TYPESCRIPT) >= 1


@pytest.mark.parametrize("example", PYTHON, ids=name)
def test_types_of_python(example: Path, tmp_path: Path) -> None:
    config = {
        "include": [str(example)],
        "extraPaths": [str(example), str(ROOT / "sdk" / "python" / "src")],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.10",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable], tmp_path)


@pytest.mark.parametrize("example", [example for example in PYTHON if list(example.glob("test_*.py"))], ids=name)
def test_python(example: Path) -> None:
    assert "\nOK" in run([sys.executable, "-m", "unittest"], example)


@pytest.mark.parametrize("example", TYPESCRIPT, ids=name)
def test_typescript(example: Path) -> None:
    """Compiled, as not every Node that runs the tests takes types away itself."""
    folder = SDK / "build" / "examples" / example.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source in example.glob("*.ts"):
        shutil.copy(source, folder)
    # Without its `package.json`: the SDK is found by its name from below its own directory.
    options = {
        "rootDir": ".",
        "outDir": "out",
        "declaration": False,
        "rewriteRelativeImportExtensions": True,
        "erasableSyntaxOnly": True,
    }
    config = {"extends": "../../../tsconfig.json", "compilerOptions": options, "include": ["*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    compiler = str(SDK / "node_modules" / ".bin" / "tsc")
    run([compiler, "-p", "tsconfig.build.json"], SDK)
    run([compiler, "-p", str(folder)], SDK)
    assert "\n# pass 1\n" in run(["node", "--test", "--test-reporter=tap", "out"], folder)
    shutil.rmtree(folder)
