# Generated from mvm/_async by scripts/generate_sync.py; change it there.
"""A sandbox: one microVM with its state."""

from __future__ import annotations

import builtins
import codecs
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mvm._sync.commands import Commands
from mvm._sync.connection import DEFAULT_REQUEST_TIMEOUT, Connection
from mvm._sync.files import Files
from mvm._sync.lease import Lease, lease_of
from mvm._sync.snapshot import Snapshot
from mvm.errors import NotFound
from mvm.model import HostInfo, Metrics, Plan, ReceiptVerdict, SandboxInfo, SnapshotInfo
from mvm.request import CreateOptions, create_body, segment

if TYPE_CHECKING:
    from typing_extensions import Unpack

SelfT = TypeVar("SelfT", bound="Sandbox")
OnProgress = Callable[[str], None]
_PAGE = 100


class Sandbox:
    """One microVM with its state. Make one with `create`, `restore` or `fork`, find one with `connect`.

    A sandbox that was made here ends with its context, with `destroy`, when this value is collected, at its
    `ttl_seconds`, and when this process dies in whatever way; not if it was given to itself by `detach`.
    A sandbox that `connect` found keeps its owner and its end.
    """

    def __init__(self, connection: Connection, info: SandboxInfo, lease: Lease | None) -> None:
        path = f"/v1/sandboxes/{segment(info.id)}"
        self.id: str = info.id
        self.name: str | None = info.name
        self.commands = Commands(connection, path)
        self.files = Files(connection, path)
        self._connection = connection
        self._path = path
        self._lease = lease

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or self.id}>"

    def __enter__(self: SelfT) -> SelfT:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lease is not None:
            try:
                self.destroy()
            except NotFound:
                pass  # it has ended before, by its time or by another handle

    @classmethod
    def create(
        cls: type[SelfT],
        *,
        request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT,
        on_progress: OnProgress | None = None,
        **options: Unpack[CreateOptions],
    ) -> SelfT:
        """Creates a sandbox that this process owns, from the default image unless `image` names another.

        `request_timeout` (seconds, None: none) limits how long the server may leave a request of this handle
        without an answer; it limits no command and no start. `on_progress` is told what is being done.
        Raises `InvalidArgument`, `PolicyDenied`, `AdmissionFailed`, `BuildFailed`, `BackendUnsupported`.
        """
        body = {"create": create_body(options)}
        return (cls._leased(Connection(request_timeout), body, on_progress))[0]

    @classmethod
    def create_detached(
        cls: type[SelfT],
        *,
        ttl_seconds: int,
        idempotency_key: str | None = None,
        request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT,
        **options: Any,
    ) -> SelfT:
        """Creates a sandbox that belongs to itself and ends after `ttl_seconds`; the options are those of `create`.

        A second call with the same `idempotency_key` gives the sandbox of the first.
        """
        connection = Connection(request_timeout)
        answer = connection.request(
            "POST",
            "/v1/sandboxes",
            body=create_body({**options, "ttl_seconds": ttl_seconds}),
            headers={"Idempotency-Key": idempotency_key} if idempotency_key is not None else None,
            waits=True,
        )
        return cls(connection, SandboxInfo.from_json(answer), None)

    @classmethod
    def connect(cls: type[SelfT], sandbox: str, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> SelfT:
        """Another handle of the sandbox of a name or identifier. Raises `NotFound`."""
        connection = Connection(request_timeout)
        answer = connection.request("GET", f"/v1/sandboxes/{segment(sandbox)}")
        return cls(connection, SandboxInfo.from_json(answer), None)

    @classmethod
    def list(cls, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> builtins.list[SandboxInfo]:
        """The records of all sandboxes of the host, the oldest first."""
        connection = Connection(request_timeout)
        found: builtins.list[SandboxInfo] = []
        parameters: dict[str, Any] = {"limit": _PAGE}
        while True:
            page = connection.request("GET", "/v1/sandboxes", parameters=parameters)
            found += [SandboxInfo.from_json(item) for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            parameters["cursor"] = page["next_cursor"]

    @classmethod
    def restore(
        cls: type[SelfT],
        snapshot: Snapshot | str,
        *,
        name: str | None = None,
        ttl_seconds: int | None = None,
        request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT,
        on_progress: OnProgress | None = None,
    ) -> SelfT:
        """A new sandbox that goes on from a snapshot. Raises `NotFound` and `SnapshotMismatch`."""
        wanted = {"snapshot": snapshot if isinstance(snapshot, str) else snapshot.id}
        body = {"restore": {**wanted, **_given(name=name, ttl_seconds=ttl_seconds)}}
        return (cls._leased(Connection(request_timeout), body, on_progress))[0]

    def fork(
        self: SelfT,
        count: int = 1,
        *,
        name: str | None = None,
        ttl_seconds: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> builtins.list[SelfT]:
        """`count` new sandboxes that go on from here, each by itself. If one fails, none stays.

        They share a connection: one that is not destroyed ends when the last handle of them all is collected.
        """
        body = {"fork": {"source": self.id, "count": count, **_given(name=name, ttl_seconds=ttl_seconds)}}
        return self._leased(self._connection, body, on_progress)

    @classmethod
    def _leased(
        cls: type[SelfT], connection: Connection, body: dict[str, Any], on_progress: OnProgress | None
    ) -> builtins.list[SelfT]:
        lease, sandboxes = Lease.open(connection, body, on_progress)
        return [cls(connection, info, lease) for info in sandboxes]

    def info(self) -> SandboxInfo:
        """Its record as it is now. Raises `NotFound` when it has ended and is gone."""
        return SandboxInfo.from_json(self._connection.request("GET", self._path))

    def metrics(self) -> Metrics:
        """What its microVM uses on the host."""
        answer = self._connection.request("GET", f"{self._path}/metrics")
        return Metrics(answer["memory_bytes"], answer["cpu_ms"], answer["disk_bytes"])

    def logs(self, *, follow: bool = False, source: Literal["guest", "machine"] = "guest") -> Iterator[str]:
        """The messages of the guest's kernel, or of the machine, in pieces; with `follow` also those to come."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        parameters = {"source": source, "follow": "true" if follow else None}
        for chunk in self._connection.chunks(f"{self._path}/logs", parameters, waits=follow):
            text = decoder.decode(chunk)
            if text:
                yield text

    def pause(self) -> SandboxInfo:
        """Lets it stand still; its memory stays. Nothing happens to one that is paused."""
        return self._change("pause")

    def resume(self) -> SandboxInfo:
        """Lets it go on after `pause` or `cold`."""
        return self._change("resume")

    def cold(self) -> SandboxInfo:
        """Saves it to disk and frees its memory; `resume` brings it back."""
        return self._change("cold")

    def _change(self, verb: str) -> SandboxInfo:
        return SandboxInfo.from_json(self._connection.request("POST", f"{self._path}/{verb}", waits=True))

    def snapshot(self, name: str | None = None) -> Snapshot:
        """Saves its memory, processes and files; it goes on. The snapshot stays until it is removed."""
        answer = self._connection.request("POST", f"{self._path}/snapshots", body=_given(name=name), waits=True)
        return Snapshot(self._connection, SnapshotInfo.from_json(answer))

    def set_ttl(self, ttl_seconds: int | None) -> SandboxInfo:
        """Lets it end so many seconds from now; None: at no time, if it has an owner."""
        answer = self._connection.request("PUT", f"{self._path}/ttl", body={"ttl_seconds": ttl_seconds})
        return SandboxInfo.from_json(answer)

    def detach(self, ttl_seconds: int | None = None) -> None:
        """Gives it to itself: it ends at its time and no more with this process.

        Raises `InvalidArgument` if it has no end and `ttl_seconds` is None.
        """
        self._connection.request("POST", f"{self._path}/detach", body=_given(ttl_seconds=ttl_seconds))
        self._let_go()

    def stop(self, *, grace: float | None = None) -> bool:
        """Ends its microVM, asking its processes first and waiting `grace` seconds; its record stays.

        Whether this call ended it, or it had ended before.
        """
        body = _given(grace_ms=None if grace is None else round(grace * 1000))
        answer = self._connection.request("POST", f"{self._path}/stop", body=body, waits=True)
        return answer["ended"] == "now"

    def destroy(self) -> bool:
        """Ends it and removes all that is left of it. Whether this call ended it. Raises `NotFound` if it is gone."""
        try:
            answer = self._connection.request("DELETE", self._path, waits=True)
        except NotFound:
            self._let_go()
            raise
        self._let_go()
        return answer["ended"] == "now"

    def _let_go(self) -> None:
        lease = self._lease or lease_of(self.id)
        self._lease = None
        if lease is not None:
            lease.release(self.id)

    @classmethod
    def plan(cls, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT, **options: Unpack[CreateOptions]) -> Plan:
        """What `create` with these options would have admitted. Nothing starts. Raises what `create` would."""
        answer = Connection(request_timeout).request("POST", "/v1/plans/dry-run", body=create_body(options), waits=True)
        return Plan(answer["digest"], answer["plan"])

    @classmethod
    def verify_receipt(
        cls, receipt: bytes, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT
    ) -> ReceiptVerdict:
        """Whether a receipt is genuine, whose run it names and who signed it."""
        answer = Connection(request_timeout).request("POST", "/v1/receipts/verify", content=receipt)
        return ReceiptVerdict(
            bool(answer["valid"]),
            answer.get("run_id"),
            answer.get("key"),
            answer.get("signer"),
            answer.get("flaw"),
        )

    @classmethod
    def host(cls, *, request_timeout: float | None = DEFAULT_REQUEST_TIMEOUT) -> HostInfo:
        """The host: its version of mvm, how it isolates, and its default image."""
        answer = Connection(request_timeout).request("GET", "/v1/host")
        return HostInfo(answer["version"], answer["accelerator"], answer["isolation"], answer["default_image"])


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
