"""Several servers over one state directory, and how one ends."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import httpx
import pytest

import serving
from conftest import Serve


def lease(server: serving.Served) -> tuple[str, threading.Thread]:
    """A leased sandbox, and the thread that holds its lease until the server ends it."""
    told: list[str] = []

    def hold() -> None:
        try:
            with server.client.stream("POST", "/v1/leases", json={"create": {}}, timeout=serving.HOLD) as answer:
                for event in map(json.loads, answer.iter_lines()):
                    if event["event"] == "sandbox":
                        told.append(event["sandbox"]["id"])
        except httpx.TransportError:
            pass  # the server was killed

    holder = threading.Thread(target=hold)
    holder.start()
    serving.until(lambda: bool(told), "the sandbox is there")
    return told[0], holder


def test_two_servers_over_one_state_directory_agree(serve: Serve) -> None:
    one, other = serve(), serve(tcp=True)
    sandbox = one.detached(name="of-two-servers")
    assert other.states()[sandbox] == "running"
    one.shell(sandbox, "echo by one > /root/file")
    assert other.client.get(f"/v1/sandboxes/{sandbox}/files", params={"path": "/root/file"}).content == b"by one\n"
    with one.process(sandbox, shell="read word; echo got $word", stdin=True) as process:
        # What one started, the other lists, feeds and follows.
        path = f"/v1/sandboxes/of-two-servers/processes/{process.id}"
        other.ask("POST", f"{path}/stdin", content=b"this\n", params={"close": "true"})
        assert process.to_the_end()[0] == b"got this\n"
        with other.client.stream("GET", f"{path}/output") as answer:
            assert serving.Frames(answer).to_the_end()[0] == b"got this\n"
    assert other.ask("DELETE", f"/v1/sandboxes/{sandbox}") == {"ended": "now"}
    one.refused(404, "GET", f"/v1/sandboxes/{sandbox}")


def test_a_lease_is_let_go_of_by_the_server_that_holds_it(serve: Serve) -> None:
    one, other = serve(), serve()
    with one.leased() as sandbox:
        refused = other.refused(409, "POST", f"/v1/sandboxes/{sandbox}/detach", json={"ttl_seconds": 60})
        assert refused["hint"] == "ask the server that the sandbox was created through"
        one.ask("POST", f"/v1/sandboxes/{sandbox}/detach", json={"ttl_seconds": 60})
    assert other.states()[sandbox] == "running"
    other.ask("DELETE", f"/v1/sandboxes/{sandbox}")


def test_a_killed_server_loses_its_leases_and_nothing_else(serve: Serve) -> None:
    killed, other = serve(), serve()
    leased, holder = lease(killed)
    detached = killed.detached()
    killed.child.send_signal(signal.SIGKILL)
    killed.child.wait()
    begun = time.monotonic()
    serving.until(lambda: leased not in other.states(), "the leased sandbox is gone", 5)
    assert time.monotonic() - begun < 5
    holder.join(10)
    assert other.states()[detached] == "running"
    assert other.shell(detached, "exit 3")["exit_code"] == 3
    other.ask("DELETE", f"/v1/sandboxes/{detached}")


def test_another_server_takes_the_place_of_a_killed_one(serve: Serve, tmp_path: os.PathLike[str]) -> None:
    killed = serve()
    killed.child.send_signal(signal.SIGKILL)
    killed.child.wait()
    assert killed.socket is not None
    assert killed.socket.exists(), "it could not remove its socket"
    successor = serving.start(killed.socket.parent)
    assert successor.ask("GET", "/healthz")["status"] == "ok"
    assert successor.end() == 0


def test_on_sigterm_a_server_answers_what_it_was_asked_and_ends(serve: Serve) -> None:
    server, other = serve(), serve()
    leased, holder = lease(server)
    sandbox = other.detached()
    answers: list[httpx.Response] = []
    body = {"shell": "echo begun > /root/begun; sleep 2; echo done"}
    asking = threading.Thread(
        target=lambda: answers.append(server.client.post(f"/v1/sandboxes/{sandbox}/exec", json=body))
    )
    asking.start()
    there = {"path": "/root/begun"}
    serving.until(
        lambda: other.client.get(f"/v1/sandboxes/{sandbox}/files/stat", params=there).is_success, "the command runs"
    )
    server.child.send_signal(signal.SIGTERM)
    serving.until(lambda: leased not in other.states(), "its lease has ended", 5)
    holder.join(10)
    assert server.socket is not None
    with pytest.raises(httpx.ConnectError):
        serving.Served(server.url, server.socket, server.child, server.log).ask("GET", "/healthz")
    assert server.child.wait(12) == 0
    asking.join(10)
    assert answers[0].json()["stdout_base64"] == "ZG9uZQo="
    assert not server.socket.exists()
    other.ask("DELETE", f"/v1/sandboxes/{sandbox}")


def test_a_request_that_goes_on_does_not_hold_a_server_that_is_to_end(serve: Serve) -> None:
    server, other = serve(), serve()
    sandbox = other.detached()
    begun = time.monotonic()
    with server.process(sandbox, argv=["sleep", "1000"], detached=True) as process:
        server.child.send_signal(signal.SIGTERM)
        assert server.child.wait(12) == 0
        assert time.monotonic() - begun < 10
    items = other.ask("GET", f"/v1/sandboxes/{sandbox}/processes")["items"]
    assert [item["id"] for item in items if item["result"] is None] == [process.id]
    other.ask("DELETE", f"/v1/sandboxes/{sandbox}")
