"""The guest's runner for Python, as a process over pipes, the way a host starts it."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import guest
import mvm
import mvm.declare

# What stands in for the guest's Python, and the oldest one that it may be.
PYTHON = {"guest": sys.executable}
OLDEST = next(map(str, Path.home().glob(".pyenv/versions/3.9*/bin/python")), None) or shutil.which("python3.9")
Start = Callable[..., guest.Runner]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a runner for the function of a module's source; with these fields of its entrypoint."""
    runner = guest.install(tmp_path / "library")
    app = tmp_path / "app"
    app.mkdir()
    started: list[guest.Runner] = []

    def begin(source: str, fields: dict[str, Any] | None = None) -> guest.Runner:
        (app / "main.py").write_text(textwrap.dedent(source))
        guest.write_workload(tmp_path / "workload.json", {**guest.function("f"), **(fields or {})})
        started.append(guest.Runner(runner, app, "f", tmp_path / "workload.json", PYTHON["guest"]))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.communicate()


def raised(answer: Any) -> tuple[str, str]:
    assert answer["event"] == "raised", answer
    return answer["error"]["type"], answer["error"]["message"]


def test_calls_are_answered_in_turn_until_the_input_ends(start: Start) -> None:
    runner = start("def f(a, b=2): return {'sum': a + b}")
    assert runner.first == {"event": "ready"}
    assert runner.call(a=1) == {"event": "returned", "value": {"sum": 3}}
    assert runner.call(a="ä", b="€😀") == {"event": "returned", "value": {"sum": "ä€😀"}}
    assert runner.end() == (0, b"", "")


def test_output_of_the_function_goes_to_standard_error(start: Start) -> None:
    runner = start(
        """
        import ctypes, os, subprocess, sys
        print("at import")
        def f():
            print("printed"); sys.stdout.write("half a line")
            os.write(1, b"written\\n"); os.system("echo from a shell")
            subprocess.run(["echo", "from a program"])
            libc = ctypes.CDLL(None); libc.puts(b"from C"); libc.fflush(None)
            cat = subprocess.run(["cat"], capture_output=True).stdout.decode()
            return [sys.stdin.read(), os.read(0, 10).decode(), cat]
        """
    )
    assert runner.call() == {"event": "returned", "value": ["", "", ""]}
    code, out, err = runner.end()
    assert (code, out) == (0, b"")
    for text in ("at import", "printed", "half a line", "written", "from a shell", "from a program", "from C"):
        assert text in err


def test_exceptions_are_told_with_the_files_of_the_app(start: Start) -> None:
    runner = start(
        """
        class Broken(Exception): ...
        def inner(x):
            return 1 / x
        def f(x):
            try:
                return inner(x)
            except ZeroDivisionError as error:
                raise Broken("no way") from error
        """
    )
    answer = runner.call(x=0)
    assert raised(answer) == ("Broken", "no way")
    trace = answer["error"]["traceback"]
    assert trace.count("main.py") == 3
    assert "line 4, in inner" in trace
    assert "ZeroDivisionError: division by zero" in trace
    assert "mvm_runner" not in trace
    assert "runner.py" not in trace
    assert runner.call(x=2)["value"] == 0.5


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("import sys; sys.exit(3)", "SystemExit", "3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("return f()", "RecursionError", "maximum recursion depth"),
        ("return float('nan')", "ResultNotJson", "`result` is nan"),
        ("return {'a': [1, float('inf')]}", "ResultNotJson", "`result.a[1]` is inf"),
        ("return {1, 2}", "ResultNotJson", "`result` is a set"),
        ("return [b'x']", "ResultNotJson", "`result[0]` is a bytes"),
        ("return {1: 2}", "ResultNotJson", "keys are texts"),
        ("return {'a b': f}", "ResultNotJson", "`result['a b']` is a function"),
        ("a = []; a.append(a); return a", "ResultNotJson", "in a circle"),
        ("import datetime; return datetime.date(2020, 1, 1)", "ResultNotJson", "isoformat"),
        ("return 2**64", "ResultNotJson", "64 bits"),
        ("return '\\ud800'", "ResultNotJson", "surrogate"),
        ("return 'x' * (8 << 20)", "ResultTooLarge", "8388640 bytes"),
        ("yield 1", "ResultNotJson", "`result` is a generator"),
        ("raise ValueError('\\ud800')", "ValueError", "\\ud800"),
        ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()", "E", "cannot be told"),
        ("raise SystemExit(type('E', (), {'__repr__': lambda self: 1 / 0})())", "SystemExit", "cannot be told"),
        ("import os; os.fork() or 1; return os.close(1)", None, None),
    ],
)
def test_what_a_function_may_do(start: Start, body: str, kind: str | None, message: str | None) -> None:
    runner = start(f"def f(again=True):\n    if not again: return 'well'\n    {body}")
    answer = runner.call()
    if kind is not None and message is not None:
        assert raised(answer)[0] == kind
        assert message in raised(answer)[1]
    if body != "yield 1":
        assert runner.call(again=False) == {"event": "returned", "value": "well"}
    assert runner.end()[:2] == (0, b"")


