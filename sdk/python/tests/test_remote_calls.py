"""Calls of functions in real microVMs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import mvm

APP = """
import os
from dataclasses import dataclass

import mvm

mvm.workload(id="boxes")
LOADED = os.urandom(8).hex()


@dataclass
class Box:
    sides: list[float]


@mvm.func(name="boxes", image="debian:python", primary=True)
def scaled(box: Box, scale: float = 1.0) -> Box:
    return Box([side * scale for side in box.sides])


@mvm.func(name="boxes")
def fails(reason: str) -> None:
    raise LookupError(reason)


@mvm.func(name="boxes", warm=mvm.warm_process(max_calls_per_worker=100, max_memory_mib=128))
def loaded() -> str:
    return LOADED
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[ModuleType]:
    file = tmp_path / "boxes.py"
    file.write_text(APP)
    spec = importlib.util.spec_from_file_location("boxes", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["boxes"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["boxes"]


def test_the_same_here_and_in_its_microvm(app: ModuleType) -> None:
    box = app.Box([2.0, 3.0])
    assert app.scaled.local(box, 2.0) == app.Box([4.0, 6.0])
    assert app.scaled.remote(box, 2.0) == app.Box([4.0, 6.0])
    with pytest.raises(mvm.InvalidArgument, match="/box/sides/0"):
        app.scaled.remote(app.Box(["two"]))


async def test_what_it_raises_is_raised_here(app: ModuleType) -> None:
    with pytest.raises(mvm.RemoteError, match="on purpose") as caught:
        await app.fails.remote_async("on purpose")
    assert caught.value.type == "LookupError"
    line = APP[: APP.index("raise LookupError")].count("\n") + 1
    assert f'File "/app/boxes.py", line {line}, in fails' in caught.value.remote_traceback


def test_a_warm_worker_is_gone_on_from(app: ModuleType) -> None:
    first, second = app.loaded.remote(), app.loaded.remote()
    assert first == second != app.LOADED
