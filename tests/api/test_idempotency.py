"""Creates that are sent twice."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import serving
from conftest import Serve


def create(server: serving.Served, key: str, **body: object) -> httpx.Response:
    return server.client.post("/v1/sandboxes", json={"ttl_seconds": 60, **body}, headers={"Idempotency-Key": key})


def test_a_key_creates_once_also_through_another_server(serve: Serve) -> None:
    one, other = serve(), serve()
    key = secrets.token_hex(8)
    first = create(one, key)
    assert first.status_code == 201
    sandbox = first.json()["id"]
    again = create(other, key)
    assert (again.status_code, again.json()["id"]) == (201, sandbox)
    other_body = serving.problem(create(one, key, environment={"A": "b"}), 409)
    assert sandbox not in other_body["detail"]
    other_key = create(one, secrets.token_hex(8)).json()["id"]
    assert other_key != sandbox
    for made in (sandbox, other_key):
        one.ask("DELETE", f"/v1/sandboxes/{made}")


def test_of_many_at_once_one_creates(server: serving.Served) -> None:
    key = secrets.token_hex(8)
    before = server.states().keys()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: create(server, key), range(6)))
    made = {answer.json()["id"] for answer in answers}
    assert len(made) == 1
    assert server.states().keys() - before == made
    server.ask("DELETE", f"/v1/sandboxes/{made.pop()}")


def test_a_key_whose_sandbox_is_gone_creates_no_other(server: serving.Served) -> None:
    """Its client may not know yet that the first was there."""
    key = secrets.token_hex(8)
    server.ask("DELETE", f"/v1/sandboxes/{create(server, key).json()['id']}")
    problem = serving.problem(create(server, key), 409)
    assert (problem["code"], problem["hint"]) == ("SandboxUnavailable", "use a new key")


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(server: serving.Served, key: str) -> None:
    assert "Idempotency-Key" in serving.problem(create(server, key), 400)["detail"]