def test_messages_and_tracebacks_are_bounded(start: Start) -> None:
    answer = start("def f(): raise ValueError('x' * 10_000_000)").call()
    assert 60_000 < len(answer["error"]["message"]) < 66_000
    assert len(answer["error"]["traceback"]) < 66_000
    assert "characters left out" in answer["error"]["message"]


def test_asynchronous_functions_are_awaited(start: Start) -> None:
    runner = start(
        """
        import asyncio
        async def f(a):
            await asyncio.sleep(0)
            if a < 0: raise ValueError(a)
            return (a, await asyncio.gather(asyncio.sleep(0, 1)))
        """
    )
    assert runner.call(a=1)["value"] == [1, [1]]
    answer = runner.call(a=-1)
    assert raised(answer) == ("ValueError", "-1")
    assert "asyncio" not in answer["error"]["traceback"]
    assert runner.call(a=2)["value"] == [2, [1]]


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("import not_there", "ModuleNotFoundError", "not_there"),
        ("def f(:", "SyntaxError", ""),
        ("1 / 0", "ZeroDivisionError", "division"),
        ("import sys; sys.exit(0)", "SystemExit", "0"),
        ("g = 1", "FunctionNotFound", "`f` is not there"),
        ("f = 1", "FunctionNotFound", "`f` is no function"),
        ("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()", "FunctionNotFound", ""),
    ],
)
def test_modules_that_cannot_be_loaded(start: Start, source: str, kind: str, message: str) -> None:
    runner = start(source)
    assert runner.first["event"] == "failed"
    assert runner.first["error"]["type"] == kind
    assert message in runner.first["error"]["message"]
    if kind == "ZeroDivisionError":
        assert "main.py" in runner.first["error"]["traceback"]
        assert "importlib" not in runner.first["error"]["traceback"]
    assert runner.end()[0] == 1


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"module": "other.thing"}, "ModuleNotFoundError", "`other.thing`"),
        ({"language": "node"}, "EntrypointNotFound", "a function of node"),
        ({"kind": "command"}, "EntrypointNotFound", "is a command"),
        ({"name": "g"}, "EntrypointNotFound", "no entrypoint `f`"),
        ({"module": 5}, "WorkloadUnreadable", "workload.json"),
    ],
)
def test_entrypoints_that_cannot_be_found(start: Start, fields: dict[str, Any], kind: str, message: str) -> None:
    runner = start("def f(): ...", fields)
    assert runner.first["error"]["type"] == kind
    assert message in runner.first["error"]["message"]
    assert runner.end()[0] == 1


SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}, "maxItems": 2},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "minItems": 2},
        "either": {"anyOf": [{"type": "null"}, {"enum": [1, "a"]}]},
        "fixed": {"const": True},
    },
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`arguments.n` is missing"),
        ({"n": "1"}, "`arguments.n` is a text, not an integer"),
        ({"n": True}, "`arguments.n` is a boolean"),
        ({"n": 1.5}, "`arguments.n` is a number"),
        ({"n": 1, "m": 2}, "`arguments.m` is not known"),
        ({"n": 1, "rows": [{}, {"x": None}]}, "`arguments.rows[1].x` is null, not a number"),
        ({"n": 1, "rows": [{}] * 3}, "`arguments.rows` has 3 items"),
        ({"n": 1, "pair": ["a"]}, "`arguments.pair` has 1 items"),
        ({"n": 1, "pair": ["a", 1]}, "`arguments.pair[1]` is an integer, not a boolean"),
        ({"n": 1, "either": True}, "`arguments.either` is of none of its 2 forms"),
        ({"n": 1, "fixed": 1}, "`arguments.fixed` is not True"),
    ],
)
def test_arguments_are_held_against_their_schema(start: Start, arguments: dict[str, Any], message: str) -> None:
    runner = start("def f(**all): return all['n']", {"arguments_schema": SCHEMA})
    kind, said = raised(runner.call(**arguments))
    assert (kind, message in said) == ("ArgumentsInvalid", True), said
    assert runner.call(n=1.0, rows=[{"x": 1}], pair=["a", True], either="a", fixed=True)["value"] == 1


def test_results_are_held_against_their_schema(start: Start) -> None:
    integers = {"items": {"type": "integer"}}
    runner = start("def f(x): return {'x': [x]}", {"result_schema": {"properties": {"x": integers}}})
    assert runner.call(x=1)["value"] == {"x": [1]}
    assert raised(runner.call(x="a")) == ("ResultInvalid", "`result.x[0]` is a text, not an integer")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b'{"arguments": {}\n', "not JSON"),
        (b"[]\n", "not of the form"),
        (b'{"arguments": []}\n', "not of the form"),
        (b'{"arguments": {}, "more": 1}\n', "not of the form"),
        (b'{"arguments": {"a": NaN}}\n', "NaN is no number"),
        (b'{"arguments": {"a": 1e999}}\n', "1e999 is no number"),
        (b'{"arguments": {"a": ' + b"[" * 100_000 + b"\n", "nested too deeply"),
        (b'{"arguments": {"b": 1}}\n', "does not take these arguments"),
        (b"\0" * 1000 + b"\n", "not JSON"),
    ],
)
def test_lines_that_are_no_requests(start: Start, line: bytes, message: str) -> None:
    runner = start("def f(a=None): return a")
    kind, said = raised(runner.send(line))
    assert (kind, message in said) == ("ArgumentsInvalid", True), said
    assert runner.call(a=[1])["value"] == [1]


def test_requests_of_every_size(start: Start) -> None:
    runner = start("def f(a): return len(a)")
    assert runner.call(a="x" * ((8 << 20) - 100))["value"] == (8 << 20) - 100
    assert raised(runner.call(a="x" * (9 << 20)))[0] == "ArgumentsTooLarge"
    assert raised(runner.call(a="x" * (30 << 20)))[0] == "ArgumentsTooLarge"
    assert runner.call(a="x")["value"] == 1
    assert runner.process.stdin is not None
    runner.process.stdin.write(b'{"arguments": {"a": "the last"}}')
    assert json.loads(runner.end()[1])["value"] == 8


def test_dataclasses_are_made_and_taken_apart(start: Start) -> None:
    runner = start(
        """
        import enum
        from dataclasses import dataclass, field
        from typing import Dict, List, Optional, Tuple, TypedDict
        class Colour(enum.Enum):
            RED = "red"
        @dataclass
        class Point:
            x: float
            colour: Colour = Colour.RED
        class Box(TypedDict):
            corner: Point
        Points, Pair = List[Point], Tuple[int, Point]
        def f(one: Point, many: Points, maybe: Optional[Point], box: Box, pair: Pair, by: Dict[str, Point]):
            assert type(one.x) is float and one.colour is Colour.RED and type(pair) is tuple
            return [one, many[0], maybe, box["corner"], pair[1], by["a"]]
        """
    )
    point = {"x": 1}
    nested = {"box": {"corner": point}, "pair": [1, point], "by": {"a": point}}
    arguments = {"one": point, "many": [point], "maybe": None, **nested}
    whole = {"x": 1.0, "colour": "red"}
    assert runner.call(**arguments)["value"] == [whole, whole, None, whole, whole, whole]
    for change, message in [
        ({"one": {}}, "`arguments.one.x` is missing"),
        ({"many": [{"x": 1, "y": 2}]}, "`arguments.many[0].y` is no field of Point"),
        ({"maybe": 1}, "`arguments.maybe` is no object"),
        ({"by": {"a": {"x": 1, "colour": "blue"}}}, "`arguments.by.a.colour` is none of Colour"),
    ]:
        kind, said = raised(runner.call(**{**arguments, **change}))
        assert (kind, message in said) == ("ArgumentsInvalid", True), said


