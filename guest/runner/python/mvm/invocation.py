"""What `remote` and `remote_async` come to in a guest."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def _refuse(function: Any) -> NoReturn:
    name = getattr(function, "__name__", "f")
    raise RuntimeError(f"`{name}.remote` was called inside of a microVM; call `{name}(…)` itself here")


def invoke(function: Any, *_: Any) -> NoReturn:
    _refuse(function)


async def invoke_async(function: Any, *_: Any) -> NoReturn:
    _refuse(function)
