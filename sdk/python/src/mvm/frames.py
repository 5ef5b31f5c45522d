"""The frames of a process's stream: `application/vnd.mvm.frames`.

One byte of kind, four bytes of length (big-endian), and so many bytes.
"""

from __future__ import annotations

import struct

EVENT = 0
STDOUT = 1
STDERR = 2

_HEADER = struct.Struct(">BI")


class FrameParser:
    """Takes bytes in parts of any size and gives whole frames."""

    def __init__(self) -> None:
        """A parser at the beginning of a stream."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that are whole with this part: kind and payload."""
        self._buffer += data
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer, start)
            end = start + _HEADER.size + length
            if len(self._buffer) < end:
                break
            frames.append((kind, bytes(self._buffer[start + _HEADER.size : end])))
            start = end
        del self._buffer[:start]
        return frames
