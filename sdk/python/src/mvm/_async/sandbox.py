"""Sandboxes and snapshots."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal

from .. import server
from ..errors import Error
from ..results import Metrics, Plan, ReceiptVerdict, SandboxInfo, SnapshotInfo
from .client import AsyncClient, part
from .commands import AsyncCommands
from .files import AsyncFiles
from .lease import AsyncLease, Progress

#: What becomes of several: each is a sandbox, or why there is none.
Outcomes = list["AsyncSandbox | Error"]
SandboxInfos = list[SandboxInfo]
SnapshotInfos = list[SnapshotInfo]

_clients: dict[tuple[object, ...], AsyncClient] = {}


def _client(request_timeout: float | None) -> AsyncClient:
    """The client of this process, of this loop, and of the server that is there now."""
    address = server.locate()
    key = (os.getpid(), _loop(), address, request_timeout)
    if key not in _clients:
        _clients[key] = AsyncClient(address, request_timeout)
    return _clients[key]


def _loop() -> object:
    return asyncio.get_running_loop()


def _spec(
    image: str | None,
    name: str | None,
    vcpus: int | None,
    memory_mib: int | None,
    disk_mib: int | None,
    environment: Mapping[str, str] | None,
    working_directory: str | None,
    user: str | None,
    ttl_seconds: int | None,
    profile: str | None,
    unsupported: dict[str, Any],
) -> dict[str, Any]:
    resources = {"vcpus": vcpus, "memory_mib": memory_mib, "disk_mib": disk_mib}
    resources = {name: value for name, value in resources.items() if value is not None}
    spec: dict[str, Any] = {
        "image": image,
        "name": name,
        "resources": resources or None,
        "environment": dict(environment) if environment else None,
        "working_directory": working_directory,
        "user": user,
        "ttl_seconds": ttl_seconds,
        "profile": profile,
        **unsupported,
    }
    return {name: value for name, value in spec.items() if value is not None}


class AsyncSandbox:
    """A sandbox: one microVM with its state.

    One that was created here lives until it is destroyed, its context ends, its time to live is
    over, or this process ends, however it does, unless it is detached.
    """

    def __init__(self, client: AsyncClient, id: str, lease: AsyncLease | None = None) -> None:
        """The sandbox of an identifier; made by `create` and `connect`."""
        self._client = client
        self._lease = lease
        self.id = id
        self.commands = AsyncCommands(client, id)
        self.files = AsyncFiles(client, id)

    @classmethod
    async def create(
        cls,
        *,
        image: str | None = None,
        name: str | None = None,
        vcpus: int | None = None,
        memory_mib: int | None = None,
        disk_mib: int | None = None,
        environment: Mapping[str, str] | None = None,
        working_directory: str | None = None,
        user: str | None = None,
        ttl_seconds: int | None = None,
        profile: Literal["restrictive", "standard", "dev", "production"] | None = None,
        network: Any = None,
        secrets: Any = None,
        mounts: Any = None,
        ports: Any = None,
        on_progress: Progress | None = None,
        request_timeout: float | None = None,
    ) -> AsyncSandbox:
        """Creates a sandbox; returns when its agent answers.

        Without arguments it is of the default image. It is destroyed `ttl_seconds` after its
        creation; without them it has no end of its own. `request_timeout` bounds single requests
        of this process, in seconds. `network`, `secrets`, `mounts` and `ports` are not there yet,
        and refused.
        """
        unsupported = {"network": network, "secrets": secrets, "mounts": mounts, "ports": ports}
        spec = _spec(
            image,
            name,
            vcpus,
            memory_mib,
            disk_mib,
            environment,
            working_directory,
            user,
            ttl_seconds,
            profile,
            unsupported,
        )
        [sandbox] = await cls._lease_of({"create": spec}, on_progress, request_timeout)
        return _must(sandbox)

    @classmethod
    async def restore(
        cls,
        snapshot: str,
        *,
        name: str | None = None,
        ttl_seconds: int | None = None,
        request_timeout: float | None = None,
    ) -> AsyncSandbox:
        """Makes a sandbox that goes on from a snapshot, by name or identifier."""
        order = {"snapshot": snapshot, "name": name, "ttl_seconds": ttl_seconds}
        [sandbox] = await cls._lease_of({"restore": order}, None, request_timeout)
        return _must(sandbox)

    @classmethod
    async def fork_snapshot(
        cls, snapshot: str, count: int, *, request_timeout: float | None = None
    ) -> Outcomes:
        """Makes sandboxes that go on from a snapshot; each is a sandbox, or why there is none."""
        order = {"source": snapshot, "count": count}
        return await cls._lease_of({"fork": order}, None, request_timeout)

    @classmethod
    async def connect(cls, sandbox: str, *, request_timeout: float | None = None) -> AsyncSandbox:
        """The sandbox of a name or identifier. Its owner and end stay what they are."""
        client = _client(request_timeout)
        info = await client.json("GET", f"/v1/sandboxes/{part(sandbox)}")
        return cls(client, info["id"])

    @classmethod
    async def list(cls, *, request_timeout: float | None = None) -> SandboxInfos:
        """Every sandbox of the host, the oldest first."""
        client = _client(request_timeout)
        found: SandboxInfos = []
        query: dict[str, Any] = {"limit": 1000}
        while True:
            page = await client.json("GET", "/v1/sandboxes", **query)
            found += [SandboxInfo.of(item) for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    @classmethod
    async def _lease_of(
        cls, request: dict[str, Any], on_progress: Progress | None, timeout: float | None
    ) -> Outcomes:
        client = _client(timeout)
        lease, outcomes = await AsyncLease.open(client, request, on_progress)
        return [
            outcome if isinstance(outcome, Error) else cls(client, outcome["id"], lease)
            for outcome in outcomes
        ]

    async def __aenter__(self) -> AsyncSandbox:
        """The sandbox itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Destroys what is leased here."""
        if self._lease is not None:
            await self.destroy()

    async def info(self) -> SandboxInfo:
        """What is recorded of it now."""
        return SandboxInfo.of(await self._client.json("GET", self._path()))

    async def metrics(self) -> Metrics:
        """What it takes of its host now."""
        return Metrics(**await self._client.json("GET", self._path("metrics")))

    async def logs(
        self, *, source: Literal["guest", "machine"] = "guest", follow: bool = False
    ) -> AsyncIterator[bytes]:
        """Its log, part by part: of the guest's kernel and agent, or of the hypervisor. With
        `follow`, until it ends.
        """
        query = {"source": source, "follow": follow}
        response = await self._client.open("GET", self._path("logs"), query=query, endless=True)
        try:
            async for chunk in self._client.chunks(response):
                yield chunk
        finally:
            await response.aclose()

    async def pause(self) -> None:
        """Takes its processors away; its memory stays."""
        await self._client.json("POST", self._path("pause"))

    async def resume(self) -> None:
        """Lets a paused or cold sandbox go on."""
        await self._client.json("POST", self._path("resume"))

    async def cold(self) -> None:
        """Saves it to disk and frees its memory; `resume` brings it back."""
        await self._client.json("POST", self._path("cold"))

    async def snapshot(self, *, name: str | None = None) -> SnapshotInfo:
        """Saves it, with its processes and files, while it goes on."""
        record = await self._client.json("POST", self._path("snapshots"), {"name": name})
        return SnapshotInfo(**record)

    async def fork(self, count: int) -> Outcomes:
        """Makes sandboxes that go on from this one as it is now; each is a sandbox, or why there
        is none.
        """
        order = {"source": self.id, "count": count}
        lease, outcomes = await AsyncLease.open(self._client, {"fork": order}, None)
        return [
            outcome
            if isinstance(outcome, Error)
            else AsyncSandbox(self._client, outcome["id"], lease)
            for outcome in outcomes
        ]

    async def set_ttl(self, seconds: int | None) -> None:
        """Lets it live for so many seconds from now; without them, until it is destroyed."""
        await self._client.json("PUT", self._path("ttl"), {"ttl_seconds": seconds})

    async def stop(self, *, grace: float = 5.0) -> None:
        """Ends its guest in order: processes have `grace` seconds. Disk and logs are kept."""
        body = {"grace_ms": round(grace * 1000)}
        await self._client.json("POST", self._path("stop"), body)

    async def detach(self, *, ttl_seconds: int | None = None) -> str:
        """Lets it outlive this process; it must have an end. Gives its identifier."""
        body = {"ttl_seconds": ttl_seconds} if ttl_seconds is not None else {}
        await self._client.json("POST", self._path("detach"), body)
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.release()
        return self.id

    async def destroy(self) -> None:
        """Ends it at once and removes all it had; returns when it is gone."""
        try:
            await self._client.json("DELETE", self._path())
        finally:
            lease, self._lease = self._lease, None
            if lease is not None:
                await lease.release()

    def _path(self, what: str = "") -> str:
        path = f"/v1/sandboxes/{part(self.id)}"
        return f"{path}/{what}" if what else path


class AsyncSnapshot:
    """Saved sandboxes."""

    @staticmethod
    async def list(*, request_timeout: float | None = None) -> SnapshotInfos:
        """Every snapshot of the host, the oldest first."""
        listed = await _client(request_timeout).json("GET", "/v1/snapshots")
        return [SnapshotInfo(**item) for item in listed["items"]]

    @staticmethod
    async def get(snapshot: str, *, request_timeout: float | None = None) -> SnapshotInfo:
        """The snapshot of a name or identifier."""
        path = f"/v1/snapshots/{part(snapshot)}"
        return SnapshotInfo(**await _client(request_timeout).json("GET", path))

    @staticmethod
    async def remove(snapshot: str, *, request_timeout: float | None = None) -> None:
        """Removes a snapshot; sandboxes that go on from it stay."""
        await _client(request_timeout).json("DELETE", f"/v1/snapshots/{part(snapshot)}")


async def verify_receipt(receipt: bytes, *, request_timeout: float | None = None) -> ReceiptVerdict:
    """Whether a key that the host believes signed a receipt."""
    import json

    client = _client(request_timeout)
    return ReceiptVerdict(**json.loads(await client.content("POST", _VERIFY, receipt)))


_VERIFY = "/v1/receipts/verify"


async def plan(
    *,
    image: str | None = None,
    name: str | None = None,
    vcpus: int | None = None,
    memory_mib: int | None = None,
    disk_mib: int | None = None,
    environment: Mapping[str, str] | None = None,
    working_directory: str | None = None,
    user: str | None = None,
    ttl_seconds: int | None = None,
    profile: Literal["restrictive", "standard", "dev", "production"] | None = None,
    request_timeout: float | None = None,
) -> Plan:
    """What would be launched, once it is seen that it would be admitted. Nothing starts."""
    spec = _spec(
        image,
        name,
        vcpus,
        memory_mib,
        disk_mib,
        environment,
        working_directory,
        user,
        ttl_seconds,
        profile,
        {},
    )
    return Plan(**await _client(request_timeout).json("POST", "/v1/plans/dry-run", spec))


def _must(outcome: AsyncSandbox | Error) -> AsyncSandbox:
    if isinstance(outcome, Error):
        raise outcome
    return outcome
