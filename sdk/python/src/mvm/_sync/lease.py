# Generated from mvm/_async by scripts/generate_sync.py; change it there.
"""The lease that keeps sandboxes: they end when its connection does."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from mvm._sync.concurrency import Pump
from mvm._sync.connection import Connection
from mvm.errors import Error, TransportError, from_problem
from mvm.frames import LineDecoder
from mvm.model import SandboxInfo

# By identifier, so that any handle of a sandbox that this process owns can give it up.
_leases: weakref.WeakValueDictionary[str, Lease] = weakref.WeakValueDictionary()


class Lease:
    """Sandboxes that live as long as this value.

    The server sends a ping every five seconds. Each one that nobody reads takes some 700 bytes of the
    kernel's buffer, whatever its length, and the buffer would be full after half an hour: so they are read,
    by a task or a thread of the lease's own, and thrown away.
    """

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._members: set[str] = set()

    @classmethod
    def open(
        cls,
        connection: Connection,
        body: dict[str, Any],
        on_progress: Callable[[str], None] | None = None,
    ) -> tuple[Lease, list[SandboxInfo]]:
        """Asks for sandboxes and waits until all are there. If one failed, none stays, and its error is raised."""
        pump = connection.stream("POST", "/v1/leases", body=body, is_lease=True)
        lease = cls(pump)
        try:
            sandboxes = _members(pump, on_progress)
        except BaseException:
            pump.stop()
            raise
        pump.discard()
        for sandbox in sandboxes:
            lease._members.add(sandbox.id)
            _leases[sandbox.id] = lease
        return lease, sandboxes

    def release(self, sandbox: str) -> None:
        """Counts a sandbox as ended or detached. The connection goes with the last one."""
        self._members.discard(sandbox)
        if not self._members:
            self._pump.stop()


def lease_of(sandbox: str) -> Lease | None:
    """The lease of this process that keeps the sandbox."""
    return _leases.get(sandbox)


def _members(pump: Pump, on_progress: Callable[[str], None] | None) -> list[SandboxInfo]:
    decoder = LineDecoder()
    sandboxes: dict[int, SandboxInfo] = {}
    failure: Error | None = None
    while True:
        chunk = pump.next()
        if chunk is None:
            raise TransportError("the server ended the lease before the sandbox was there", retryable=True)
        for event in decoder.feed(chunk):
            kind = event.get("event")
            if kind == "progress" and on_progress is not None:
                on_progress(event["stage"])
            elif kind == "sandbox":
                sandboxes[event["index"]] = SandboxInfo.from_json(event["sandbox"])
            elif kind == "failed":
                failure = failure or from_problem(event["problem"])
            elif kind == "ready":
                if failure is not None:
                    raise failure
                return [sandboxes[index] for index in sorted(sandboxes)]
