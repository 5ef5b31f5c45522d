"""The types of decorated functions, for annotations. Python 3.10 or newer; nothing else here needs it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

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
