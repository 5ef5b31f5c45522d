"""What is told of an exception: its type, its message, and its traceback without the runner's own frames."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_TYPE = 256
MAX_TEXT = 64 * 1024
"""Most characters of a message, and of a traceback."""

_RUNNER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Refused(Exception):
    """A failure of a call that is not the function's own; it has no traceback."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def describe(error: BaseException) -> dict[str, str]:
    """The `error` of a message to the host, whatever the exception does to prevent it."""
    try:
        return _describe(error)
    except BaseException as second:
        return _bounded(type(error).__name__, f"(it cannot be told: {type(second).__name__})", "")


def _describe(error: BaseException) -> dict[str, str]:
    if isinstance(error, Refused):
        return _bounded(error.kind, str(error), "")
    if isinstance(error, SystemExit):
        return _bounded("SystemExit", f"the program was ended with {error.code!r:.100}", _trace(error))
    try:
        message = str(error)
    except BaseException as second:
        message = f"(its message cannot be told: {type(second).__name__})"
    return _bounded(type(error).__qualname__, message, _trace(error))


def _bounded(kind: str, message: str, trace: str) -> dict[str, str]:
    told = {"type": _cut(kind, MAX_TYPE), "message": _cut(message, MAX_TEXT), "traceback": _cut(trace, MAX_TEXT)}
    # A message may hold halves of characters, which JSON has no form for.
    return {name: text.encode("utf-8", "backslashreplace").decode() for name, text in told.items()}


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    # Of a traceback both ends matter: where it began, and what it came to.
    kept = limit // 2 - 32
    return f"{text[:kept]}\n… {len(text) - 2 * kept} characters left out …\n{text[-kept:]}"


def _trace(error: BaseException) -> str:
    import traceback

    try:
        told = traceback.TracebackException.from_exception(error)
        _leave_out(told, set())
        return "".join(told.format())
    except BaseException as second:
        return f"(its traceback cannot be told: {type(second).__name__})"


def _leave_out(told: Any | None, seen: set[int]) -> None:
    """Leaves out the frames that come before the app's: the runner's, asyncio's and the importer's."""
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        frames = list(told.stack)
        while frames and _is_ours(frames[0].filename):
            frames.pop(0)
        told.stack[:] = [frame for frame in frames if not frame.filename.startswith((_RUNNER, "<frozen importlib"))]
        for one in getattr(told, "exceptions", None) or ():
            _leave_out(one, seen)
        _leave_out(told.__cause__, seen)
        told = told.__context__


def _is_ours(file: str) -> bool:
    asyncio = os.path.join(os.path.dirname(os.__file__), "asyncio") + os.sep
    importers = (os.path.join(os.path.dirname(os.__file__), "importlib") + os.sep, "<frozen importlib")
    return file.startswith((_RUNNER, asyncio, *importers))
