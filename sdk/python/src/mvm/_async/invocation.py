"""A call of a function in its microVM."""

from __future__ import annotations

from typing import Any

from mvm._async.connection import DEFAULT_REQUEST_TIMEOUT, AsyncConnection


async def ask(body: dict[str, Any], request_timeout: float | None) -> Any:
    """What the server answers to INVOCATION. The call's time is the work's: it is limited by its own timeout."""
    limit = DEFAULT_REQUEST_TIMEOUT if request_timeout is None else request_timeout
    return await AsyncConnection(limit).request("POST", "/v1/invocations", body=body, waits=request_timeout is None)
