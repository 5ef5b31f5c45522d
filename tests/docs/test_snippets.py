"""Each block that docs/sdk shows does what the page says, against real microVMs.

Blocks in Rust are compiled by `cargo test -p mvm --doc`; the others are run here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snippets import ALL, ROOT, Snippet, of

TYPESCRIPT = ROOT / "sdk" / "typescript"
LIMIT = 120


def name(snippet: Snippet) -> str:
    return snippet.name


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """That of a user who has mvm installed, and points to no server."""
    mvmctl = Path(os.environ["MVM_MVMCTL"])
    variables = {name: value for name, value in os.environ.items() if name not in ("MVM_URL", "MVM_TOKEN")}
    search = [str(mvmctl.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    return variables | {"PATH": ":".join(search), "PYTHONPATH": str(ROOT / "sdk" / "python" / "src")}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Runs it in a directory of its own, and tells what it said if it fails."""
    ended = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    assert ended.returncode == 0, f"exit code {ended.returncode}\n{ended.stdout}\n{ended.stderr}"


@pytest.mark.parametrize("snippet", of("python"), ids=name)
def test_python(snippet: Snippet, tmp_path: Path, environment: dict[str, str]) -> None:
    program = tmp_path / "program.py"
    program.write_text(snippet.text)
    run([sys.executable, str(program)], tmp_path, environment)


@pytest.mark.parametrize("snippet", of("shell"), ids=name)
def test_shell(snippet: Snippet, tmp_path: Path, environment: dict[str, str]) -> None:
    run(["bash", "-euo", "pipefail", "-c", snippet.text], tmp_path, environment)


@pytest.fixture(scope="session")
def compiled(environment: dict[str, str]) -> Iterator[Path]:
    """The blocks in TypeScript, compiled with the package as it is built, under the checks of a strict user."""
    folder = TYPESCRIPT / "build" / "docs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for snippet in of("typescript"):
        (folder / f"{snippet.name}.ts").write_text(snippet.text)
    # By its source map a function is found in what it was written in.
    options = {"rootDir": ".", "outDir": "out", "declaration": False, "sourceMap": True}
    config = {"extends": "../../tsconfig.json", "compilerOptions": options, "include": ["*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    compiler = str(TYPESCRIPT / "node_modules" / ".bin" / "tsc")
    run([compiler, "-p", "tsconfig.build.json"], TYPESCRIPT, environment)
    run([compiler, "-p", str(folder)], TYPESCRIPT, environment)
    yield folder / "out"
    shutil.rmtree(folder)


@pytest.mark.parametrize("snippet", of("typescript"), ids=name)
def test_typescript(snippet: Snippet, compiled: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    run(["node", str(compiled / f"{snippet.name}.js")], tmp_path, environment)


def test_types_of_python(tmp_path: Path, environment: dict[str, str]) -> None:
    for snippet in of("python"):
        (tmp_path / f"{snippet.name}.py").write_text(snippet.text)
    config = {
        "include": ["."],
        "extraPaths": [str(ROOT / "sdk" / "python" / "src")],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.10",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable], tmp_path, environment)


def test_each_language_is_shown() -> None:
    """A page that lost its blocks, or a fence that is not read, does not pass in silence."""
    for language in ("python", "typescript", "rust", "shell"):
        assert len(of(language)) >= 3, language


def test_rust_is_compiled() -> None:
    """Pages with Rust are the ones whose documentation tests `sdk/rust` has."""
    pages = {snippet.page.name for snippet in ALL if snippet.language == "rust"}
    source = (ROOT / "sdk" / "rust" / "src" / "lib.rs").read_text()
    assert {page for page in pages if f"docs/sdk/{page}" not in source} == set()
