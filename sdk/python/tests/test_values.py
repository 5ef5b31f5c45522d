"""What needs no server: frames, text, bodies of requests, errors, local files."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import mvm
from mvm.errors import from_problem
from mvm.frames import FrameDecoder, LineDecoder, TextDecoder
from mvm.local_files import LocalFile, entry_name
from mvm.request import command_body, create_body, segment


def frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind]) + len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_frames_in_any_pieces(size: int) -> None:
    frames = [(0, b"{}"), (1, b""), (2, b"\0\xff" * 100), (1, b"x")]
    data = b"".join(frame(*one) for one in frames)
    decoder = FrameDecoder()
    seen = [one for start in range(0, len(data), size) for one in decoder.feed(data[start : start + size])]
    assert seen == frames
    assert decoder.is_between_frames


@pytest.mark.parametrize("data", [b"\x03\0\0\0\0", b"\x01\xff\xff\xff\xff"])
def test_frames_that_are_none(data: bytes) -> None:
    with pytest.raises(mvm.TransportError):
        list(FrameDecoder().feed(data))


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_lines_in_any_pieces(size: int) -> None:
    data = '{"a": "ü"}\n\n{"b": 1}\n{"c'.encode()
    decoder = LineDecoder()
    seen = [one for start in range(0, len(data), size) for one in decoder.feed(data[start : start + size])]
    assert seen == [{"a": "ü"}, {"b": 1}]


def test_text_splits_no_character() -> None:
    decoder = TextDecoder()
    text = "aü€😀" * 3
    pieces = [decoder.feed("stdout", bytes([byte])) for byte in text.encode()]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert decoder.feed("stderr", b"\xe2\x82") == ""
    assert [(rest.stream, rest.text) for rest in decoder.end()] == [("stderr", "\ufffd")]


def test_bodies() -> None:
    assert create_body({}) == {}
    assert create_body({"vcpus": 2, "memory_mib": None, "environment": {"A": "1"}, "ports": [1]}) == {
        "resources": {"vcpus": 2},
        "environment": {"A": "1"},
        "ports": [1],
    }
    assert command_body("a | b", timeout=1.5, grace=0) == {"shell": "a | b", "timeout_ms": 1500, "grace_ms": 0}
    assert command_body(("a", "b"), terminal=(80, 24), stdin=True) == {
        "argv": ["a", "b"],
        "terminal": {"columns": 80, "rows": 24},
        "stdin": True,
    }
    with pytest.raises(mvm.InvalidArgument):
        command_body("a", timeout=-1)
    assert segment("a/../b?c") == "a%2F..%2Fb%3Fc"
    with pytest.raises(mvm.InvalidArgument):
        segment("..")


CODES = [
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


def test_each_code_has_a_class() -> None:
    assert {getattr(mvm, code).code for code in CODES} == set(CODES)
    for code in CODES[1:]:
        problem = {"code": code, "detail": "what", "hint": "do", "causes": ["why"], "retryable": True}
        error = from_problem(problem)
        assert type(error) is getattr(mvm, code)
        assert (error.code, error.hint, error.causes, error.retryable) == (code, "do", ("why",), True)
        assert str(error) == "what: why (hint: do)"
    assert from_problem({"code": "OfTomorrow"}).code == "OfTomorrow"


def test_results() -> None:
    answer = {
        "exit_code": 1,
        "signal": None,
        "timed_out": False,
        "duration_ms": 1.0,
        "cpu_ms": 1.0,
        "peak_memory_bytes": 1,
        "run_id": "run-1",
        "audit_id": None,
        "receipt": "AAE=",
        "stdout_base64": "/w==",
        "stderr_base64": "",
        "truncated": True,
    }
    result = mvm.CommandResult.from_json(answer)
    assert (result.stdout, result.stdout_text, result.receipt, result.truncated) == (b"\xff", "\ufffd", b"\0\1", True)
    with pytest.raises(mvm.CommandFailed) as caught:
        result.check()
    assert caught.value.result is result
    assert pickle.loads(pickle.dumps(caught.value)).result == result


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(mvm.TransportError):
        entry_name(name)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    place = str(tmp_path / "file")
    file = LocalFile.replacing(place, 0o640)
    file.write(b"half")
    file.close()
    assert list(tmp_path.iterdir()) == []
    file = LocalFile.replacing(place, 0o640)
    file.write(b"whole")
    file.put_in_place()
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_the_blocking_interface_is_generated() -> None:
    script = Path(__file__).parent.parent / "scripts" / "generate_sync.py"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_both_interfaces_have_the_same_methods() -> None:
    for name in ("Sandbox", "Commands", "Process", "Files", "Snapshot"):
        blocking = {method for method in dir(getattr(mvm, name)) if not method.startswith("_")}
        other = {method for method in dir(getattr(mvm, f"Async{name}")) if not method.startswith("_")}
        assert blocking == other


def test_scenarios_are_well_formed() -> None:
    path = Path(__file__).resolve().parents[3] / "tests" / "conformance" / "scenarios.json"
    scenarios = json.loads(path.read_text())
    names = [scenario["name"] for scenario in scenarios]
    assert len(set(names)) == len(names)
    assert all(scenario["row"] and scenario["steps"] for scenario in scenarios)
