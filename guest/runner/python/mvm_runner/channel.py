"""The standard streams: the host's messages on copies of them, and what is left for the function."""

from __future__ import annotations

import json
import os
import sys

from .values import MAX_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

CHUNK = 64 * 1024


class Streams:
    """The host's end: requests, one a line, and replies."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests = os.fdopen(requests, "rb", CHUNK)
        self._replies = replies
        self._owner = os.getpid()

    def requests(self) -> Iterator[bytes | None]:
        """The lines as they come; None for one that is longer than a request may be."""
        # Beside the arguments a request has a few bytes of its own.
        limit = MAX_BYTES + 1024
        while True:
            line = self._requests.readline(limit + 1)
            if not line:
                return
            if line.endswith(b"\n") or len(line) <= limit:
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = self._requests.readline(CHUNK)
            yield None

    def reply(self, message: dict[str, Any]) -> None:
        flush()
        if os.getpid() != self._owner:
            # The function forked, and this is the child: the host is not its to speak to.
            os._exit(0)
        data = memoryview(encoded(message))
        while data:
            try:
                data = data[os.write(self._replies, data) :]
            except BrokenPipeError:
                # Nobody listens any more.
                os._exit(0)


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def take_over() -> Streams:
    """Keeps the streams for the host. To all else in this process, and what it starts, input is empty and
    output goes to standard error."""
    streams = Streams(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    # Half a line that a function printed is not to wait for its end.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    return streams


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # The function closed or replaced it.
            pass


def leave(code: int) -> NoReturn:
    """Ends. A thread that the app left running does not keep the worker."""
    flush()
    threading = sys.modules.get("threading")
    others = [] if threading is None else threading.enumerate()
    if any(one is not threading.main_thread() and not one.daemon for one in others):
        os._exit(code)
    sys.exit(code)