def test_parameters_by_position_only(start: Start) -> None:
    runner = start("def f(a, b=2, /, *, c=3): return [a, b, c]")
    assert runner.call(a=1)["value"] == [1, 2, 3]
    assert runner.call(c=1, b=0, a=9)["value"] == [9, 0, 1]
    assert raised(runner.call(b=1))[0] == "ArgumentsInvalid"


def test_random_numbers_do_not_depend_on_the_memory(start: Start) -> None:
    runner = start("import random\nrandom.seed(1)\ndef f(): return random.getrandbits(60)")
    first, second = runner.call()["value"], runner.call()["value"]
    other = start("import random\nrandom.seed(1)\ndef f(): return random.getrandbits(60)")
    assert len({first, second, other.call()["value"]}) == 3


def test_a_module_finds_the_declarations_and_not_the_runtime(start: Start) -> None:
    runner = start(
        """
        import mvm
        from mvm import Sandbox, app
        mvm.workload(id="w")
        def box() -> Sandbox: ...
        @app(image=mvm.python_image(), resources=mvm.resources(memory_mb=512))
        def f(what):
            try:
                eval(what)
            except mvm.TransportError: return "no"
            except Exception as error:
                return [type(error).__name__, str(error)]
        """
    )
    assert runner.first == {"event": "ready"}
    for what, kind, message in [
        ("f.remote('1')", "RuntimeError", "inside of a microVM"),
        ("mvm.Sandbox.create()", "RuntimeError", "`mvm.Sandbox.create` is not there in a guest"),
        ("mvm.Sandbox()", "RuntimeError", "`mvm.Sandbox` is not there in a guest"),
        ("mvm.plan()", "RuntimeError", "`mvm.plan` is not there"),
        ("mvm.sandbox", "AttributeError", "no attribute"),
    ]:
        got = runner.call(what=what)["value"]
        assert got[0] == kind
        assert message in got[1]
    assert runner.call(what="f.local('1')")["value"] is None


def test_the_stub_has_every_name_of_the_sdk(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "mvm", "__package__": "mvm"}
    source = (guest.RUNNER / "mvm" / "__init__.py").read_text()
    exec(compile(source, "stub", "exec"), namespace)
    helpers = {name for name in mvm.__all__ if name in mvm.declare.__all__}
    assert set(mvm.__all__) == helpers | namespace["_RUNTIME"] | namespace["_ERRORS"]


def test_the_apps_own_modules_come_first(start: Start, tmp_path: Path) -> None:
    for name in ("runner", "channel", "schema"):
        (tmp_path / "app" / f"{name}.py").write_text("mine = True")
    (tmp_path / "app" / "mvm.py").write_text("mine = True")
    source = "import mvm, runner, channel, schema\ndef f(): return mvm.mine and runner.mine and schema.mine"
    assert start(source).call()["value"] is True


@pytest.mark.skipif(OLDEST is None, reason="there is no Python 3.9 here")
def test_the_oldest_python_of_a_guest(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PYTHON, "guest", OLDEST)
    test_a_module_finds_the_declarations_and_not_the_runtime(start)
    test_dataclasses_are_made_and_taken_apart(start)
    test_asynchronous_functions_are_awaited(start)
    test_exceptions_are_told_with_the_files_of_the_app(start)
