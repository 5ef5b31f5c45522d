"""Commands of a sandbox: run to the end, or started and followed."""

from __future__ import annotations

import base64
import builtins
from collections.abc import Callable, Mapping, Sequence

from mvm._async.concurrency import AsyncBackground
from mvm._async.connection import AsyncConnection
from mvm._async.process import OUTPUT_LIMIT, AsyncProcess
from mvm.errors import Error
from mvm.model import CommandResult, Output, ProcessInfo
from mvm.request import command_body

# A request's JSON has at most 4 MiB; more standard input than this goes beside it, as a stream.
_STDIN_IN_BODY = 1 << 20
_PIECE = 256 << 10

OnOutput = Callable[[bytes], object]


class AsyncCommands:
    """`sandbox.commands`. A command is a list, a program and its arguments, or a text, a line for the shell."""

    def __init__(self, connection: AsyncConnection, sandbox_path: str) -> None:
        self._connection = connection
        self._path = sandbox_path

    async def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = False,
        timeout: float | None = None,
        grace: float | None = None,
        environment: Mapping[str, str] | None = None,
        working_directory: str | None = None,
        user: str | None = None,
        stdin: bytes | str | None = None,
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
        output_limit_bytes: int = OUTPUT_LIMIT,
        receipt: bool = False,
    ) -> CommandResult:
        """Runs a command and waits for its end. Standard input is empty unless `stdin` is given.

        After `timeout` seconds all that the command started is ended: first asked to, killed after `grace`
        seconds; `timed_out` tells of it. An exit code other than 0 is a result; with `check` it raises
        `CommandFailed`. `on_stdout` and `on_stderr` are called with the output as it comes. The result keeps
        `output_limit_bytes` of each stream and tells by `truncated` that there was more. Raises `NotFound`
        for a program that is not there and `InvalidArgument` for one that cannot be executed.
        """
        given = stdin.encode() if isinstance(stdin, str) else stdin
        streams = on_stdout is not None or on_stderr is not None or len(given or b"") > _STDIN_IN_BODY
        body = command_body(
            command,
            environment=environment,
            working_directory=working_directory,
            user=user,
            timeout=timeout,
            grace=grace,
            stdin=streams and given is not None,
            receipt=receipt,
        )
        if streams:
            process = await AsyncProcess.open(self._connection, self._path, "POST", "/processes", body=body)
            async with process:
                result = await _follow(process, given, on_stdout, on_stderr, output_limit_bytes)
        else:
            if given is not None:
                body["stdin_base64"] = base64.b64encode(given).decode()
            body["output_limit_bytes"] = output_limit_bytes
            answer = await self._connection.request("POST", f"{self._path}/exec", body=body, waits=True)
            result = CommandResult.from_json(answer)
        return result.check() if check else result

    async def start(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        grace: float | None = None,
        environment: Mapping[str, str] | None = None,
        working_directory: str | None = None,
        user: str | None = None,
        stdin: bool = False,
        terminal: tuple[int, int] | None = None,
        detached: bool = False,
        receipt: bool = False,
    ) -> AsyncProcess:
        """Starts a command. Its standard input is open with `stdin`, else empty.

        `terminal` (columns, rows) gives it one, with both outputs as standard output. A `detached` command
        goes on when the handle is closed, and can be attached to by its `id`.
        """
        body = command_body(
            command,
            environment=environment,
            working_directory=working_directory,
            user=user,
            timeout=timeout,
            grace=grace,
            stdin=stdin,
            terminal=terminal,
            detached=detached,
            receipt=receipt,
        )
        return await AsyncProcess.open(self._connection, self._path, "POST", "/processes", body=body)

    async def attach(self, process_id: int, *, stdout_offset: int = 0, stderr_offset: int = 0) -> AsyncProcess:
        """Follows a process again, its output from these offsets on. Raises `NotFound`."""
        return await AsyncProcess.open(
            self._connection,
            self._path,
            "GET",
            f"/processes/{process_id}/output",
            parameters={"stdout_offset": stdout_offset, "stderr_offset": stderr_offset},
        )

    async def list(self) -> builtins.list[ProcessInfo]:
        """The processes that were started here: those that run, and the last that ended."""
        answer = await self._connection.request("GET", f"{self._path}/processes")
        return [ProcessInfo.from_json(item) for item in answer["items"]]


async def _follow(
    process: AsyncProcess,
    stdin: bytes | None,
    on_stdout: OnOutput | None,
    on_stderr: OnOutput | None,
    limit: int,
) -> CommandResult:
    async def feed() -> None:
        try:
            for start in range(0, len(stdin or b""), _PIECE):
                await process.send_stdin((stdin or b"")[start : start + _PIECE])
            await process.close_stdin()
        except Error:
            pass  # a command may end without reading all of its input

    # Beside the reading: a command that writes while it reads would wait for its reader, and it for the command.
    feeding = AsyncBackground(feed) if stdin is not None else None
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    callbacks = {"stdout": on_stdout, "stderr": on_stderr}
    truncated = False
    async for output in process:
        truncated |= _keep(kept[output.stream], output, limit)
        callback = callbacks[output.stream]
        if callback is not None and output.data:
            callback(output.data)
    result = await process.wait()
    if feeding is not None:
        await feeding.finish(timeout=5)
    return result.with_output(bytes(kept["stdout"]), bytes(kept["stderr"]), truncated)


def _keep(kept: bytearray, output: Output, limit: int) -> bool:
    room = limit - len(kept)
    kept += output.data[:room]
    return len(output.data) > room or output.lost > 0
