"""`remote` against a server that speaks the form of `POST /v1/invocations`. Calls through microVMs are elsewhere."""

from __future__ import annotations

import base64
import enum
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import mvm

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    colour: Colour = Colour.RED


@mvm.app(name="geometry")
def move(point: Point, by: tuple[int, int] = (1, 1), **more: Any) -> list[Point]:
    return [point]


@mvm.app
async def later(a: Any) -> Any:
    return a


class Stand:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: tuple[int, dict[str, Any]] = (200, {})

    def returns(self, value: Any) -> None:
        self.answer = (200, {"outcome": "returned", "value": value, **SAME})

    def raises(self, kind: str, message: str, trace: str = "") -> None:
        error = {"type": kind, "message": message, "traceback": trace}
        self.answer = (200, {"outcome": "raised", "error": error, **SAME})


SAME = {
    "stderr_base64": base64.b64encode(b"said").decode(),
    "run_id": "run-1",
    "audit_id": "audit-1",
    "duration_ms": 12.5,
    "origin": "template",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    stand = Stand()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            stand.asked.append((self.path, body))
            status, answer = stand.answer
            kind = "application/json" if status == 200 else "application/problem+json"
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("MVM_URL", f"http://127.0.0.1:{http.server_address[1]}")
    yield stand
    http.shutdown()
    http.server_close()


def test_a_call_and_its_result(server: Stand) -> None:
    server.returns([{"x": 1, "colour": "red"}])
    assert move.remote(Point(0.5), by=(2, 3)) == [Point(1.0)]
    arguments = {"point": {"x": 0.5, "colour": "red"}, "by": [2, 3]}
    expected = {"file": __file__, "app": "geometry", "function": "move", "arguments": arguments}
    assert server.asked == [("/v1/invocations", expected)]
    assert move.within(1.5).remote(Point(1)) == [Point(1.0)]
    assert server.asked[1][1]["timeout_ms"] == 1500
    assert "by" not in server.asked[1][1]["arguments"]


async def test_a_call_from_asyncio(server: Stand) -> None:
    server.returns({"a": None})
    assert await later.remote_async(a=[Colour.RED]) == {"a": None}
    assert server.asked[0][1] == {"file": __file__, "app": None, "function": "later", "arguments": {"a": ["red"]}}
    assert await later.within(timeout=2).remote_async(1) == {"a": None}
    assert server.asked[1][1]["timeout_ms"] == 2000
    server.raises("ValueError", "no")
    with pytest.raises(mvm.RemoteError):
        await later.remote_async(1)


def test_an_exception_of_the_guest(server: Stand) -> None:
    server.raises("main.Broken", "no \x1b[31mway", 'Traceback…\n  File "/app/main.py", line 1\nBroken\n')
    with pytest.raises(mvm.CommandFailed) as caught:
        later.remote(1)
    error = caught.value
    assert isinstance(error, mvm.RemoteError)
    assert (error.code, error.type, error.message, error.run_id) == (
        "CommandFailed",
        "main.Broken",
        "no \x1b[31mway",
        "run-1",
    )
    assert error.remote_traceback.startswith("Traceback")
    assert (error.result.stderr, error.result.audit_id, error.result.exit_code) == (b"said", "audit-1", 1)
    text = str(error)
    assert text.startswith("main.Broken: no \\x1b[31mway")
    assert 'File "/app/main.py", line 1' in text
    assert str(pickle.loads(pickle.dumps(error))) == text
    # No class is looked up by what a guest says.
    server.raises("KeyError", "x")
    with pytest.raises(mvm.RemoteError) as caught:
        later.remote(1)
    assert not isinstance(caught.value, KeyError)


def test_failures_of_the_server(server: Stand) -> None:
    for code, kind in (
        ("InvalidArgument", mvm.InvalidArgument),
        ("BuildFailed", mvm.BuildFailed),
        ("Timeout", mvm.Timeout),
    ):
        server.answer = (400, {"code": code, "detail": "no", "causes": ["app.py:1:2"], "hint": "h"})
        with pytest.raises(kind) as caught:
            later.remote(1)
        assert caught.value.causes == ("app.py:1:2",)
    for answer in ({}, {"outcome": "returned"}, {"outcome": "raised"}, {"outcome": "raised", "error": 1}):
        server.answer = (200, answer)
        with pytest.raises(mvm.TransportError):
            later.remote(1)
    server.returns([{"y": 1}])
    with pytest.raises(mvm.RemoteError, match="result"):
        move.remote(Point(1))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"rows": [1, {"when": date(2020, 1, 1)}]}, "`a.rows[1].when` is a date"),
        ([float("nan")], "`a[0]` is nan"),
        ({1}, "`a` is a set"),
        (b"x", "`a` is a bytes"),
        ({1: 2}, "has the key 1"),
        (object(), "`a` is an object"),
        (2**70, "64 bits"),
        ("x" * (9 << 20), "bytes of JSON"),
    ],
)
def test_arguments_that_are_no_json(server: Stand, value: Any, message: str) -> None:
    with pytest.raises(mvm.InvalidArgument) as caught:
        later.remote(value)
    assert message in caught.value.message
    assert caught.value.hint
    assert server.asked == []


def test_arguments_the_function_does_not_take(server: Stand) -> None:
    for call in (move.remote, lambda: move.remote(1, 2, 3), lambda: later.remote(b=1)):  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"(move|later)\(\)"):
            call()
    with pytest.raises(mvm.InvalidArgument, match=r"\*more"):
        move.remote(Point(1), other=1)
    assert server.asked == []


def test_functions_that_are_in_no_file(server: Stand) -> None:
    namespace: dict[str, Any] = {"mvm": mvm, "__name__": "made"}
    exec(compile("@mvm.app\ndef f(): ...", "<stdin>", "exec"), namespace)
    with pytest.raises(mvm.InvalidArgument, match="is in no file") as caught:
        namespace["f"].remote()
    assert "notebook" in (caught.value.hint or "")
    exec(compile("@mvm.app\ndef f(): ...", "/tmp/ipykernel_1/2.py", "exec"), namespace)
    with pytest.raises(mvm.InvalidArgument, match="is in no file"):
        namespace["f"].remote()

    @mvm.app
    def nested() -> None: ...

    with pytest.raises(mvm.InvalidArgument, match="top level"):
        nested.remote()
    assert server.asked == []


def test_a_script_is_a_file(server: Stand, tmp_path: Path) -> None:
    server.returns(5)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, mvm\n@mvm.app\ndef f(a: int) -> int: return a\n"
        "if __name__ == '__main__':\n    os.chdir('/')\n    print(f.remote(1))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(mvm.__file__).parents[1])}
    command = [sys.executable, "script.py"]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "5\n"
    assert server.asked[0][1]["file"] == str(script)
