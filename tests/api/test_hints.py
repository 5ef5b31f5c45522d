"""Errors tell what failed and the way out, in words of whoever asked: over HTTP nobody has flags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import serving

# A flag of the command line, and not the hyphen in a word.
FLAG = re.compile(r"(?<![\w-])--?[a-z]")


@pytest.fixture(scope="module")
def sandbox(server: serving.Served) -> Iterator[str]:
    with server.leased() as sandbox:
        server.shell(sandbox, "mkdir -p /root/full && echo > /root/full/file && echo > /root/program")
        yield sandbox


def run(**command: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/exec", {"json": command}


def at(method: str, route: str, **query: str) -> tuple[str, str, dict[str, Any]]:
    return method, route, {"params": query}


@pytest.mark.parametrize(
    ("asked", "status", "said", "hint"),
    [
        (run(argv=["id"], user="nobody", working_directory="/root"), 400, "Permission denied", "as a user who may"),
        (run(argv=["id"], working_directory="/nowhere"), 400, "No such file", "make the directory first"),
        (run(argv=["id"], working_directory="/etc/passwd"), 400, "Not a directory", "name a directory"),
        (run(argv=["id"], user="whoever"), 400, "whoever", "/etc/passwd"),
        (run(argv=[]), 400, "`argv`", "`argv` with the program first"),
        (run(argv=["id"], shell="id"), 400, "`argv`", "`argv` with the program first"),
        (run(argv=["not-there"]), 404, "not-there", None),
        (run(argv=["/root/program"]), 400, "not executable", None),
        (at("DELETE", "/files", path="/root/full"), 400, "not empty", "recursively"),
        (at("PUT", "/files", path="/root/x", mode="9"), 400, "`mode`", "644"),
        (at("GET", "/files", path="relative"), 400, "absolute", None),
        (at("GET", "/files", path="/root"), 400, "directory", None),
        (at("GET", "/files", path="/etc/passwd", offset=str(2**63)), 400, "`offset`", None),
        (at("GET", "/files", path="/root/none"), 404, "/root/none", None),
    ],
)
def test_what_a_sandbox_is_asked_in_vain(
    server: serving.Served,
    sandbox: str,
    asked: tuple[str, str, dict[str, Any]],
    status: int,
    said: str,
    hint: str | None,
) -> None:
    method, path, request = asked
    problem = server.refused(status, method, f"/v1/sandboxes/{sandbox}{path}", **request)
    text = ": ".join([problem["detail"], *problem["causes"]])
    assert said in text
    assert not FLAG.search(text), text
    if hint is None:
        assert problem["hint"] is None or not FLAG.search(problem["hint"])
    else:
        assert hint in problem["hint"]
        assert not FLAG.search(problem["hint"]), problem["hint"]


@pytest.mark.parametrize(
    ("create", "status", "hint"),
    [
        ({}, 400, "give `ttl_seconds`"),
        ({"ttl_seconds": 0}, 400, "leave the time to live out"),
        ({"ttl_seconds": 60, "resources": {"memory_mib": 1}}, 400, "at least 128"),
        ({"ttl_seconds": 60, "profile": "none"}, 400, "restrictive, standard, dev or production"),
        ({"ttl_seconds": 60, "profile": "production"}, 403, None),
        ({"ttl_seconds": 60, "network": {}}, 422, "leave `network` out"),
        ({"ttl_seconds": 60, "image": "nothing"}, 403, "a kind of image source"),
        ({"ttl_seconds": 60, "name": "-"}, 400, None),
        ({"ttl_seconds": 60, "environment": {"A=B": ""}}, 400, None),
        ({"ttl_seconds": 60, "working_directory": "relative"}, 400, None),
    ],
)
def test_a_sandbox_that_cannot_be(
    server: serving.Served, create: dict[str, Any], status: int, hint: str | None
) -> None:
    problem = server.refused(status, "POST", "/v1/sandboxes", json=create)
    texts = [problem["detail"], *problem["causes"], problem["hint"] or ""]
    assert not FLAG.search("\n".join(texts)), texts
    assert hint is None or hint in problem["hint"]
