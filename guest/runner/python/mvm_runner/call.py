"""One call: a request to an answer."""

from __future__ import annotations

import json
import math
import os
import sys

from . import channel, schema
from .entrypoint import Found
from .failure import Refused, describe
from .values import MAX_BYTES, DoesNotFit, NotJson, from_json, step, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def answer(found: Found, line: bytes | None) -> dict[str, Any]:
    """Calls the function with the arguments of a request, and gives the message for the host."""
    try:
        args, kwargs = _arguments(found, line)
        _renew_randomness()
        result = _called(found, args, kwargs)
        if hasattr(result, "__await__"):
            import asyncio

            result = asyncio.run(_awaited(result))
        return _returned(found, result)
    except BaseException as error:
        return {"event": "raised", "error": describe(error)}


def _called(found: Found, args: list[Any], kwargs: dict[str, Any]) -> Any:
    try:
        return found.function(*args, **kwargs)
    except TypeError as error:
        # Raised by the call itself, and not inside of the function.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise Refused("ArgumentsInvalid", f"the function does not take these arguments: {error}") from None
        raise


async def _awaited(result: Any) -> Any:
    return await result


def _arguments(found: Found, line: bytes | None) -> tuple[list[Any], dict[str, Any]]:
    if line is None:
        raise Refused("ArgumentsTooLarge", f"the request is over {MAX_BYTES} bytes")
    try:
        request = json.loads(line.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise Refused("ArgumentsInvalid", "the request is nested too deeply") from None
    except ValueError as error:
        raise Refused("ArgumentsInvalid", f"the request is not JSON: {error}") from None
    if not isinstance(request, dict) or request.keys() != {"arguments"} or not isinstance(request["arguments"], dict):
        raise Refused("ArgumentsInvalid", 'the request is not of the form `{"arguments": {…}}`')
    given: dict[str, Any] = request["arguments"]
    broken = schema.flaw(given, found.arguments_schema, "arguments")
    if broken:
        raise Refused("ArgumentsInvalid", broken)
    return _bound(found, given)


def _bound(found: Found, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Each argument in the way its parameter takes it, as the hint wants it."""
    converted: dict[str, Any] = {}
    try:
        for name, item in given.items():
            converted[name] = from_json(item, found.hints.get(name), step("arguments", name))
    except DoesNotFit as error:
        raise Refused("ArgumentsInvalid", str(error)) from None
    args: list[Any] = []
    for name in found.positional:
        if name not in converted:
            break
        args.append(converted.pop(name))
    return args, converted


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _renew_randomness() -> None:
    """A worker may go on from memory that others go on from too: its generators must not give the same."""
    if "random" in sys.modules:
        sys.modules["random"].seed(os.urandom(32))  # type: ignore[attr-defined]
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(32), 32.0)  # type: ignore[attr-defined]


def _returned(found: Found, result: Any) -> dict[str, Any]:
    try:
        value = to_json(result, "result")
    except NotJson as error:
        raise Refused("ResultNotJson", f"{error}; {error.hint}") from None
    answer = {"event": "returned", "value": value}
    size = len(channel.encoded(answer))
    if size > MAX_BYTES:
        raise Refused("ResultTooLarge", f"the result is {size} bytes of JSON, and {MAX_BYTES} are the most")
    broken = schema.flaw(value, found.result_schema, "result")
    if broken:
        raise Refused("ResultInvalid", broken)
    return answer
