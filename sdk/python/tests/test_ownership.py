"""Who ends a sandbox: its context, its handle, its process; and who does not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import mvm

ENDS_WITHIN = 5.0


def ended(sandbox: str) -> float:
    """How many seconds it takes until the sandbox is gone; fails after the limit."""
    start = time.monotonic()
    while time.monotonic() < start + ENDS_WITHIN:
        try:
            mvm.Sandbox.connect(sandbox)
        except mvm.NotFound:
            return time.monotonic() - start
        time.sleep(0.05)
    pytest.fail(f"{sandbox} is there after {ENDS_WITHIN} s")


def script(text: str) -> subprocess.Popen[str]:
    # A job in the background ignores SIGINT, and so would what it starts.
    program = ["env", "--default-signal=INT", sys.executable, "-c", text]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.fixture
def killed() -> Iterator[list[subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []
    yield children
    for child in children:
        child.kill()
        child.communicate()


BLOCKING = """
import mvm, sys
sandbox = mvm.Sandbox.create()
print(sandbox.id, flush=True)
sys.stdin.read()
"""
WITH_ASYNCIO = """
import asyncio, mvm
async def main():
    sandbox = await mvm.AsyncSandbox.create()
    print(sandbox.id, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
WHILE_IT_RUNS = """
import mvm
sandbox = mvm.Sandbox.create()
print(sandbox.id, flush=True)
sandbox.commands.run("while :; do :; done", on_stdout=print)
"""


@pytest.mark.parametrize("text", [BLOCKING, WITH_ASYNCIO, WHILE_IT_RUNS])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_takes_its_sandbox_along(
    text: str, number: signal.Signals, killed: list[subprocess.Popen[str]]
) -> None:
    child = script(text)
    killed.append(child)
    sandbox = first_line(child)
    assert mvm.Sandbox.connect(sandbox).info().state == "running"
    child.send_signal(number)
    assert ended(sandbox) < ENDS_WITHIN


def test_a_process_that_ends_takes_its_sandbox_along(killed: list[subprocess.Popen[str]]) -> None:
    child = script(BLOCKING)
    killed.append(child)
    sandbox = first_line(child)
    child.communicate("")
    assert child.returncode == 0
    ended(sandbox)


def test_a_detached_sandbox_stays(killed: list[subprocess.Popen[str]]) -> None:
    child = script(
        BLOCKING.replace("sys.stdin", "sandbox.detach(ttl_seconds=60); print('done', flush=True); sys.stdin")
    )
    killed.append(child)
    sandbox = first_line(child)
    assert first_line(child) == "done"
    child.kill()
    child.wait()
    time.sleep(1)
    mvm.Sandbox.connect(sandbox).destroy()


FORKING = """
import mvm, os, sys, time
sandbox = mvm.Sandbox.create()
print(sandbox.id, flush=True)
if os.fork() == 0:
    # A server and a sandbox of the child's own; those of the parent are left alone.
    with mvm.Sandbox.create() as own:
        print(own.id, own.commands.run(["echo", "child"]).stdout_text.strip(), flush=True)
    os.close(1)
    time.sleep(20)
    sys.exit()
sys.stdin.readline()
print(sandbox.commands.run(["echo", "parent"]).stdout_text.strip(), flush=True)
sys.stdin.readline()
"""


def test_a_forked_child_holds_nothing_of_its_parent(killed: list[subprocess.Popen[str]]) -> None:
    child = script(FORKING)
    killed.append(child)
    try:
        sandbox = first_line(child)
        own, said = first_line(child).split()
        assert said == "child"
        ended(own)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert first_line(child) == "parent"
        child.kill()
        child.wait()
        ended(sandbox)
    finally:
        # The forked child as well: the script has a process group of its own.
        os.killpg(child.pid, signal.SIGKILL)


def test_a_forked_child_that_ends_takes_nothing_along(killed: list[subprocess.Popen[str]]) -> None:
    text = FORKING.replace("time.sleep(20)", "pass")
    child = script(text)
    killed.append(child)
    first_line(child)
    first_line(child)
    time.sleep(1)
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    assert first_line(child) == "parent"


def test_a_collected_handle_takes_its_sandbox_along() -> None:
    sandbox = mvm.Sandbox.create()
    identifier = sandbox.id
    del sandbox
    gc.collect()
    ended(identifier)


async def test_a_collected_async_handle_takes_its_sandbox_along() -> None:
    sandbox = await mvm.AsyncSandbox.create()
    identifier = sandbox.id
    del sandbox
    gc.collect()
    ended(identifier)


def test_a_context_ends_its_sandbox_also_by_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), mvm.Sandbox.create() as sandbox:
        raise ZeroDivisionError
    with pytest.raises(mvm.NotFound):
        sandbox.info()


def test_a_connection_takes_nothing_along(sandbox: mvm.Sandbox) -> None:
    with mvm.Sandbox.connect(sandbox.id) as again:
        pass
    del again
    gc.collect()
    assert sandbox.info().state == "running"


def test_a_lease_outlasts_pings(sandbox: mvm.Sandbox) -> None:
    time.sleep(11)
    assert sandbox.commands.run("true").exit_code == 0


AT_ANY_MOMENT = """
import mvm, sys
sandbox = mvm.Sandbox.create(name=sys.argv[1])
child, = sandbox.fork(name=sys.argv[1] + "-child")
while True:
    child.commands.run("sleep 0.05")
"""


def test_kills_at_random_moments_leave_nothing() -> None:
    name = f"killed-{os.getpid()}"
    for number in range(10):
        child = subprocess.Popen([sys.executable, "-c", AT_ANY_MOMENT, f"{name}-{number}"])
        time.sleep(random.uniform(0.05, 1.0))
        child.kill()
        child.wait()
    time.sleep(ENDS_WITHIN)
    assert [info.name for info in mvm.Sandbox.list() if (info.name or "").startswith(name)] == []


async def test_a_cancelled_create_leaves_nothing() -> None:
    name = f"cancelled-{os.getpid()}"
    await mvm.AsyncSandbox.host()
    for number in range(4):
        with contextlib.suppress(asyncio.TimeoutError):
            create = mvm.AsyncSandbox.create(name=f"{name}-{number}")
            await asyncio.wait_for(create, 0.005 * (number + 1))
    await asyncio.sleep(2)
    assert [info.name for info in await mvm.AsyncSandbox.list() if (info.name or "").startswith(name)] == []


async def test_a_cancelled_run_ends_its_command() -> None:
    async with await mvm.AsyncSandbox.create() as sandbox:
        for options in ({}, {"on_stdout": print}):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(sandbox.commands.run(["sleep", "60"], **options), 0.5)
        await asyncio.sleep(1)
        assert [process.id for process in await sandbox.commands.list() if process.result is None] == []
