"""Real microVMs: `MVM_MVMCTL` or the PATH gives mvmctl, `MVM_HOME` a state directory that was set up."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import mvm


@pytest.fixture
def sandbox() -> Iterator[mvm.Sandbox]:
    with mvm.Sandbox.create() as sandbox:
        yield sandbox


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs `async def` tests, each in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    test: Callable[[], Any] = functools.partial(pyfuncitem.obj, **arguments)
    asyncio.run(asyncio.wait_for(test(), 120))
    return True
