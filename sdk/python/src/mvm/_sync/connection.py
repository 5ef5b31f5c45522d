# Generated from mvm/_async by scripts/generate_sync.py; change it there.
"""Requests to the server, and the streams it answers with."""

from __future__ import annotations

import os
import socket
import ssl
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mvm._sync.concurrency import Pump, in_thread, scope
from mvm.endpoint import Endpoint, configured_endpoint
from mvm.errors import Error, Timeout, TransportError, from_problem
from mvm.private_server import (
    forget_lease_socket,
    note_lease_socket,
    private_endpoint,
    running_private_endpoint,
    watch_forks,
)

if TYPE_CHECKING:
    import httpx

DEFAULT_REQUEST_TIMEOUT = 60.0
_PROBLEM = 400

_clients: weakref.WeakKeyDictionary[object, dict[tuple[int, Endpoint], httpx.Client]] = weakref.WeakKeyDictionary()


def _client(endpoint: Endpoint) -> httpx.Client:
    import httpx

    clients = _clients.setdefault(scope(), {})
    # Not across a fork: the connections of the parent are the parent's.
    key = (os.getpid(), endpoint)
    client = clients.get(key)
    if client is None:
        # A lease and a running command each hold a connection: a limit would be one on them. A Unix socket is
        # connected to anew for each request, which costs little and leaves nothing open behind an event loop.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0 if endpoint.socket else 16)
        # Loading certificates takes longer than a request: only where they are used. Those of the system are,
        # and what SSL_CERT_FILE names.
        verify = ssl.create_default_context() if endpoint.base_url.startswith("https:") else False
        client = clients[key] = httpx.Client(
            base_url=endpoint.base_url,
            headers={"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else None,
            # A proxy that the environment names is not for these requests.
            trust_env=False,
            transport=httpx.HTTPTransport(verify=verify, uds=endpoint.socket, limits=limits),
        )
    return client


class Connection:
    """The way to the server. `request_timeout` (seconds, None: none) limits how long an answer may stay away."""

    def __init__(self, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> None:
        self.request_timeout = request_timeout
        self._configured = configured_endpoint()

    def _endpoint(self) -> Endpoint:
        endpoint = self._configured or running_private_endpoint()
        return endpoint if endpoint is not None else in_thread(private_endpoint)

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        content: Any,
        parameters: dict[str, Any] | None,
        waits: bool,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        import httpx

        client = _client(self._endpoint())
        limit = self.request_timeout
        request = client.build_request(
            method,
            path,
            json=body,
            content=content,
            headers=headers,
            params={name: value for name, value in (parameters or {}).items() if value is not None},
            timeout=httpx.Timeout(limit, read=None if waits else limit),
        )
        try:
            response = client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise transport_failure(error) from error
        if response.status_code >= _PROBLEM:
            try:
                response.read()
            except httpx.HTTPError as error:
                raise transport_failure(error) from error
            raise _problem(response)
        return response

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: Any = None,
        parameters: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        waits: bool = False,
    ) -> Any:
        """The JSON that is answered, None if nothing is. `waits`: its time is the work's, not the request's.

        Raises the error that the server answers, `TransportError`, and `Timeout`.
        """
        import httpx

        response = self._send(method, path, body, content, parameters, waits, headers)
        try:
            data = response.read()
        except httpx.HTTPError as error:
            raise transport_failure(error) from error
        if not data:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise TransportError("the server's answer is not JSON", causes=[str(error)]) from error

    def chunks(self, path: str, parameters: dict[str, Any] | None = None, *, waits: bool = False) -> Iterator[bytes]:
        """The bytes of an answer as they come."""
        import httpx

        response = self._send("GET", path, None, None, parameters, waits)
        try:
            for chunk in response.iter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise transport_failure(error) from error
        finally:
            response.close()

    def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        parameters: dict[str, Any] | None = None,
        is_lease: bool = False,
    ) -> Pump:
        """An answer that goes on for long and is read ahead; it ends with the pump."""
        response = self._send(method, path, body, None, parameters, waits=True)
        raw = response.extensions["network_stream"].get_extra_info("socket")
        descriptor = raw.fileno()
        if is_lease:
            watch_forks()
            note_lease_socket(descriptor)
        owner = os.getpid()

        def sever() -> None:
            # A forked child shares the connection, and must not end what is its parent's.
            if owner == os.getpid():
                try:
                    raw.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed already

        return Pump(_until_the_end(response, descriptor), sever, capacity=16)


def _until_the_end(response: httpx.Response, descriptor: int) -> Iterator[bytes]:
    import httpx

    try:
        for chunk in response.iter_raw():
            yield chunk
    except httpx.HTTPError as error:
        raise transport_failure(error) from error
    finally:
        forget_lease_socket(descriptor)
        response.close()


def transport_failure(error: httpx.HTTPError) -> Error:
    """The failure of a request that the server did not answer."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return Timeout(
            "the server did not answer in time",
            retryable=True,
            hint="give a longer `request_timeout`, or None for none",
        )
    return TransportError(
        "the connection to the server failed",
        retryable=True,
        causes=[str(error) or type(error).__name__],
        hint="check MVM_URL, and that `mvmctl serve` runs"
        if os.environ.get("MVM_URL")
        else "try again: the private server is started anew if it ended",
    )


def _problem(response: httpx.Response) -> Error:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "code" not in problem:
        return TransportError(
            f"the server answered with status {response.status_code} and no problem document",
            hint="check that MVM_URL names a server of mvm",
        )
    return from_problem(problem)  # pyright: ignore[reportUnknownArgumentType]
