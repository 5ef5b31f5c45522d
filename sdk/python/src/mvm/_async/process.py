"""A process of a sandbox, while it runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import TransportError, from_problem
from ..frames import EVENT, STDOUT, FrameParser
from ..results import CommandResult, Gap, Output, TextView
from .client import AsyncClient, part

if TYPE_CHECKING:
    import httpx

#: What is collected of each output stream, at most, bytes.
OUTPUT_LIMIT = 16 * 1024 * 1024


class AsyncProcess:
    """A process that was started or attached to.

    Iterating gives its output as it comes; `wait` reads what is left of it. Closing it kills the
    process, unless it was started detached or attached to.
    """

    def __init__(self, client: AsyncClient, sandbox: str, response: httpx.Response) -> None:
        """The process of a stream that has begun."""
        self._client = client
        self._sandbox = sandbox
        self._response = response
        self._chunks = client.chunks(response)
        self._parser = FrameParser()
        self._waiting: list[tuple[int, bytes]] = []
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._truncated = False
        self._result: CommandResult | None = None
        self.id = 0
        self.pid = 0
        self.run_id = ""

    async def begin(self) -> AsyncProcess:
        """Reads what the stream begins with."""
        frame = await self._next_frame()
        if frame is None:
            raise TransportError("the stream ended before the process began")
        event = json.loads(frame[1])
        if event["event"] == "failed":
            raise from_problem(event["problem"])
        self.id = int(event["process_id"])
        self.pid = int(event["pid"])
        self.run_id = str(event["run_id"])
        return self

    async def __aenter__(self) -> AsyncProcess:
        """The process itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        await self.close()

    def __aiter__(self) -> AsyncIterator[Output | Gap]:
        """Its output as it comes."""
        return self._events()

    async def _events(self) -> AsyncIterator[Output | Gap]:
        while (event := await self.next()) is not None:
            yield event

    async def next(self) -> Output | Gap | None:
        """What it writes next; nothing when it has ended."""
        while self._result is None:
            frame = await self._next_frame()
            if frame is None:
                raise TransportError(
                    "the stream ended before the process",
                    hint="attach to it again: commands.attach(process.id)",
                    retryable=True,
                )
            kind, payload = frame
            if kind != EVENT:
                return self._take(Output("stdout" if kind == STDOUT else "stderr", payload))
            event = json.loads(payload)
            if event["event"] == "gap":
                self._truncated = True
                return Gap(event["stream"], event["from"], event["to"])
            if event["event"] == "exited":
                await self._finish(event["result"])
            elif event["event"] == "failed":
                raise from_problem(event["problem"])
        return None

    async def text(self) -> AsyncIterator[str]:
        """Standard output as text, as it comes; a character is never split."""
        view = TextView()
        async for event in self:
            if isinstance(event, Output) and event.stream == "stdout":
                text = view.feed(event.data)
                if text:
                    yield text
        rest = view.feed(b"", final=True)
        if rest:
            yield rest

    async def wait(self) -> CommandResult:
        """Waits for its end. The result has all output since this process was made, up to 16 MiB
        of each stream.
        """
        while await self.next() is not None:
            pass
        assert self._result is not None
        return self._result

    def poll(self) -> CommandResult | None:
        """The result, once the end was read; nothing before."""
        return self._result

    async def send_stdin(self, data: bytes | str) -> None:
        """Sends bytes to its standard input, or its terminal; text as UTF-8."""
        content = data.encode() if isinstance(data, str) else data
        await self._client.content("POST", self._path("stdin"), content)

    async def close_stdin(self) -> None:
        """Ends its standard input."""
        await self._client.content("POST", self._path("stdin"), b"", close=True)

    async def kill(self, signal: int = 9, *, group: bool = True) -> None:
        """Signals it, with its whole group."""
        body = {"signal": signal, "group": group}
        await self._client.json("POST", self._path("signal"), body)

    async def terminate(self) -> None:
        """Asks it to end (SIGTERM)."""
        await self.kill(15)

    async def resize(self, columns: int, rows: int) -> None:
        """Tells its terminal its new size in character cells."""
        body = {"columns": columns, "rows": rows}
        await self._client.json("POST", self._path("resize"), body)

    async def close(self) -> None:
        """Lets go of it; one that was started, not detached, is killed."""
        await self._response.aclose()

    def _path(self, what: str) -> str:
        return f"/v1/sandboxes/{part(self._sandbox)}/processes/{self.id}/{what}"

    def _take(self, output: Output) -> Output:
        kept = self._stdout if output.stream == "stdout" else self._stderr
        room = OUTPUT_LIMIT - len(kept)
        self._truncated |= len(output.data) > room
        kept += output.data[:room]
        return output

    async def _finish(self, result: dict[str, Any]) -> None:
        self._result = CommandResult.of(
            result, bytes(self._stdout), bytes(self._stderr), self._truncated
        )
        await self.close()

    async def _next_frame(self) -> tuple[int, bytes] | None:
        while not self._waiting:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return None
            self._waiting = self._parser.feed(chunk)
        return self._waiting.pop(0)
