"""Requests to the server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import server
from ..errors import Error, TransportError, from_problem

if TYPE_CHECKING:
    import httpx


class AsyncClient:
    """A connection to a server. One is shared by all that one event loop does."""

    def __init__(self, address: server.Address, request_timeout: float | None) -> None:
        """A client of the server at an address; `request_timeout` is in seconds."""
        import httpx

        headers = {"authorization": f"Bearer {address.token}"} if address.token else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        transport = (
            httpx.AsyncHTTPTransport(uds=address.socket, limits=limits) if address.socket else None
        )
        self.address = address
        self._http = httpx.AsyncClient(
            base_url=address.base_url,
            headers=headers,
            transport=transport,
            limits=limits,
            timeout=httpx.Timeout(request_timeout),
            trust_env=address.socket is None,
        )

    async def close(self) -> None:
        """Closes every connection: leases end."""
        await self._http.aclose()

    async def json(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """The JSON that a request is answered with."""
        response = await self.send(method, path, body=body, query=query)
        return json.loads(response.content) if response.content else None

    async def content(self, method: str, path: str, content: Any = None, /, **query: Any) -> bytes:
        """The bytes that a request is answered with."""
        response = await self.send(method, path, content=content, query=query)
        return response.content

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: Any = None,
        query: dict[str, Any] | None = None,
    ) -> httpx.Response:
        """The whole answer to a request, which is no failure."""
        response = await self.open(method, path, body=body, content=content, query=query)
        try:
            await response.aread()
        except Exception as error:
            raise _transport(error) from error
        finally:
            await response.aclose()
        return response

    async def open(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: Any = None,
        query: dict[str, Any] | None = None,
        endless: bool = False,
    ) -> httpx.Response:
        """The head of an answer that is no failure. An endless one is read without a timeout."""
        import httpx

        parameters = {name: _text(value) for name, value in (query or {}).items()}
        headers: dict[str, str] = {}
        if body is not None:
            content = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        elif content is not None:
            headers["content-type"] = "application/octet-stream"
        request = self._http.build_request(
            method, path, params=parameters or None, content=content, headers=headers
        )
        if endless:
            given: dict[str, float | None] = request.extensions["timeout"]
            request.extensions["timeout"] = {**given, "read": None}
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise _transport(error) from error
        if response.status_code < 400:
            return response
        try:
            await response.aread()
            problem = json.loads(response.content)
        except Exception as error:
            raise TransportError(f"the server answered with {response.status_code}") from error
        finally:
            await response.aclose()
        raise from_problem(problem)

    async def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """The parts of an answer as they come."""
        try:
            async for chunk in response.aiter_raw():
                yield chunk
        except Exception as error:
            raise _transport(error) from error


def part(text: str | int) -> str:
    """A part of a path."""
    return quote(str(text), safe="")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _transport(error: Exception) -> Error:
    import httpx

    if isinstance(error, Error):
        return error
    if isinstance(error, httpx.TimeoutException):
        from ..errors import Timeout

        return Timeout("the server did not answer in time", hint="give a longer request_timeout")
    return TransportError(
        f"the connection to the server broke ({error or type(error).__name__})",
        hint="see whether the server runs, and what it says",
        retryable=True,
    )
