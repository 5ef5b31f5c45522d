"""Generates `mvm._sync` from `mvm._async`; with `--check`, tells whether it is up to date.

`concurrency.py` is written by hand in both. Needs `unasync` and `ruff`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync  # pyright: ignore[reportMissingTypeStubs]

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "mvm"
BY_HAND = {"__init__.py", "concurrency.py"}
NAMES = (
    "Background",
    "Commands",
    "Connection",
    "Files",
    "Lease",
    "Process",
    "Pump",
    "Sandbox",
    "Snapshot",
)
REPLACEMENTS = {
    **{f"Async{name}": name for name in NAMES},
    "AsyncClient": "Client",
    "AsyncHTTPTransport": "HTTPTransport",
    "_async": "_sync",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "aiter_raw": "iter_raw",
    "aread": "read",
}
NOTICE = "# Generated from mvm/_async by scripts/generate_sync.py; change it there.\n"


def generate(target: Path) -> list[Path]:
    """Writes the generated modules into a directory and gives their paths."""
    sources = sorted(path for path in (PACKAGE / "_async").glob("*.py") if path.name not in BY_HAND)
    rule = unasync.Rule(str(PACKAGE / "_async"), str(target), additional_replacements=REPLACEMENTS)
    unasync.unasync_files([str(path) for path in sources], [rule])  # pyright: ignore[reportUnknownMemberType]
    written = [target / path.name for path in sources]
    for path in written:
        text = path.read_text()
        # Names inside of quotes and documentation are not tokens of their own.
        for name in NAMES:
            text = text.replace(f"Async{name}", name)
        path.write_text(NOTICE + text)
    ruff = ["--quiet", "--config", str(PACKAGE.parent.parent / "pyproject.toml"), str(target)]
    subprocess.run([sys.executable, "-m", "ruff", "check", "--fix", "--select", "I", *ruff], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "format", *ruff], check=True)
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        generate(PACKAGE / "_sync")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        stale = [
            path.name
            for path in generate(Path(directory) / "_sync")
            if not (there := PACKAGE / "_sync" / path.name).exists() or there.read_text() != path.read_text()
        ]
    if stale:
        print(f"not up to date: {', '.join(stale)}; run scripts/generate_sync.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
