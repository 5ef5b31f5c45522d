"""Which server is used, and what is told when there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mvm
from mvm import private_server
from mvm.endpoint import configured_endpoint


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """The socket of a server that is not the tests' own."""
    socket = tmp_path / "api.sock"
    server = subprocess.Popen([private_server.find_mvmctl(), "serve", "--socket", str(socket), "--quiet"])
    until = time.monotonic() + 10
    while not socket.exists() and time.monotonic() < until:
        time.sleep(0.02)
    yield socket
    server.terminate()
    server.wait(15)


def test_a_named_unix_socket(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVM_URL", f"unix://{served}")
    with mvm.Sandbox.create() as sandbox:
        assert sandbox.commands.run(["echo", "here"]).stdout == b"here\n"


def test_tcp_with_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("of-these-tests-0123456789-0123456789\n")
    token.chmod(0o600)
    address = "127.0.0.1:37195"
    server = subprocess.Popen(
        [private_server.find_mvmctl(), "serve", "--listen", address, "--token-file", str(token), "--quiet"]
    )
    try:
        monkeypatch.setenv("MVM_URL", f"http://{address}")
        monkeypatch.setenv("MVM_TOKEN", "another")
        deadline = time.monotonic() + 10
        while True:
            try:
                mvm.Sandbox.host()
            except mvm.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            except mvm.PolicyDenied:
                break
            else:
                pytest.fail("a wrong token was taken")
        monkeypatch.setenv("MVM_TOKEN", token.read_text().strip())
        with mvm.Sandbox.create() as sandbox:
            assert sandbox.commands.run(["cat"], stdin="over TCP").stdout == b"over TCP"
            with sandbox.commands.start("echo streamed") as process:
                assert process.wait(timeout=20).stdout == b"streamed\n"
            monkeypatch.setenv("MVM_TOKEN", "another")
            assert sandbox.info().state == "running"  # a handle keeps its server
    finally:
        server.terminate()
        server.wait(15)


def test_no_server_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MVM_URL", f"unix://{tmp_path}/none.sock")
    with pytest.raises(mvm.TransportError) as caught:
        mvm.Sandbox.create()
    assert caught.value.retryable
    assert "MVM_URL" in (caught.value.hint or "")


@pytest.mark.parametrize("url", ["none", "unix://relative/path", "ftp://host", "http://"])
def test_addresses_that_are_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVM_URL", url)
    with pytest.raises(mvm.InvalidArgument):
        configured_endpoint()


def test_no_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_server, "_server", None)
    monkeypatch.delenv("MVM_URL", raising=False)
    monkeypatch.delenv("MVM_MVMCTL")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(mvm.TransportError) as caught:
        mvm.Sandbox.create()
    assert "MVM_MVMCTL" in (caught.value.hint or "")
    monkeypatch.setenv("MVM_MVMCTL", "/bin/false")
    with pytest.raises(mvm.TransportError, match="did not start"):
        mvm.Sandbox.create()


def test_a_private_server_that_was_killed_is_started_anew() -> None:
    mvm.Sandbox.host()
    server = private_server._server
    assert server is not None
    server._child.kill()
    server._child.wait()
    with mvm.Sandbox.create() as sandbox:
        assert sandbox.commands.run("true").exit_code == 0


def test_a_silent_server_runs_into_the_request_timeout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "silent.sock"))
        listener.listen()
        monkeypatch.setenv("MVM_URL", f"unix://{tmp_path}/silent.sock")
        with pytest.raises(mvm.Timeout) as caught:
            mvm.Sandbox.list(request_timeout=0.2)
    assert caught.value.code == "Timeout"


def test_threads_share_the_server() -> None:
    def once(number: int) -> int:
        with mvm.Sandbox.create() as sandbox:
            return int(sandbox.commands.run(["echo", str(number)]).stdout)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(once, range(8))) == list(range(8))
    assert sum(thread.name == "mvm-stream" for thread in threading.enumerate()) == 0


def test_many_short_sandboxes_leave_nothing_open() -> None:
    with mvm.Sandbox.create():
        pass
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with mvm.Sandbox.create() as sandbox:
            sandbox.commands.run(["true"])
            sandbox.commands.start(["true"]).wait(timeout=20)
    assert len(os.listdir("/proc/self/fd")) <= before


IMPORT = """
import os, sys, threading, time
before = set(os.listdir("/proc/self/fd"))
start = time.perf_counter()
import mvm
took = time.perf_counter() - start
import json
print(json.dumps({
    "took_ms": took * 1000,
    "loaded": [name for name in ("httpx", "asyncio", "ssl", "subprocess") if name in sys.modules],
    "threads": threading.active_count(),
    "files": sorted(set(os.listdir("/proc/self/fd")) - before),
    "children": open("/proc/self/task/%d/children" % os.getpid()).read().split(),
}))
"""


def test_the_import_is_fast_and_does_nothing() -> None:
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True).stdout)
        for _ in range(5)
    ]
    assert min(run["took_ms"] for run in runs) <= 120
    for run in runs:
        assert (run["loaded"], run["threads"], run["files"], run["children"]) == ([], 1, [], [])
