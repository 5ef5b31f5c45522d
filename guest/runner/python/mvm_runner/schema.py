"""The part of JSON Schema (draft 2020-12) that a workload may hold, checked."""

from __future__ import annotations

from .values import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_NOUNS = {"null": "null", "boolean": "a boolean", "integer": "an integer", "number": "a number", "string": "a text"}
_NOUNS.update({"array": "a list", "object": "an object"})


def flaw(value: Any, schema: Any, path: str) -> str | None:
    """Where a JSON value breaks a schema, and how; None where it does not."""
    if not isinstance(schema, dict):
        return None
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        return f"`{path}` is {_noun(value)}, not {' or '.join(_NOUNS[kind] for kind in kinds)}"
    if "const" in schema and not _equal(value, schema["const"]):
        return f"`{path}` is not {_short(schema['const'])}"
    if "enum" in schema and not any(_equal(value, one) for one in schema["enum"]):
        return f"`{path}` is none of {', '.join(map(_short, schema['enum'][:20]))}"
    if "anyOf" in schema:
        found = [flaw(value, one, path) for one in schema["anyOf"]]
        if None not in found:
            return found[0] if len(found) == 1 else f"`{path}` is of none of its {len(found)} forms: {found[0]}"
    if isinstance(value, list):
        return _items(value, schema, path)
    if isinstance(value, dict):
        return _fields(value, schema, path)
    return None


def _items(value: list[Any], schema: dict[str, Any], path: str) -> str | None:
    if len(value) < schema.get("minItems", 0):
        return f"`{path}` has {len(value)} items, and {schema['minItems']} are the least"
    if len(value) > schema.get("maxItems", len(value)):
        return f"`{path}` has {len(value)} items, and {schema['maxItems']} are the most"
    first = schema.get("prefixItems", [])
    for index, item in enumerate(value):
        found = flaw(item, first[index] if index < len(first) else schema.get("items", True), f"{path}[{index}]")
        if found:
            return found
    return None


def _fields(value: dict[str, Any], schema: dict[str, Any], path: str) -> str | None:
    for name in schema.get("required", []):
        if name not in value:
            return f"`{step(path, name)}` is missing"
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name not in known and others is False:
            return f"`{step(path, name)}` is not known"
        found = flaw(item, known.get(name, others), step(path, name))
        if found:
            return found
    return None


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _noun(value: Any) -> str:
    return next(_NOUNS[kind] for kind, is_kind in _TYPES.items() if is_kind(value))


def _short(value: Any) -> str:
    return f"{value!r:.100}"
