"""What the helpers return: values that hold what was said, and do nothing."""

# What `isinstance` tells of an Any has parts that are unknown.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn, TypeVar

    DeclaredT = TypeVar("DeclaredT", bound="Declared")


class Declared:
    """What one helper was called with. It cannot be changed, and equals what was called the same.

    `helper` is the helper's name, `fields` what was given, by the names it was given by. The compiler reads
    the call from the source text and never this value.
    """

    __slots__ = ("fields", "helper")

    helper: str
    fields: Mapping[str, Any]

    def __init__(self, helper: str, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "helper", helper)
        given = {name: _frozen(value) for name, value in fields.items() if value is not None}
        object.__setattr__(self, "fields", MappingProxyType(given))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a declaration cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a declaration cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Declared):
            return NotImplemented
        return type(self) is type(other) and self.helper == other.helper and self.fields == other.fields

    def __hash__(self) -> int:
        return hash((self.helper, frozenset(self.fields)))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={_thawed(value)!r}" for name, value in self.fields.items())
        return f"mvm.{self.helper}({said})"

    def __copy__(self: DeclaredT) -> DeclaredT:
        return self

    def __deepcopy__(self: DeclaredT, memo: dict[int, Any]) -> DeclaredT:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.helper, {name: _thawed(value) for name, value in self.fields.items()}))


def _frozen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        fields: dict[Any, Any] = value
        return MappingProxyType({key: _frozen(item) for key, item in fields.items()})
    return value


def _thawed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    if isinstance(value, MappingProxyType):
        return {key: _thawed(item) for key, item in value.items()}
    return value
