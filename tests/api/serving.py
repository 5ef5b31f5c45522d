"""Servers of the tests: real `mvmctl serve` processes, and plain requests to them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

TOKEN = "of-these-tests-0123456789-0123456789"
HOLD = httpx.Timeout(60, read=None)


def mvmctl() -> str:
    return os.environ["MVM_MVMCTL"]


class Frames:
    """What a process does, as `application/vnd.mvm.frames` tell it. `started` is the first event."""

    def __init__(self, answer: httpx.Response) -> None:
        self.let_go = answer.close
        self._pieces = answer.iter_raw()
        self._read = b""
        kind, payload = next(self)
        assert kind == 0
        self.started = json.loads(payload)
        self.id: int = self.started["process_id"]

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> tuple[int, bytes]:
        while len(self._read) < 5 or len(self._read) < 5 + int.from_bytes(self._read[1:5], "big"):
            self._read += next(self._pieces)
        kind, end = self._read[0], 5 + int.from_bytes(self._read[1:5], "big")
        payload, self._read = self._read[5:end], self._read[end:]
        return kind, payload

    def to_the_end(self) -> tuple[bytes, bytes, dict[str, Any]]:
        """Standard output, standard error, and the last event."""
        output = {1: b"", 2: b""}
        event: dict[str, Any] = {}
        for kind, payload in self:
            if kind == 0:
                event = json.loads(payload)
            else:
                output[kind] += payload
        return output[1], output[2], event


class Served:
    """A server that was started, on a Unix socket or an address."""

    def __init__(self, url: str, socket: Path | None, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.socket = socket
        self.child = process
        self.log = log
        self.client = self.client_with({"Authorization": f"Bearer {TOKEN}"} if socket is None else {})

    def client_with(self, headers: dict[str, str]) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket) if self.socket else None, verify=False)
        return httpx.Client(base_url=self.url, transport=transport, headers=headers, timeout=60)

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """The JSON of an answer that is no problem; None where it is empty."""
        answer = self.client.request(method, path, **request)
        assert answer.status_code < httpx.codes.BAD_REQUEST, answer.text
        return answer.json() if answer.content else None

    def refused(self, status: int, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The problem that a request is answered by, with this status."""
        return problem(self.client.request(method, path, **request), status)

    def detached(self, ttl_seconds: int = 120, **create: Any) -> str:
        """The identifier of a new sandbox that belongs to itself."""
        return self.ask("POST", "/v1/sandboxes", json={"ttl_seconds": ttl_seconds, **create})["id"]

    @contextlib.contextmanager
    def leased(self, **create: Any) -> Iterator[str]:
        """The identifier of a sandbox that lives until the block ends."""
        with self.client.stream("POST", "/v1/leases", json={"create": create}, timeout=HOLD) as answer:
            lines = answer.iter_lines()
            yield next(event["sandbox"]["id"] for event in map(json.loads, lines) if event["event"] == "sandbox")

    def shell(self, sandbox: str, line: str, **command: Any) -> dict[str, Any]:
        return self.ask("POST", f"/v1/sandboxes/{sandbox}/exec", json={"shell": line, **command})

    @contextlib.contextmanager
    def process(self, sandbox: str, **command: Any) -> Iterator[Frames]:
        """A process that was started, as its stream, which is closed with the block."""
        path = f"/v1/sandboxes/{sandbox}/processes"
        with self.client.stream("POST", path, json=command, timeout=HOLD) as answer:
            assert answer.status_code == httpx.codes.OK, answer.read()
            yield Frames(answer)

    def states(self) -> dict[str, str]:
        """The state of each sandbox of the host."""
        found: dict[str, str] = {}
        cursor: str | None = None
        while True:
            page = self.ask("GET", "/v1/sandboxes", params={"cursor": cursor} if cursor else {})
            found |= {item["id"]: item["state"] for item in page["items"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def end(self) -> int:
        """Ends it in order, and gives its exit code."""
        self.client.close()
        self.child.terminate()
        return self.child.wait(20)


def document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer, which is one as it should be."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document = answer.json()
    assert document["status"] == status
    assert document["type"] == f"urn:mvm:error:{document['code']}"
    return document


def start(folder: Path, options: Sequence[str] = (), *, tcp: bool = False, scheme: str = "http") -> Served:
    """Starts a server and waits until it answers. Over TCP it takes `TOKEN`."""
    folder.mkdir(exist_ok=True)
    log = folder / "log.jsonl"
    socket = None if tcp else folder / "api.sock"
    if socket is None:
        token = folder / "token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        place = ["--listen", "127.0.0.1:0", "--token-file", str(token)]
    else:
        place = ["--socket", str(socket)]
    with log.open("wb") as errors:
        process = subprocess.Popen([mvmctl(), "serve", *place, *options], stderr=errors, stdout=subprocess.PIPE)
    assert process.stdout is not None
    # One line, once it can be connected to.
    told = process.stdout.readline()
    assert told, log.read_text()
    url = "http://mvm" if socket else f"{scheme}://{json.loads(told)['address']}"
    return Served(url, socket, process, log)


def until(holds: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
