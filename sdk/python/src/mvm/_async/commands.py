"""Commands of a sandbox."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import CommandFailed
from ..results import CommandResult, Output, ProcessInfo
from .client import AsyncClient, part
from .process import AsyncProcess

OnOutput = Callable[[bytes], None]
Processes = list[ProcessInfo]


def _command(
    command: str | Sequence[str],
    environment: Mapping[str, str] | None,
    working_directory: str | None,
    user: str | None,
    timeout: float | None,
    grace: float | None,
) -> dict[str, Any]:
    shape: dict[str, Any] = {"shell": command} if isinstance(command, str) else {"argv": [*command]}
    if environment:
        shape["environment"] = dict(environment)
    if working_directory is not None:
        shape["working_directory"] = working_directory
    if user is not None:
        shape["user"] = user
    if timeout is not None:
        # 0 would be none.
        shape["timeout_ms"] = max(1, round(timeout * 1000))
    if grace is not None:
        shape["grace_ms"] = round(grace * 1000)
    return shape


class AsyncCommands:
    """Runs commands in a sandbox. A text is a line for the shell, a list a program with its
    arguments.
    """

    def __init__(self, client: AsyncClient, sandbox: str) -> None:
        """The commands of the sandbox of an identifier."""
        self._client = client
        self._sandbox = sandbox

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
        receipt: bool = False,
    ) -> CommandResult:
        """Runs a command to its end.

        After `timeout` seconds it is ended with all it started: asked to, and killed `grace`
        seconds later (2). Without it there is no end.
        Standard input holds `stdin`, and is empty without it. With callbacks, output is given to
        them as it comes, too. With `check`, another exit code than 0 is an error.
        """
        shape = _command(command, environment, working_directory, user, timeout, grace)
        shape["receipt"] = receipt
        data = stdin.encode() if isinstance(stdin, str) else stdin
        if on_stdout is None and on_stderr is None:
            result = await self._collect(shape, data)
        else:
            result = await self._follow(shape, data, on_stdout, on_stderr)
        if check and not result.ok:
            raise CommandFailed(result)
        return result

    async def _collect(self, shape: dict[str, Any], data: bytes | None) -> CommandResult:
        if data:
            shape["stdin_base64"] = base64.b64encode(data).decode()
        result = await self._client.json("POST", self._path("exec"), shape)
        stdout = base64.b64decode(result["stdout_base64"])
        stderr = base64.b64decode(result["stderr_base64"])
        return CommandResult.of(result, stdout, stderr, result["truncated"])

    async def _follow(
        self,
        shape: dict[str, Any],
        data: bytes | None,
        on_stdout: OnOutput | None,
        on_stderr: OnOutput | None,
    ) -> CommandResult:
        shape["stdin"] = bool(data)
        async with await self._start(shape) as process:
            if data:
                await process.send_stdin(data)
                await process.close_stdin()
            async for event in process:
                if isinstance(event, Output):
                    listener = on_stdout if event.stream == "stdout" else on_stderr
                    if listener is not None:
                        listener(event.data)
            return await process.wait()

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
        """Starts a command, to be followed while it runs.

        With `stdin`, standard input stays open for `send_stdin`. `terminal` is its size in columns
        and rows. A detached process outlives this one, and can be attached to by its number.
        """
        shape = _command(command, environment, working_directory, user, timeout, grace)
        shape |= {"stdin": stdin, "detached": detached, "receipt": receipt}
        if terminal is not None:
            shape["terminal"] = {"columns": terminal[0], "rows": terminal[1]}
        return await self._start(shape)

    async def _start(self, shape: dict[str, Any]) -> AsyncProcess:
        path = self._path("processes")
        response = await self._client.open("POST", path, body=shape, endless=True)
        return await AsyncProcess(self._client, self._sandbox, response).begin()

    async def attach(
        self, process_id: int, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncProcess:
        """Follows a process again, by its number, from these bytes of its output on."""
        response = await self._client.open(
            "GET",
            self._path(f"processes/{process_id}/output"),
            query={"stdout_offset": stdout_offset, "stderr_offset": stderr_offset},
            endless=True,
        )
        return await AsyncProcess(self._client, self._sandbox, response).begin()

    async def list(self) -> Processes:
        """The processes that were started and are remembered."""
        listed = await self._client.json("GET", self._path("processes"))
        return [
            ProcessInfo(
                id=process["id"],
                pid=process["pid"],
                arguments=process["arguments"],
                started_at_ms=process["started_at_ms"],
                detached=process["detached"],
                exit_code=process["result"]["exit_code"] if process["result"] else None,
            )
            for process in listed["items"]
        ]

    def _path(self, what: str) -> str:
        return f"/v1/sandboxes/{part(self._sandbox)}/{what}"
