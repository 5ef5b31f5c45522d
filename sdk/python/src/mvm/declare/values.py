"""Arguments and results as JSON, and back. Both sides use this: the caller, and the runner in the guest."""

# What `isinstance` tells of an Any has parts that are unknown.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import enum
import math
import sys

# Not typing, nor dataclasses: who has values of theirs has loaded them.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

MAX_BYTES = 8 * 1024 * 1024
"""Most bytes of the arguments of a call, and of its result, as JSON."""

MAX_DEPTH = 100
"""Most levels of a value. What is in a circle has more."""

# What every reader of JSON on the way keeps exactly.
_INTEGERS = range(-(2**63), 2**64)

_HINTS = {
    "bytes": "use a text, for example in base64",
    "bytearray": "use a text, for example in base64",
    "memoryview": "use a text, for example in base64",
    "set": "use a list, for example `sorted(…)`",
    "frozenset": "use a list, for example `sorted(…)`",
    "datetime": "use a text, for example `.isoformat()`",
    "date": "use a text, for example `.isoformat()`",
    "time": "use a text, for example `.isoformat()`",
    "timedelta": "use a number, for example `.total_seconds()`",
    "Decimal": "use a text, for example `str(…)`",
    "UUID": "use a text, for example `str(…)`",
    "PosixPath": "use a text, for example `str(…)`",
    "coroutine": "await it first",
    "generator": "use a list, for example `list(…)`",
}
_PLAIN = "use texts, numbers, booleans, None, lists, dicts, dataclasses and enums of these"


class NotJson(ValueError):
    """A value that JSON has no form for. `path` is where it is, `hint` the way out."""

    def __init__(self, path: str, what: str, hint: str) -> None:
        super().__init__(f"`{path}` {what}")
        self.path = path
        self.hint = hint


class DoesNotFit(ValueError):
    """JSON that is not what a type hint asks for. `path` is where it is."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"`{path}` {what}")
        self.path = path


def to_json(value: Any, path: str, depth: int = 0) -> Any:
    """The value made of dicts, lists, texts, numbers, booleans and None. Raises `NotJson`."""
    if depth > MAX_DEPTH:
        raise NotJson(_shortened(path), f"is deeper than {MAX_DEPTH} levels, or in a circle", "use a flatter value")
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, (bool, str, int, float)):
        return _scalar(value, path)
    if isinstance(value, (list, tuple)):
        items: Sequence[Any] = value
        return [to_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]
    if isinstance(value, dict):
        return _object(value, path, depth)
    if is_dataclass(type(value)):
        return _object({name: getattr(value, name) for name in fields_of(type(value))}, path, depth)
    kind = type(value).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    raise NotJson(path, f"is {article} {kind}, which JSON has no form for", _HINTS.get(kind, _PLAIN))


def _scalar(value: Any, path: str) -> Any:
    # A subclass, such as numpy.float64, becomes what it is one of.
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotJson(path, "is a text with half a character, a surrogate", "use text that is Unicode") from None
        return str.__str__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotJson(path, f"is {float(value)}, which is no number of JSON", "use None instead, or a text")
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value not in _INTEGERS:
            raise NotJson(path, "is an integer of more than 64 bits", "use a text, for example `str(…)`")
        return int(value)
    return value


def _object(fields: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(key, enum.Enum):
            key = key.value  # noqa: PLW2901 - an enum stands for its value
        if not isinstance(key, str):
            raise NotJson(path, f"has the key {key!r:.100}, and keys are texts", "make the keys texts")
        to_json(key, f"{path} (a key)", depth)
        made[str(key)] = to_json(value, step(path, key), depth + 1)
    return made


def step(path: str, key: str) -> str:
    """The path of a field."""
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{_shortened(repr(key))}]"


def _shortened(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:100]}…{path[-50:]}"  # noqa: PLR2004 - a line that can be read


def is_dataclass(kind: object) -> bool:
    return isinstance(kind, type) and "dataclasses" in sys.modules and hasattr(kind, "__dataclass_fields__")


def fields_of(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass by their names."""
    from dataclasses import fields

    return {field.name: field for field in fields(kind)}


def hints_of(owner: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a function or class; none where they name what is not there."""
    if not getattr(owner, "__annotations__", None):
        return {}
    from typing import get_type_hints

    try:
        return get_type_hints(owner)
    except Exception:
        # A hint may be any expression, of names that only a type checker imports.
        return {}


def from_json(value: Any, hint: Any, path: str) -> Any:
    """The value as its type hint wants it: dataclasses from objects, enums, tuples. Raises `DoesNotFit`.

    What a hint says nothing on stays as it is: checking is the schema's.
    """
    if isinstance(hint, type) and not hasattr(hint, "__origin__"):
        return _plain(value, hint, path)
    if hint is None:
        return value
    from typing import get_args, get_origin

    origin = get_origin(hint)
    return value if origin is None else _generic(value, origin, get_args(hint), path)


def _plain(value: Any, kind: Any, path: str) -> Any:
    if is_dataclass(kind):
        return _dataclass(value, kind, path)
    if issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            raise DoesNotFit(path, f"is none of {kind.__name__}") from None
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and type(value) is float and value.is_integer():
        return int(value)
    # A TypedDict.
    if isinstance(value, dict) and hasattr(kind, "__total__"):
        return _fields(value, hints_of(kind), path)
    return value


def _generic(value: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> Any:
    # `typing.Union` is no class before Python 3.14, and `X | Y` has one of its own.
    if (getattr(origin, "__name__", None) or getattr(origin, "_name", None)) in ("Union", "UnionType"):
        return _union(value, arguments, path)
    if not isinstance(origin, type):
        return value
    if isinstance(value, list) and (origin is tuple or len(arguments) == 1):
        return _items(value, origin, arguments, path)
    if isinstance(value, dict) and len(arguments) == 2:  # noqa: PLR2004 - key and value
        given: dict[str, Any] = value
        return _fields(given, dict.fromkeys(given, arguments[1]), path)
    return value


def _items(value: list[Any], origin: Any, arguments: tuple[Any, ...], path: str) -> Any:
    several = origin is tuple and arguments[1:] != (Ellipsis,)
    hints = [*arguments, *[None] * len(value)] if several else [*arguments[:1]] * len(value)
    made = [from_json(item, hints[index], f"{path}[{index}]") for index, item in enumerate(value)]
    return tuple(made) if origin is tuple else made


def _union(value: Any, arms: tuple[Any, ...], path: str) -> Any:
    if value is None:
        return None
    others = [arm for arm in arms if arm is not type(None)]
    if len(others) == 1:
        return from_json(value, others[0], path)
    if isinstance(value, (dict, list, str)):
        for arm in others:
            try:
                made = from_json(value, arm, path)
            except DoesNotFit:
                continue
            if made is not value:
                return made
    return value


def _fields(value: dict[str, Any], hints: dict[str, Any], path: str) -> dict[str, Any]:
    return {key: from_json(item, hints.get(key), step(path, key)) for key, item in value.items()}


def _dataclass(value: Any, kind: Any, path: str) -> Any:
    from dataclasses import MISSING

    if not isinstance(value, dict):
        raise DoesNotFit(path, f"is no object, and {kind.__name__} is made of one")
    given: dict[str, Any] = value
    fields = {name: field for name, field in fields_of(kind).items() if field.init}
    for key in given:
        if key not in fields:
            raise DoesNotFit(step(path, key), f"is no field of {kind.__name__}")
    for name, field in fields.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if name not in given and not optional:
            raise DoesNotFit(step(path, name), f"is missing, and {kind.__name__} needs it")
    return kind(**_fields(given, hints_of(kind), path))
