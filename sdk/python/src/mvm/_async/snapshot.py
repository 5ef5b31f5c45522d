"""Snapshots: saved sandboxes that others begin from."""

from __future__ import annotations

import builtins

from mvm._async.connection import DEFAULT_REQUEST_TIMEOUT, AsyncConnection
from mvm.model import SnapshotInfo
from mvm.request import segment


class AsyncSnapshot:
    """A saved sandbox. It stays until it is removed; `info` is its record."""

    def __init__(self, connection: AsyncConnection, info: SnapshotInfo) -> None:
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
    async def list(cls, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> builtins.list[AsyncSnapshot]:
        """All snapshots of the host."""
        connection = AsyncConnection(request_timeout)
        answer = await connection.request("GET", "/v1/snapshots")
        return [cls(connection, SnapshotInfo.from_json(item)) for item in answer["items"]]

    @classmethod
    async def get(cls, snapshot: str, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> AsyncSnapshot:
        """The snapshot of a name or identifier. Raises `NotFound`."""
        connection = AsyncConnection(request_timeout)
        answer = await connection.request("GET", f"/v1/snapshots/{segment(snapshot)}")
        return cls(connection, SnapshotInfo.from_json(answer))

    async def remove(self) -> None:
        """Removes it. Raises `NotFound` if it is gone already."""
        await self._connection.request("DELETE", f"/v1/snapshots/{segment(self.id)}")
