"""The framing of a process's stream, and text made of its bytes without splitting characters."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

from mvm.errors import TransportError
from mvm.model import Stream, TextOutput

EVENT = 0
STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
_HEAD = 5
# A frame of the server is far below this. A longer one means that the stream is not what it claims.
_MAX_PAYLOAD = 16 << 20


class FrameDecoder:
    """Takes the chunks of a stream as they come and gives the frames that are complete."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames (kind, payload) that end in `chunk`. Raises `TransportError` for what is none."""
        self._pending += chunk
        while len(self._pending) >= _HEAD:
            kind = self._pending[0]
            length = int.from_bytes(self._pending[1:_HEAD], "big")
            if length > _MAX_PAYLOAD or (kind != EVENT and kind not in STREAMS):
                raise TransportError(f"the process stream has a frame of kind {kind} and {length} bytes")
            if len(self._pending) < _HEAD + length:
                return
            payload = bytes(self._pending[_HEAD : _HEAD + length])
            del self._pending[: _HEAD + length]
            yield kind, payload

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing of a frame is pending."""
        return not self._pending


class LineDecoder:
    """Takes chunks of JSON lines and gives the values of the lines that are complete."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        self._pending += chunk
        *lines, rest = self._pending.split(b"\n")
        self._pending = rest
        for line in lines:
            if line.strip():
                yield json.loads(line)


class TextDecoder:
    """Turns the bytes of each stream into text. A character that comes in pieces waits for its last one."""

    def __init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {
            stream: make("replace") for stream in STREAMS.values()
        }

    def feed(self, stream: Stream, data: bytes) -> str:
        return self._decoders[stream].decode(data)

    def end(self) -> Iterator[TextOutput]:
        """What is left when the streams end: characters that never became whole, as U+FFFD."""
        for stream, decoder in self._decoders.items():
            text = decoder.decode(b"", final=True)
            if text:
                yield TextOutput(stream, text)
