"""What scenarios cannot say, against a real server and real microVMs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mvm
from mvm import AsyncSandbox, Output, Sandbox

ROOT = Path(__file__).parents[1]


def gone_within(identity: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(info.id == identity for info in Sandbox.list()):
        assert time.monotonic() < end, f"{identity} is there after {seconds} s"
        time.sleep(0.05)


def test_the_examples_of_the_readme_run() -> None:
    text = (ROOT / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    printed = [
        subprocess.run(
            [sys.executable, "-c", example], check=True, capture_output=True, text=True
        ).stdout
        for example in examples
    ]
    assert printed == ["5\n\n", "hello\n"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_sandbox_outlives_its_process(end: signal.Signals) -> None:
    script = "from mvm import Sandbox; s = Sandbox.create(); print(s.id, flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    identity = child.stdout.readline().strip()
    assert Sandbox.connect(identity).info().ownership == "leased"
    child.send_signal(end)
    child.wait()
    gone_within(identity, 5)


def test_a_context_ends_its_sandbox_and_a_detached_one_stays() -> None:
    with Sandbox.create() as sandbox:
        identity = sandbox.id
    gone_within(identity, 1)
    with Sandbox.create() as sandbox:
        identity = sandbox.detach(ttl_seconds=60)
    again = Sandbox.connect(identity)
    assert again.info().ownership == "detached"
    with pytest.raises(mvm.InvalidArgument, match="end"):
        Sandbox.create().detach()
    again.destroy()


def test_output_is_given_as_it_comes_and_check_makes_failures_errors() -> None:
    with Sandbox.create() as sandbox:
        parts: list[bytes] = []
        errors: list[bytes] = []
        result = sandbox.commands.run(
            "cat; echo err >&2; exit 3",
            stdin="in\n",
            on_stdout=parts.append,
            on_stderr=errors.append,
        )
        assert (b"".join(parts), b"".join(errors), result.exit_code) == (b"in\n", b"err\n", 3)
        assert result.stdout == b"in\n"
        with pytest.raises(mvm.CommandFailed) as failure:
            sandbox.commands.run("exit 4", check=True)
        assert failure.value.result.exit_code == 4
        with sandbox.commands.start("printf 'h\\303'; sleep 0.2; printf '\\251!'") as process:
            assert "".join(process.text()) == "hé!"
        assert process.poll() is not None


def test_trees_are_copied_and_nothing_leads_out(tmp_path: Path) -> None:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "tree" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tree" / "run.sh").chmod(0o755)
    with Sandbox.create() as sandbox:
        sandbox.files.upload(tmp_path / "tree", "/srv/tree")
        assert sandbox.commands.run(["/srv/tree/run.sh"]).stdout == b"ran\n"
        sandbox.files.download("/srv/tree", tmp_path / "back")
        back = tmp_path / "back"
        assert (back / "inner" / "file").read_bytes() == bytes(range(256)) * 1000
        assert (back / "run.sh").stat().st_mode & 0o777 == 0o755
        with pytest.raises(mvm.InvalidArgument, match="already"):
            sandbox.files.download("/srv/tree", back)
        sandbox.commands.run("ln -s /etc /srv/tree/link", check=True)
        with pytest.raises(mvm.InvalidArgument, match="symlink"):
            sandbox.files.download("/srv/tree", tmp_path / "third")
        changes = sandbox.files.watch("/srv/tree", interval=0.05)
        process = sandbox.commands.start("sleep 0.4; echo new > /srv/tree/new")
        change = next(iter(changes))
        assert (change.kind, change.path) == ("created", "/srv/tree/new")
        process.wait()


def test_many_at_once_on_one_loop() -> None:
    async def one(number: int) -> str:
        async with await AsyncSandbox.create() as sandbox:
            result = await sandbox.commands.run(f"echo {number}")
            return result.stdout_text.strip()

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(6)))

    assert asyncio.run(all_of_them()) == [str(number) for number in range(6)]


def test_output_of_a_slow_reader_is_not_lost() -> None:
    with Sandbox.create() as sandbox:
        process = sandbox.commands.start("head -c 3000000 /dev/zero")
        time.sleep(0.5)
        total = sum(len(event.data) for event in process if isinstance(event, Output))
        assert total == 3_000_000


def test_a_server_that_is_not_there_is_a_transport_error() -> None:
    script = """
import mvm
try:
    mvm.Sandbox.list()
except mvm.TransportError as error:
    assert error.hint and error.retryable, error
else:
    raise SystemExit("no error")
"""
    environment = {**os.environ, "MVM_URL": "unix:///nowhere/api.sock"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    environment = {**os.environ, "MVM_MVMCTL": "/nowhere/mvmctl"}
    script = script.replace("TransportError", "BackendUnsupported").replace(
        " and error.retryable", ""
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
