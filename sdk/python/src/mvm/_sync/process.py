# Generated from mvm/_async by scripts/generate_sync.py; change it there.
"""A started command: its output as it comes, its standard input, signals, and its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mvm._sync.concurrency import Pump, monotonic
from mvm._sync.connection import Connection
from mvm.errors import Error, Timeout, TransportError, from_problem
from mvm.frames import EVENT, STREAMS, FrameDecoder, TextDecoder
from mvm.model import CommandResult, Output, TextOutput

OUTPUT_LIMIT = 16 << 20


class Process:
    """A process of a sandbox, much like `subprocess.Popen`.

    Iterating gives its output in pieces, as bytes; the process waits while nobody reads. Unless it was
    started as `detached`, or was attached to, it is killed when this handle is closed or collected.
    """

    def __init__(self, connection: Connection, sandbox_path: str, pump: Pump) -> None:
        self._connection = connection
        self._sandbox_path = sandbox_path
        self._pump = pump
        self._decoder = FrameDecoder()
        self._ready: list[Output] = []
        self._offsets = {"stdout": 0, "stderr": 0}
        self._started: dict[str, Any] | None = None
        self._exited: dict[str, Any] | None = None
        self._collected = {"stdout": bytearray(), "stderr": bytearray()}
        self._truncated = False

    @classmethod
    def open(
        cls,
        connection: Connection,
        sandbox_path: str,
        method: str,
        path: str,
        *,
        body: Any = None,
        parameters: dict[str, Any] | None = None,
    ) -> Process:
        """Asks for the stream of a process and waits for its first event."""
        pump = connection.stream(method, sandbox_path + path, body=body, parameters=parameters)
        process = cls(connection, sandbox_path, pump)
        try:
            while process._started is None:
                process._receive(connection.request_timeout)
        except BaseException:
            pump.stop()
            raise
        return process

    @property
    def id(self) -> int:
        """The number by which `commands.attach` finds this process again."""
        assert self._started is not None
        return self._started["process_id"]

    @property
    def pid(self) -> int:
        """The number of the process in the guest."""
        assert self._started is not None
        return self._started["pid"]

    @property
    def run_id(self) -> str | None:
        """The name of this run in audit records and receipts."""
        assert self._started is not None
        return self._started.get("run_id")

    @property
    def stdout_offset(self) -> int:
        """How many bytes of standard output were given out: where an attachment would go on."""
        return self._offsets["stdout"]

    @property
    def stderr_offset(self) -> int:
        """How many bytes of standard error were given out: where an attachment would go on."""
        return self._offsets["stderr"]

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Output]:
        return self._outputs()

    def _outputs(self) -> Iterator[Output]:
        while True:
            output = self._next(None)
            if output is None:
                return
            yield output

    def text(self) -> Iterator[TextOutput]:
        """The output as UTF-8. No piece begins or ends inside a character; what is none becomes U+FFFD."""
        decoder = TextDecoder()
        for output in self:
            text = decoder.feed(output.stream, output.data)
            if text:
                yield TextOutput(output.stream, text)
        for rest in decoder.end():
            yield rest

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Reads what is left of the output and gives the result with it.

        What was iterated over before is not in the result, nor more than 16 MiB of each stream: the rest is
        marked by `truncated`. Raises `Timeout` after `timeout` seconds; the process and what was read so far
        are kept for the next call.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            output = self._next(left)
            if output is None:
                return self._result()
            kept = self._collected[output.stream]
            room = OUTPUT_LIMIT - len(kept)
            kept += output.data[:room]
            self._truncated |= len(output.data) > room or output.lost > 0

    def poll(self) -> CommandResult | None:
        """The result if the process has ended, without its output; None while it runs."""
        if self._exited is not None:
            return CommandResult.from_json(self._exited)
        items = (self._connection.request("GET", f"{self._sandbox_path}/processes"))["items"]
        for item in items:
            if item["id"] == self.id and item["result"] is not None:
                return CommandResult.from_json({**item["result"], "run_id": self.run_id})
        return None

    def kill(self, signal: int = 9, *, group: bool = True) -> None:
        """Sends a signal to the process and, with `group`, to all it started. None if it has ended."""
        try:
            self._connection.request("POST", self._path("signal"), body={"signal": signal, "group": group})
        except Error:
            if self._exited is None and self.poll() is None:
                raise

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.kill(15)

    def send_stdin(self, data: bytes | str) -> None:
        """Writes to standard input; waits while the process does not read."""
        content = data.encode() if isinstance(data, str) else data
        self._connection.request("POST", self._path("stdin"), content=content, waits=True)

    def close_stdin(self) -> None:
        """Ends standard input."""
        self._connection.request("POST", self._path("stdin"), content=b"", parameters={"close": "true"})

    def resize(self, columns: int, rows: int) -> None:
        """Tells the terminal its size."""
        self._connection.request("POST", self._path("resize"), body={"columns": columns, "rows": rows})

    def close(self) -> None:
        """Lets go of the process: one that is not detached is killed."""
        self._pump.stop()

    def _path(self, what: str) -> str:
        return f"{self._sandbox_path}/processes/{self.id}/{what}"

    def _next(self, timeout: float | None) -> Output | None:
        while not self._ready:
            if self._exited is not None:
                return None
            self._receive(timeout)
        output = self._ready.pop(0)
        self._offsets[output.stream] += output.lost + len(output.data)
        return output

    def _receive(self, timeout: float | None) -> None:
        try:
            chunk = self._pump.next(timeout)
        except TimeoutError:
            raise Timeout("the process went on for longer than the wait", retryable=True) from None
        if chunk is None:
            raise TransportError("the stream of the process ended before its result", retryable=True)
        for kind, payload in self._decoder.feed(chunk):
            if kind == EVENT:
                self._note(json.loads(payload))
            else:
                self._ready.append(Output(STREAMS[kind], payload))

    def _note(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "started":
            self._started = event
            self._offsets = {"stdout": event["stdout_offset"], "stderr": event["stderr_offset"]}
        elif kind == "gap":
            self._ready.append(Output(event["stream"], b"", event["to"] - event["from"]))
        elif kind == "exited":
            self._exited = event["result"]
        elif kind == "failed":
            raise from_problem(event["problem"])

    def _result(self) -> CommandResult:
        assert self._exited is not None
        return CommandResult.from_json(
            self._exited,
            stdout=bytes(self._collected["stdout"]),
            stderr=bytes(self._collected["stderr"]),
            truncated=self._truncated,
        )
