"""What differs between threads and asyncio. `mvm._async.concurrency` is its twin; the rest is generated."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class _Scope:
    """A key that can be held weakly."""


_SCOPE = _Scope()


def scope() -> object:
    """What connections belong to: all threads of the process share them."""
    return _SCOPE


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function that blocks."""
    return function(*arguments)


def pause(seconds: float) -> None:
    time.sleep(seconds)


class _Shared:
    """What a pump shares with its reader, which must not hold the pump itself."""

    def __init__(self, capacity: int) -> None:
        self.queue: queue.Queue[bytes | BaseException | None] = queue.Queue(capacity)
        self.discards = False


class Pump:
    """Reads a stream ahead, up to `capacity` chunks, so that a wait for the next one can have a limit.

    When the pump is stopped or collected, `sever` is called, which must make the stream end.
    """

    def __init__(self, chunks: Iterator[bytes], sever: Callable[[], None], capacity: int) -> None:
        self._shared = _Shared(capacity)
        self._ended = False
        self._thread = threading.Thread(target=_read, args=(chunks, self._shared), name="mvm-stream", daemon=True)
        self._thread.start()
        self._stop = weakref.finalize(self, _stop, self._shared, sever)

    def next(self, timeout: float | None = None) -> bytes | None:
        """The next chunk, None at the end. Raises what broke the stream, and TimeoutError (in seconds)."""
        if self._ended:
            return None
        try:
            item = self._shared.queue.get(timeout=timeout)
        except queue.Empty as error:
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

    def stop(self) -> None:
        """Ends the stream and waits until its connection is closed."""
        self._ended = True
        self._stop()
        if self._thread is not threading.current_thread():
            self._thread.join(5)


def _read(chunks: Iterator[bytes], shared: _Shared) -> None:
    end: BaseException | None = None
    try:
        for chunk in chunks:
            if not shared.discards:
                shared.queue.put(chunk)
    except Exception as error:
        end = error
    if not shared.discards:
        shared.queue.put(end)


def _stop(shared: _Shared, sever: Callable[[], None]) -> None:
    # In this order: whatever the reader puts after the queue was emptied is one item, for which there is room.
    shared.discards = True
    sever()
    _drain(shared)


def _drain(shared: _Shared) -> None:
    while True:
        try:
            shared.queue.get_nowait()
        except queue.Empty:
            return


class Background:
    """Something that goes on beside the caller."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, name="mvm-background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except Exception as error:
            self._error = error

    def finish(self, timeout: float) -> None:
        """Waits for its end, at most `timeout` seconds, and gives it up then."""
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error


def monotonic() -> float:
    return time.monotonic()
