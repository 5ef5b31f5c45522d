"""Tests of both interfaces from one text: what is awaited in one is an answer in the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import mvm

SURFACES = {"python": (mvm.Sandbox, mvm.Snapshot), "python-async": (mvm.AsyncSandbox, mvm.AsyncSnapshot)}


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def collected(values: Any, limit: int | None = None, until: Callable[[Any], bool] = lambda _: False) -> list[Any]:
    """What is iterated over: at most `limit` of it, and to the one that `until` is true for."""
    found: list[Any] = []
    if hasattr(values, "__aiter__"):
        values = values.__aiter__()
        async for value in values:
            found.append(value)
            if len(found) == limit or until(value):
                break
    else:
        values = iter(values)
        for value in values:
            found.append(value)
            if len(found) == limit or until(value):
                break
    close = getattr(values, "aclose", None) or getattr(values, "close", lambda: None)
    await settled(close())
    return found
