"""What `remote` does: from a function and its arguments to a request, and from the answer to its result."""

from __future__ import annotations

import base64
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Any, cast

from mvm.declare.values import MAX_BYTES, DoesNotFit, NotJson, from_json, hints_of, to_json
from mvm.errors import InvalidArgument, RemoteError, TransportError
from mvm.model import CommandResult
from mvm.request import milliseconds

Fn = Callable[..., Any]


def invoke(
    function: Fn,
    app: str | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    timeout: float | None = None,
    request_timeout: float | None = None,
) -> Any:
    """Calls a decorated function in its microVM and waits for its result."""
    from mvm._sync.invocation import ask

    return result_of(function, ask(invocation_body(function, app, args, kwargs, timeout), request_timeout))


async def invoke_async(
    function: Fn,
    app: str | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    timeout: float | None = None,
    request_timeout: float | None = None,
) -> Any:
    """As `invoke`, for asyncio."""
    from mvm._async.invocation import ask

    return result_of(function, await ask(invocation_body(function, app, args, kwargs, timeout), request_timeout))


def invocation_body(
    function: Fn, app: str | None, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> dict[str, Any]:
    """INVOCATION of the HTTP API.

    Raises `TypeError` where the function does not take these arguments, as a plain call does, and
    `InvalidArgument` where they are no JSON or the function is in no file.
    """
    bound = bind(function, args, kwargs)
    file = source_file(function)
    body: dict[str, Any] = {"file": file, "app": app, "function": function.__name__, "arguments": arguments_of(bound)}
    timeout_ms = milliseconds(timeout, "timeout")
    if timeout_ms is not None:
        body["timeout_ms"] = timeout_ms
    return body


def bind(function: Fn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """The arguments by the names of the parameters. Raises `TypeError`, as a plain call does."""
    try:
        return inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{function.__qualname__}() {error}") from None


def arguments_of(bound: inspect.BoundArguments) -> dict[str, Any]:
    """The arguments that were given, as JSON. Defaults are the guest's."""
    arguments: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise InvalidArgument(
                f"arguments of `*{name}` cannot be given as JSON by name", hint="name each parameter of the function"
            )
        try:
            arguments[name] = to_json(value, name)
        except NotJson as error:
            raise InvalidArgument(f"the argument {error}", hint=error.hint) from None
    size = len(json.dumps(arguments, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_BYTES:
        raise InvalidArgument(
            f"the arguments are {size} bytes of JSON, and {MAX_BYTES} are the most",
            hint="write large data into files of a sandbox (`mvm.Sandbox`), or make several calls",
        )
    return arguments


def source_file(function: Fn) -> str:
    """The file that declares a function, which the server compiles. Raises `InvalidArgument`."""
    if function.__qualname__ != function.__name__:
        raise InvalidArgument(
            f"`{function.__qualname__}` is not at the top level of its module",
            hint="move it there: the microVM imports the module and takes the function by its name",
        )
    named = inspect.unwrap(function).__code__.co_filename
    module = sys.modules.get(function.__module__)
    # A script that was started with a relative path is where it was then, whatever the directory is now.
    loaded: str | None = getattr(module, "__file__", None)
    if not os.path.isabs(named) and loaded is not None and os.path.basename(loaded) == os.path.basename(named):
        named = loaded
    file = os.path.abspath(named)
    if named.startswith("<") or not os.path.isfile(file):
        raise InvalidArgument(
            f"`{function.__name__}` is in no file: it was defined in `{named}`",
            hint="put it into a .py file and import it: the file is compiled, a prompt or a notebook is not",
        )
    return file


def result_of(function: Fn, answer: Any) -> Any:
    """The value of an answer, as the function's return hint wants it. Raises `RemoteError`."""
    told = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    outcome = told.get("outcome")
    if outcome == "returned" and "value" in told:
        try:
            return from_json(told["value"], hints_of(function).get("return"), "result")
        except DoesNotFit as error:
            raise RemoteError("ResultInvalid", str(error), "", _result(told)) from None
    raised = told.get("error")
    if outcome == "raised" and isinstance(raised, dict):
        text = {name: str(value) for name, value in cast("dict[str, Any]", raised).items()}
        raise RemoteError(
            text.get("type", "Exception"), text.get("message", ""), text.get("traceback", ""), _result(told)
        )
    raise TransportError(
        "the server's answer is no outcome of a call", hint="is the server of another version than this package?"
    )


def _result(told: dict[str, Any]) -> CommandResult:
    return CommandResult(
        exit_code=1,
        signal=None,
        stdout=b"",
        stderr=base64.b64decode(told.get("stderr_base64") or ""),
        timed_out=False,
        truncated=False,
        duration_ms=float(told.get("duration_ms") or 0),
        cpu_ms=0.0,
        peak_memory_bytes=0,
        run_id=told.get("run_id"),
        audit_id=told.get("audit_id"),
    )
