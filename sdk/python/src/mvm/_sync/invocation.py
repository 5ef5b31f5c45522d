# Generated from mvm/_async by scripts/generate_sync.py; change it there.
"""A call of a function in its microVM."""

from __future__ import annotations

from typing import Any

from mvm._sync.connection import DEFAULT_REQUEST_TIMEOUT, Connection


def ask(body: dict[str, Any], request_timeout: float | None) -> Any:
    """What the server answers to INVOCATION. The call's time is the work's: it is limited by its own timeout."""
    limit = DEFAULT_REQUEST_TIMEOUT if request_timeout is None else request_timeout
    return Connection(limit).request("POST", "/v1/invocations", body=body, waits=request_timeout is None)
