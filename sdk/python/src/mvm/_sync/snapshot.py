# Generated from mvm/_async by scripts/generate_sync.py; change it there.
"""Snapshots: saved sandboxes that others begin from."""

from __future__ import annotations

import builtins

from mvm._sync.connection import DEFAULT_REQUEST_TIMEOUT, Connection
from mvm.model import SnapshotInfo
from mvm.request import segment


class Snapshot:
    """A saved sandbox. It stays until it is removed; `info` is its record."""

    def __init__(self, connection: Connection, info: SnapshotInfo) -> None:
        self._connection = connection
        self.info = info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info.name or self.info.id}>"

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def name(self) -> str | None:
        return self.info.name

    @classmethod
    def list(cls, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> builtins.list[Snapshot]:
        """All snapshots of the host."""
        connection = Connection(request_timeout)
        answer = connection.request("GET", "/v1/snapshots")
        return [cls(connection, SnapshotInfo.from_json(item)) for item in answer["items"]]

    @classmethod
    def get(cls, snapshot: str, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> Snapshot:
        """The snapshot of a name or identifier. Raises `NotFound`."""
        connection = Connection(request_timeout)
        answer = connection.request("GET", f"/v1/snapshots/{segment(snapshot)}")
        return cls(connection, SnapshotInfo.from_json(answer))

    def remove(self) -> None:
        """Removes it. Raises `NotFound` if it is gone already."""
        self._connection.request("DELETE", f"/v1/snapshots/{segment(self.id)}")
