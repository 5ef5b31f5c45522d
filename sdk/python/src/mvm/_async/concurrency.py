"""What differs between asyncio and threads. `mvm._sync.concurrency` is its twin; the rest is generated."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

# The loop holds tasks weakly; what reads a stream must not be collected before the stream ends.
_readers: set[asyncio.Task[None]] = set()


def scope() -> object:
    """What connections belong to: they cannot be used from another event loop."""
    return asyncio.get_running_loop()


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function that blocks."""
    return await asyncio.to_thread(function, *arguments)


async def pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


class _Shared:
    """What a pump shares with its reader, which must not hold the pump itself."""

    def __init__(self, capacity: int) -> None:
        self.queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(capacity)
        self.discards = False


class AsyncPump:
    """Reads a stream ahead, up to `capacity` chunks, so that a wait for the next one can have a limit.

    When the pump is stopped or collected, `sever` is called, which must make the stream end.
    """

    def __init__(self, chunks: AsyncIterator[bytes], sever: Callable[[], None], capacity: int) -> None:
        self._shared = _Shared(capacity)
        self._ended = False
        self._task = asyncio.get_running_loop().create_task(_read(chunks, self._shared))
        _readers.add(self._task)
        self._task.add_done_callback(_readers.discard)
        self._stop = weakref.finalize(self, _stop, self._shared, sever)

    async def next(self, timeout: float | None = None) -> bytes | None:
        """The next chunk, None at the end. Raises what broke the stream, and TimeoutError (in seconds)."""
        if self._ended:
            return None
        try:
            # Without a limit no task is made for the wait.
            waiting = self._shared.queue.get()
            item = await (waiting if timeout is None else asyncio.wait_for(waiting, timeout))
        except asyncio.TimeoutError as error:
            raise TimeoutError from error
        if isinstance(item, bytes):
            return item
        self._ended = True
        if item is not None:
            raise item
        return None

    def discard(self) -> None:
        """Reads on and throws away what comes."""
        self._shared.discards = True
        _drain(self._shared)

    async def stop(self) -> None:
        """Ends the stream and waits until its connection is closed."""
        self._ended = True
        self._stop()
        await asyncio.wait([self._task], timeout=5)


async def _read(chunks: AsyncIterator[bytes], shared: _Shared) -> None:
    end: BaseException | None = None
    try:
        async for chunk in chunks:
            if not shared.discards:
                await shared.queue.put(chunk)
    except Exception as error:
        end = error
    if not shared.discards:
        await shared.queue.put(end)


def _stop(shared: _Shared, sever: Callable[[], None]) -> None:
    shared.discards = True
    sever()
    _drain(shared)


def _drain(shared: _Shared) -> None:
    while not shared.queue.empty():
        shared.queue.get_nowait()


class AsyncBackground:
    """Something that goes on beside the caller."""

    def __init__(self, function: Callable[[], Awaitable[None]]) -> None:
        self._task = asyncio.ensure_future(function())

    async def finish(self, timeout: float) -> None:
        """Waits for its end, at most `timeout` seconds, and gives it up then."""
        await asyncio.wait([self._task], timeout=timeout)
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()


def monotonic() -> float:
    return time.monotonic()
