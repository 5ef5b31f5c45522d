"""`mvmctl run --mode`: a script that is recorded, planned, or run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mvm

SCRIPT = """
import sys
from mvm import Sandbox

with Sandbox.create(name="recorded", environment={"A": "b"}, ttl_seconds=60) as sandbox:
    sandbox.files.write("/srv/greeting", b"hello")
    sandbox.commands.run("test -f /srv/greeting", timeout=1.5)
    done = sandbox.commands.run(["cat", "/srv/greeting"], working_directory="/srv")
    sys.stderr.write("saw " + repr(done.stdout))
    print(sys.argv[1])
"""


def mvmctl(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    # The script's interpreter is this one.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = str(Path(mvm.__file__).parents[1])
    program = os.environ.get("MVM_MVMCTL", "mvmctl")
    done = subprocess.run(
        [program, *arguments], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == expect, done.stderr
    return done


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "Greet_Me.py"
    path.write_text(SCRIPT)
    return path


def audit_log() -> str:
    """What the audit log tells of sandboxes; a record of the same kind has the same name."""
    return mvmctl("--json", "audit", "tail", "-n", "1").stdout


def test_live_runs_and_passes_the_end_on(script: Path, tmp_path: Path) -> None:
    done = mvmctl("run", str(script), "--", "live")
    assert done.stdout == "live\n"
    assert done.stderr == "saw b'hello'"
    failing = tmp_path / "failing.py"
    failing.write_text("raise SystemExit(7)")
    mvmctl("run", "--mode", "live", str(failing), expect=7)
    mvmctl("run", "--mode", "record", str(failing), expect=7)


def test_record_prints_the_workload_that_says_the_same(script: Path, tmp_path: Path) -> None:
    before = audit_log()
    recording = tmp_path / "recording.json"
    done = mvmctl("run", "--mode", "record", "--recording", str(recording), str(script), "--", "recorded")
    workload: Any = json.loads(done.stdout)
    assert workload["id"] == "greet-me"
    (app,) = workload["apps"]
    assert app["name"] == "recorded"
    assert app["environment"] == {"A": {"kind": "literal", "value": "b"}}
    assert app["files"] == [{"path": "/srv/greeting", "content_base64": "aGVsbG8="}]
    assert app["hooks"]["before_start"] == [
        {
            "run": {"kind": "command", "command": ["/bin/sh", "-c", "test -f /srv/greeting"]},
            "timeout_seconds": 2,
        }
    ]
    assert app["entrypoints"] == [
        {
            "kind": "command",
            "name": "main",
            "command": ["cat", "/srv/greeting"],
            "primary": True,
            "working_directory": "/srv",
        }
    ]
    assert "recorded\n" in done.stderr, "the script's own output is talk"
    assert "saw b''" in done.stderr, "nothing ran"
    assert "`ttl_seconds` is left" in done.stderr
    assert json.loads(recording.read_bytes())["sandboxes"][0]["operations"][0]["path"] == "/srv/greeting"
    assert audit_log() == before, "nothing was admitted"
    compiled: Any = json.loads(mvmctl("compile", "--from-recording", str(recording)).stdout)
    assert compiled["apps"] == workload["apps"]
    assert compiled["id"] == "recording"


def test_plan_prints_what_would_be_admitted_and_starts_nothing(script: Path) -> None:
    before = audit_log()
    plan: Any = json.loads(mvmctl("--json", "run", "--mode", "plan", str(script), "--", "planned").stdout)
    assert plan["plan"]["name"] == "recorded"
    assert plan["plan"]["image"]["source"] == "debian:python"
    assert plan["plan"]["ttl_seconds"] == 60
    assert audit_log() == before, "the plan was not spent"


def test_what_would_be_denied_is_denied_in_plan_mode(tmp_path: Path) -> None:
    script = tmp_path / "denied.py"
    script.write_text("import mvm\nmvm.Sandbox.create(profile='production')\n")
    done = mvmctl("run", "--mode", "plan", str(script), expect=1)
    assert "A-056" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "call",
    [
        "sandbox.files.read('/etc/hostname')",
        "sandbox.files.stat('/etc')",
        "sandbox.files.list('/')",
        "sandbox.snapshot()",
        "sandbox.pause()",
        "sandbox.fork(2)",
        "sandbox.metrics()",
        "list(sandbox.logs())",
        "sandbox.set_ttl(5)",
        "sandbox.commands.run('cat', stdin=b'x')",
        "sandbox.commands.run('true', receipt=True)",
    ],
)
def test_what_only_a_guest_can_answer_is_refused(tmp_path: Path, call: str) -> None:
    script = tmp_path / "asks.py"
    script.write_text(f"import mvm\nwith mvm.Sandbox.create() as sandbox:\n    {call}\n")
    done = mvmctl("run", "--mode", "record", str(script), expect=1)
    assert "BackendUnsupported" in done.stderr, done.stderr
    assert "--mode live" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "created no sandbox"),
        ("s = mvm.Sandbox.create()", "runs no command"),
        ("s = mvm.Sandbox.create(); s.commands.run('true', user='nobody')", "as user `nobody`"),
        ("s = mvm.Sandbox.create(); s.commands.run('true'); s.files.write('/a', b'')", "after a command"),
    ],
)
def test_what_a_workload_cannot_say_is_refused(tmp_path: Path, body: str, says: str) -> None:
    script = tmp_path / "odd.py"
    script.write_text(f"import mvm\n{body}\n")
    done = mvmctl("run", "--mode", "record", str(script), expect=125)
    assert says in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""


def test_other_files_and_options_are_refused(script: Path, tmp_path: Path) -> None:
    other = tmp_path / "program.rb"
    other.write_text("")
    assert "no script that can be run" in mvmctl("run", str(other), expect=125).stderr
    assert "cannot run" in mvmctl("run", str(tmp_path / "missing.py"), expect=125).stderr
    assert "SCRIPT" in mvmctl("run", "--mode", "record", "--", "true", expect=125).stderr
    mvmctl("run", "--memory", "512M", str(script), expect=125)
