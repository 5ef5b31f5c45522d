"""Answers that end with their client: leases, followed processes and logs."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from typing import Any

import pytest

import serving


def events(server: serving.Served, order: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
    with server.client.stream("POST", "/v1/leases", json=order, timeout=serving.HOLD) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        yield from map(json.loads, answer.iter_lines())


def made(lease: Generator[dict[str, Any], None, None]) -> list[dict[str, Any]]:
    """What a lease tells up to `ready`, without its progress."""
    told: list[dict[str, Any]] = []
    for event in lease:
        if event["event"] == "ready":
            return told
        if event["event"] != "progress":
            told.append(event)
    raise AssertionError(f"the lease ended before `ready`: {told}")


def test_a_lease_tells_what_it_holds_says_that_it_is_there_and_ends_with_its_client(server: serving.Served) -> None:
    lease = events(server, {"create": {"environment": {"A": "b"}}})
    (event,) = made(lease)
    sandbox = event["sandbox"]
    assert (event["event"], event["index"], sandbox["ownership"]) == ("sandbox", 0, "leased")
    begun = time.monotonic()
    assert next(lease) == {"event": "ping"}
    assert time.monotonic() - begun < 7
    assert server.states()[sandbox["id"]] == "running"
    lease.close()
    serving.until(lambda: sandbox["id"] not in server.states(), "the sandbox is gone with its lease", 5)


def test_a_lease_of_forks_tells_each(server: serving.Served) -> None:
    with server.leased() as parent:
        server.shell(parent, "echo before > /root/file")
        lease = events(server, {"fork": {"source": parent, "count": 2}})
        children = made(lease)
        assert [event["index"] for event in children] == [0, 1]
        for event in children:
            child = event["sandbox"]
            assert child["origin"] == "snapshot"
            answer = server.client.get(f"/v1/sandboxes/{child['id']}/files", params={"path": "/root/file"})
            assert answer.content == b"before\n"
        lease.close()
        gone = {event["sandbox"]["id"] for event in children}
        serving.until(lambda: not gone & server.states().keys(), "the children are gone with their lease", 5)


def test_what_cannot_be_made_is_told_in_the_lease(server: serving.Served) -> None:
    with server.leased(name="once-only"):
        lease = events(server, {"create": {"name": "once-only"}})
        (event,) = made(lease)
        assert (event["event"], event["index"]) == ("failed", 0)
        assert "once-only" in event["problem"]["detail"]
        lease.close()


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({}, 400, "InvalidArgument"),
        ({"create": {}, "fork": {"source": "x", "count": 1}}, 400, "InvalidArgument"),
        ({"create": {"resources": {"memory_mib": 1}}}, 400, "InvalidArgument"),
        ({"create": {"network": {}}}, 422, "BackendUnsupported"),
        ({"restore": {"snapshot": "not-there"}}, 404, "NotFound"),
        ({"fork": {"source": "not-there", "count": 1}}, 404, "NotFound"),
        ({"fork": {"source": "not-there", "count": 101}}, 400, "InvalidArgument"),
    ],
)
def test_what_cannot_begin_is_a_problem(server: serving.Served, order: dict[str, Any], status: int, code: str) -> None:
    assert server.refused(status, "POST", "/v1/leases", json=order)["code"] == code
