"""A lease: sandboxes that live as long as a connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from ..errors import Error, TransportError, from_problem
from .client import AsyncClient

if TYPE_CHECKING:
    import httpx

Progress = Callable[[str], None]


class AsyncLease:
    """Holds the answer of `POST /v1/leases` open.

    Nothing reads it once all is made. The server's pings, 17 bytes every 5 seconds, stay in the
    socket's buffers, which hold them for hours; a server that cannot send more waits, and still
    sees when this end is closed.
    """

    def __init__(self, client: AsyncClient, response: httpx.Response) -> None:
        """A lease whose answer has begun."""
        self._client = client
        self._response = response
        self._lines = _lines(client.chunks(response))
        self._holders = 0

    @classmethod
    async def open(
        cls, client: AsyncClient, request: dict[str, Any], on_progress: Progress | None
    ) -> tuple[AsyncLease, list[dict[str, Any] | Error]]:
        """Asks for sandboxes and waits for all: each one's record, or why there is none."""
        response = await client.open("POST", "/v1/leases", body=request, endless=True)
        lease = cls(client, response)
        outcomes: list[dict[str, Any] | Error] = []
        try:
            async for line in lease._lines:
                event = json.loads(line)
                kind = event["event"]
                if kind == "progress" and on_progress is not None:
                    on_progress(event["stage"])
                elif kind == "sandbox":
                    outcomes.append(event["sandbox"])
                    lease._holders += 1
                elif kind == "failed":
                    outcomes.append(from_problem(event["problem"]))
                elif kind == "ready":
                    break
            else:
                raise TransportError("the server ended the lease before its sandboxes ran")
        except BaseException:
            await lease.end()
            raise
        if lease._holders == 0:
            await lease.end()
        return lease, outcomes

    async def release(self) -> None:
        """Lets go of one sandbox; the lease ends with the last."""
        self._holders -= 1
        if self._holders <= 0:
            await self.end()

    async def end(self) -> None:
        """Closes the connection: what is leased by it is destroyed."""
        await self._response.aclose()


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
