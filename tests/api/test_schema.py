"""The server against its OpenAPI document: requests that the document allows and ones that it forbids, the same
in every run. No answer is a failure of the server, and each is one that the document names.

Every other request that names a sandbox names one that is there, with a process that has ended.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import serving

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
EXAMPLES = 20
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# What has no end of its own, and which test is instead.
WITHOUT_END = {
    "/v1/leases": "its answer ends with its client: test_leases.py",
}
# A sandbox that such a request met is not the same afterwards.
NAME = "of-the-schema"
# Identifier of a process of that sandbox that has ended.
PROCESS: dict[str, int] = {}
# Routes that did what was asked of them.
SUCCEEDED: set[str] = set()
# What a guest is asked for where a request is to succeed.
PATHS = {
    "GET /v1/sandboxes/{id}/files": "/etc/passwd",
    "GET /v1/sandboxes/{id}/files/list": "/etc",
    "GET /v1/sandboxes/{id}/files/stat": "/etc/passwd",
    "DELETE /v1/sandboxes/{id}/files": "/etc/motd",
}
REFUSED_OPTIONS = (
    *("network", "secrets", "mounts", "ports"),
    *("working_directory", "user", "profile", "name", "environment"),
)
WORKING = {
    "argv": ["echo", "said"],
    "path": "/tmp/a/directory",
    "from": "/etc/issue",
    "to": "/etc/issue",
    "signal": 15,
    "ttl_seconds": 600,
}
# A process that has ended takes nothing more; one that runs does in test_streams.py and test_terminal.py. A call
# needs a file that declares its function; those of test_invocations.py have one.
ONLY_REFUSED = {
    "POST /v1/invocations",
    "GET /v1/sandboxes/{id}/processes/{process}/terminal",
    "POST /v1/sandboxes/{id}/processes/{process}/resize",
    "POST /v1/sandboxes/{id}/processes/{process}/signal",
    "POST /v1/sandboxes/{id}/processes/{process}/stdin",
}

configuration = SchemathesisConfig.from_dict(
    {"generation": {"allow-x00": True}, "phases": {"stateful": {"enabled": False}}}
)
schema = schemathesis.openapi.from_path(DOCUMENT, config=configuration).exclude(path=list(WITHOUT_END))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Served]:
    """A server whose sandboxes are all gone afterwards, but those that were there before."""
    served = serving.start(tmp_path_factory.mktemp("fuzzed"), tcp=True)
    before = served.states().keys()
    snapshots = {item["id"] for item in served.ask("GET", "/v1/snapshots")["items"]}
    yield served
    for sandbox in served.states().keys() - before:
        served.client.delete(f"/v1/sandboxes/{sandbox}")
    for item in served.ask("GET", "/v1/snapshots")["items"]:
        if item["id"] not in snapshots:
            served.ask("DELETE", f"/v1/snapshots/{item['id']}")
    assert served.end() == 0


def ready(served: serving.Served) -> None:
    """Sees to it that the sandbox of these tests runs and has a process that ended, and that there is a snapshot."""
    answer = served.client.get(f"/v1/sandboxes/{NAME}")
    if answer.status_code == httpx.codes.OK:
        if answer.json()["state"] == "running" and answer.json()["ownership"] == "detached":
            return
        served.client.delete(f"/v1/sandboxes/{NAME}")
    served.detached(600, name=NAME)
    answer = served.client.post(f"/v1/sandboxes/{NAME}/processes", json={"shell": "echo said", "detached": True})
    assert answer.status_code == httpx.codes.OK, answer.text
    PROCESS[NAME] = served.ask("GET", f"/v1/sandboxes/{NAME}/processes")["items"][-1]["id"]


def test_what_is_excluded_is_there() -> None:
    """A route that is renamed is not excluded in silence."""
    document = serving.document(DOCUMENT)
    assert WITHOUT_END.keys() <= document["paths"].keys()


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
)
def test_answers_are_those_of_the_document(case: schemathesis.Case, fuzzed: serving.Served) -> None:
    request = repr((case.path_parameters, case.query, given(case.body))).encode()
    keep_small(case)
    if zlib.crc32(request) % 2:
        aim(case, fuzzed)
    answer = case.call(base_url=fuzzed.url, headers={"Authorization": f"Bearer {serving.TOKEN}"}, timeout=30)
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code < httpx.codes.BAD_REQUEST:
        SUCCEEDED.add(case.operation.label)


def given(body: object) -> object:
    """A body, or that there is none: the same text in every run."""
    return body if isinstance(body, dict | list | str | bytes | int | float | None) else "none"


def keep_small(case: schemathesis.Case) -> None:
    """Nothing is built for these tests, or followed without end: what is made is of the default image and size."""
    if case.query.get("follow"):
        # A log is followed for as long as the client likes: test_streams.py.
        case.query["follow"] = "false"
    if isinstance(case.body, dict):
        resources, image = case.body.get("resources"), case.body.get("image")
        if isinstance(resources, dict) and isinstance(resources.get("memory_mib"), int | None):
            case.body.pop("resources")
        if isinstance(image, str) and image.startswith(("debian:", "oci-")):
            case.body.pop("image")


def aim(case: schemathesis.Case, served: serving.Served) -> None:
    """Lets a request name what is there, where it names anything: no random text would."""
    if "id" in case.path_parameters:
        ready(served)
        is_of_snapshots = case.operation.path.startswith("/v1/snapshots")
        case.path_parameters["id"] = a_snapshot(served) if is_of_snapshots else NAME
    if "process" in case.path_parameters:
        case.path_parameters["process"] = PROCESS[NAME]
    if isinstance(case.query.get("path"), str):
        case.query["path"] = PATHS.get(case.operation.label, "/tmp/of-the-schema")
    if isinstance(case.body, dict):
        if case.operation.path == "/v1/sandboxes":
            case.body["ttl_seconds"] = 60
        case.body |= {name: value for name, value in WORKING.items() if type(case.body.get(name)) is type(value)}
        for option in REFUSED_OPTIONS:
            case.body.pop(option, None)


def a_snapshot(served: serving.Served) -> str:
    items = served.ask("GET", "/v1/snapshots")["items"]
    return items[0]["id"] if items else served.ask("POST", f"/v1/sandboxes/{NAME}/snapshots")["id"]


def test_every_route_was_met() -> None:
    """Refusals alone would show little: each route did what it is for at least once."""
    if not SUCCEEDED:
        pytest.skip("it looks at what the test before it has met")
    document = serving.document(DOCUMENT)
    routes = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if path not in WITHOUT_END
    }
    assert routes - SUCCEEDED == ONLY_REFUSED
