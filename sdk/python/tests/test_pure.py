"""What needs no server."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mvm
from mvm import errors, server
from mvm.frames import FrameParser
from mvm.results import TextView

ROOT = Path(__file__).parents[1]


def test_frames_are_whole_however_they_are_cut() -> None:
    stream = b"\x00\x00\x00\x00\x02{}" + b"\x01\x00\x00\x00\x00" + b"\x02\x00\x00\x00\x03err"
    whole = [(0, b"{}"), (1, b""), (2, b"err")]
    for cut in range(len(stream) + 1):
        parser = FrameParser()
        assert parser.feed(stream[:cut]) + parser.feed(stream[cut:]) == whole
    parser = FrameParser()
    assert [frame for byte in stream for frame in parser.feed(bytes([byte]))] == whole


def test_text_never_splits_a_character() -> None:
    text = "aé€😀"
    for cut in range(len(text.encode()) + 1):
        view = TextView()
        encoded = text.encode()
        assert view.feed(encoded[:cut]) + view.feed(encoded[cut:], final=True) == text
    assert TextView().feed(b"\xff", final=True) == "\ufffd"


def test_every_code_is_an_error_of_its_own() -> None:
    codes = [
        "CommandFailed",
        "Timeout",
        "PolicyDenied",
        "AdmissionFailed",
        "BuildFailed",
        "SandboxUnavailable",
        "BackendUnsupported",
        "SnapshotMismatch",
        "CleanupFailed",
        "InvalidArgument",
        "NotFound",
        "TransportError",
    ]
    for code in codes:
        kind = getattr(mvm, code)
        assert issubclass(kind, mvm.Error) and kind.code == code
        if code != "CommandFailed":
            problem = {"code": code, "detail": "d", "hint": "h", "causes": ["c"], "retryable": True}
            error = errors.from_problem(problem)
            assert type(error) is kind
            assert str(error) == "d: c (hint: h)" and error.retryable


def test_addresses_are_read_or_refused() -> None:
    assert server.parse("unix:///run/a.sock").socket == "/run/a.sock"
    assert server.parse("https://host:1/", "t") == server.Address("https://host:1", token="t")
    with pytest.raises(mvm.InvalidArgument):
        server.parse("ftp://host")


def test_importing_costs_little_and_does_nothing() -> None:
    script = """
import os, sys, time
begun = time.perf_counter()
import mvm
took = time.perf_counter() - begun
assert took < 0.12, took
assert "httpx" not in sys.modules and "asyncio" not in sys.modules
assert not os.listdir("/proc/self/task")[1:]
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_synchronous_surface_is_generated_and_the_same() -> None:
    script = ROOT / "scripts" / "generate_sync.py"
    subprocess.run([sys.executable, script, "--check"], check=True)
    pairs = [
        (mvm.AsyncSandbox, mvm.Sandbox),
        (mvm.AsyncCommands, mvm.Commands),
        (mvm.AsyncFiles, mvm.Files),
        (mvm.AsyncProcess, mvm.Process),
        (mvm.AsyncSnapshot, mvm.Snapshot),
    ]
    for one, other in pairs:
        public = [name for name in dir(one) if not name.startswith("_")]
        assert public == [name for name in dir(other) if not name.startswith("_")]
        for name in public:
            method, twin = getattr(one, name), getattr(other, name)
            if callable(method):
                parameters = inspect.signature(method).parameters
                assert [*parameters] == [*inspect.signature(twin).parameters], name
