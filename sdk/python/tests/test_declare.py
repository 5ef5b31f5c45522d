"""Declarations do nothing, decorated functions stay functions, and the helpers are those of the other languages."""

from __future__ import annotations

import ast
import copy
import inspect
import json
import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import guest
import mvm
import mvm.declare
from mvm.declare.decorators import AppOptions

TABLE = json.loads((guest.REPOSITORY / "sdk" / "helpers.json").read_text())
COMPILER = guest.REPOSITORY / "host" / "mvm-compiler" / "src"


@mvm.app(
    name="math", image=mvm.python_image("3.12", packages=["git"]), env={"KEY": mvm.secret("k", hosts=["h.example"])}
)
def add(a: int, b: int = 2) -> int:
    """Adds."""
    return a + b


@mvm.func(name="math")
async def later(a: int) -> int:
    return a


def test_a_decorated_function_is_the_function() -> None:
    def plain(a: int, *, b: str = "x") -> None:
        """Documented."""

    for decorate in (mvm.app, mvm.func, mvm.app(name="a"), mvm.func(name="a"), mvm.workload(id="w")):
        assert decorate(plain) is plain  # type: ignore[operator]
    assert inspect.isfunction(plain)
    assert (plain.__name__, plain.__doc__) == ("plain", "Documented.")
    assert list(inspect.signature(plain).parameters) == ["a", "b"]
    assert add(1) == add.local(1) == 3
    assert inspect.iscoroutinefunction(later)
    assert inspect.iscoroutinefunction(later.local)
    assert inspect.iscoroutinefunction(add.remote_async)
    assert pickle.loads(pickle.dumps(add)) is add


@pytest.mark.parametrize("thing", [1, int, "f", print, [].append, type("C", (), {})])
def test_only_functions_are_decorated(thing: Any) -> None:
    with pytest.raises(TypeError, match="decorates a function"):
        mvm.app(name="a")(thing)


def test_keywords_are_checked_and_nothing_else() -> None:
    for wrong in (
        lambda: mvm.app(nam="a"),  # type: ignore[call-overload]
        lambda: mvm.resources(memory=1),  # type: ignore[call-arg]
        mvm.local_path,  # type: ignore[call-arg]
        lambda: mvm.app(add, name="a"),  # type: ignore[call-overload]
    ):
        with pytest.raises(TypeError):
            wrong()
    # What it means is the compiler's to say.
    assert mvm.host_port("*", 99999).fields == {"host": "*", "port": 99999}
    assert mvm.app(entrypoint=mvm.entrypoint(command=[])).fields["entrypoint"].fields["command"] == ()


def test_values_are_frozen_and_equal_what_says_the_same() -> None:
    said: dict[str, Any] = {"mode": "grants", "ports": [8080, {"guest": 1, "host": [2]}]}
    network = mvm.network(**said)
    assert network == mvm.network(**said)
    assert network != mvm.network()
    assert hash(network) == hash(mvm.network(**said))
    said["ports"].append(1)
    assert network.fields["ports"] == (8080, {"guest": 1, "host": (2,)})
    with pytest.raises(AttributeError):
        network.helper = "x"
    with pytest.raises(TypeError):
        network.fields["mode"] = "none"  # type: ignore[index]
    assert repr(network) == "mvm.network(mode='grants', ports=[8080, {'guest': 1, 'host': [2]}])"
    assert copy.deepcopy(network) is network
    assert pickle.loads(pickle.dumps(network)) == network


MODULE = """
import mvm
mvm.workload(id="w", volumes=[mvm.volume("data", size_mib=1)])
@mvm.app(name="a", source=mvm.local_path("."), network=mvm.network(egress=[mvm.host_port("h.example", 443)]))
def f(a: int) -> int: return a
@mvm.app
async def g() -> None: ...
mvm.app(name="b", image="debian:python", entrypoint=mvm.entrypoint(["true"]), restart="always")
"""


def test_importing_a_decorated_module_has_no_effect(tmp_path: Path) -> None:
    (tmp_path / "declared.py").write_text(MODULE)
    (tmp_path / "empty").mkdir()
    script = f"""
        import os, sys
        sys.path.insert(0, {str(tmp_path)!r})
        events = []
        def note(event, arguments):
            if event == "open":
                # Modules, and nothing else.
                if not str(arguments[0]).endswith((".py", ".pyc")) or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                    events.append((event, arguments))
            elif event.split(".")[0] in ("socket", "subprocess", "shutil", "tempfile", "ctypes", "signal") or event in (
                "os.system", "os.fork", "os.exec", "os.posix_spawn", "os.mkdir", "os.remove", "os.putenv", "os.chdir",
            ):
                events.append((event, arguments))
        sys.dont_write_bytecode = True
        sys.addaudithook(note)
        import threading
        import declared
        assert not events, events
        assert threading.active_count() == 1
        assert declared.f(1) == 1
        heavy = {{"httpx", "asyncio", "socket", "ssl", "subprocess", "json", "mvm.invocation", "mvm._sync"}}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    environment = {"PYTHONPATH": str(guest.REPOSITORY / "sdk/python/src"), "PATH": "", "HOME": str(tmp_path / "empty")}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, cwd=tmp_path / "empty", check=True)
    assert list((tmp_path / "empty").iterdir()) == []


def test_declarations_need_only_the_oldest_pythons_own_library() -> None:
    for file in sorted(guest.DECLARE.glob("*.py")):
        tree = ast.parse(file.read_text(), feature_version=(3, 9))
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                root = name.split(".")[0]
                # `typing_extensions` is for type checkers only.
                assert root in sys.stdlib_module_names or name in ("mvm.invocation", "typing_extensions"), (file, name)


def spelled(names: list[str]) -> set[str]:
    return {name for one in names for name in one.split("|")}


def test_helpers_are_those_of_the_table() -> None:
    declarations = ("app", "func")
    helpers = [name for name in mvm.declare.__all__ if inspect.isfunction(getattr(mvm.declare, name))]
    assert sorted(helpers) == sorted(TABLE)
    assert all(getattr(mvm, name) is getattr(mvm.declare, name) for name in helpers)
    for name, takes in TABLE.items():
        if name in declarations:
            assert set(AppOptions.__annotations__) == spelled(takes["named"]), name
            continue
        parameters = inspect.signature(getattr(mvm, name)).parameters
        assert set(parameters) == spelled(takes["positional"] + takes["named"]), name
        by_position = [one for one, it in parameters.items() if it.kind is it.POSITIONAL_OR_KEYWORD]
        assert by_position == [names.split("|")[0] for names in takes["positional"]], name


@pytest.mark.skipif(not COMPILER.exists(), reason="the compiler is not in this tree")
def test_the_table_is_the_compilers() -> None:
    def texts(part: str) -> list[str]:
        return re.findall(r'"([a-z_0-9|]+)"', part)

    source = (COMPILER / "declare.rs").read_text()
    calls = source[source.index("const HELPERS") :].split("];\n")[0]
    found: dict[str, Any] = {}
    for name, positional, named in re.findall(r'helper\(\s*"(\w+)",\s*&\[(.*?)\],\s*&\[(.*?)\],', calls, re.DOTALL):
        found[name] = {"positional": texts(positional), "named": texts(named)}
    for names, file in ((("workload",), "collect.rs"), (("app", "func"), "collect/app.rs")):
        takes = (COMPILER / file).read_text().split(": Takes = Takes {")[1]
        positional, named = re.findall(r"&\[(.*?)\]", takes, re.DOTALL)[:2]
        for name in names:
            found[name] = {"positional": texts(positional), "named": texts(named)}
    assert found == TABLE
