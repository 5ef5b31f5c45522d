"""A decorated function: the function itself, with `local` and `remote` attached."""

from __future__ import annotations

from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .value import Declared


class _RemoteCalls:
    """`remote` and `remote_async` of one function, with their limits."""

    __slots__ = ("_app", "_function", "_request_timeout", "_timeout")

    def __init__(
        self,
        function: Callable[..., Any],
        app: str | None,
        timeout: float | None = None,
        request_timeout: float | None = None,
    ) -> None:
        self._function = function
        self._app = app
        self._timeout = timeout
        self._request_timeout = request_timeout

    def __repr__(self) -> str:
        return f"<calls of {self._function.__qualname__} in its microVM>"

    # `self` is positional-only: the function may have a parameter of that name.
    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        # What speaks to a server is loaded here and not before: declaring needs none.
        from mvm.invocation import invoke

        return invoke(self._function, self._app, args, kwargs, self._timeout, self._request_timeout)

    async def remote_async(self, /, *args: Any, **kwargs: Any) -> Any:
        from mvm.invocation import invoke_async

        return await invoke_async(self._function, self._app, args, kwargs, self._timeout, self._request_timeout)

    def within(self, timeout: float | None = None, *, request_timeout: float | None = None) -> _RemoteCalls:
        return _RemoteCalls(self._function, self._app, timeout, request_timeout)


def attach(function: Any, declaration: Declared) -> Any:
    """The function itself, which can be called in its microVM from now on."""
    if not isinstance(function, FunctionType):
        raise TypeError(f"mvm.{declaration.helper} decorates a function, not {type(function).__name__}")
    calls = _RemoteCalls(function, declaration.fields.get("name"))
    # Assigned by name so that a type checker does not look for them in FunctionType.
    attributes = {
        "local": function,
        "remote": calls.remote,
        "remote_async": calls.remote_async,
        "within": calls.within,
    }
    function.__dict__.update(attributes)
    return function
