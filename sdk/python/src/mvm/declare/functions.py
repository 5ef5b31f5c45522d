"""A decorated function: the function itself, with `local` and `remote` attached."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .value import Declared

# Types for annotations; a guest's Python may be older than the means to write them down.
if sys.version_info >= (3, 10):
    from collections.abc import Coroutine
    from typing import ParamSpec, Protocol, TypeVar

    P = ParamSpec("P")
    R_co = TypeVar("R_co", covariant=True)

    class Remote(Protocol[P, R_co]):
        """How a function is called in its microVM."""

        def remote(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Calls it in its microVM, and waits. Raises `mvm.RemoteError` for what the function raises."""
            ...

        def remote_async(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
            """As `remote`, for asyncio."""
            ...

    class _Decorated(Remote[P, R_co], Protocol[P, R_co]):
        __name__: str
        __qualname__: str
        __module__: str

        def within(self, timeout: float | None = None, *, request_timeout: float | None = None) -> Remote[P, R_co]:
            """The same calls with a limit in seconds, of the call in the guest and of the server's answer."""
            ...

    class Function(_Decorated[P, R_co], Protocol[P, R_co]):
        """A decorated function."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

        def local(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Calls it here: the plain call."""
            ...

    class AsyncFunction(_Decorated[P, R_co], Protocol[P, R_co]):
        """A decorated `async def`."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...

        def local(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
            """Calls it here: the plain call."""
            ...


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
