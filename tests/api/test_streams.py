"""Processes and logs as streams."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

import serving


@pytest.fixture(scope="module")
def sandbox(server: serving.Served) -> Iterator[str]:
    with server.leased() as sandbox:
        yield sandbox


def test_a_process_is_fed_followed_and_followed_again(server: serving.Served, sandbox: str) -> None:
    with server.process(sandbox, shell="read line; echo got $line; cat >&2; exit 3", stdin=True) as process:
        path = f"/v1/sandboxes/{sandbox}/processes/{process.id}"
        server.ask("POST", f"{path}/stdin", content=b"one\ntwo\n")
        server.ask("POST", f"{path}/stdin", content=b"three\n", params={"close": "true"})
        stdout, stderr, event = process.to_the_end()
    assert (stdout, stderr) == (b"got one\n", b"two\nthree\n")
    assert (event["event"], event["result"]["exit_code"]) == ("exited", 3)
    assert event["result"]["run_id"] == process.started["run_id"]

    from_there = {"stdout_offset": 4, "stderr_offset": 10}
    with server.client.stream("GET", f"{path}/output", params=from_there) as answer:
        again = serving.Frames(answer)
        stdout, stderr, event = again.to_the_end()
    assert (stdout, stderr, event["result"]["exit_code"]) == (b"one\n", b"", 3)
    assert (again.started["stdout_offset"], again.started["stderr_offset"]) == (4, 10)


def test_a_process_ends_with_its_client_unless_it_is_detached(server: serving.Served, sandbox: str) -> None:
    with server.process(sandbox, argv=["sleep", "1000"]) as held:
        pass
    with server.process(sandbox, argv=["sleep", "1000"], detached=True) as detached:
        pass

    def running() -> set[int]:
        items = server.ask("GET", f"/v1/sandboxes/{sandbox}/processes")["items"]
        return {item["id"] for item in items if item["result"] is None}

    serving.until(lambda: held.id not in running(), "the process ends with its stream")
    assert detached.id in running()
    path = f"/v1/sandboxes/{sandbox}/processes/{detached.id}"
    server.ask("POST", f"{path}/signal", json={"signal": 15})
    serving.until(lambda: detached.id not in running(), "the process ends by its signal")
    late = server.refused(409, "POST", f"{path}/stdin", content=b"late")
    assert (late["code"], late["retryable"]) == ("SandboxUnavailable", True)


def test_what_a_process_was_not_started_with_is_refused(server: serving.Served, sandbox: str) -> None:
    with server.process(sandbox, argv=["sleep", "1000"]) as process:
        path = f"/v1/sandboxes/{sandbox}/processes/{process.id}"
        assert server.refused(400, "POST", f"{path}/stdin", content=b"x")["hint"] == "start it with `stdin`"
        size = {"columns": 80, "rows": 24}
        assert server.refused(400, "POST", f"{path}/resize", json=size)["hint"] == "start it with `terminal`"


def test_a_log_is_followed_for_as_long_as_the_client_likes(server: serving.Served, sandbox: str) -> None:
    path = f"/v1/sandboxes/{sandbox}/logs"
    with server.client.stream("GET", path, params={"follow": "true"}, timeout=httpx.Timeout(30)) as answer:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        server.shell(sandbox, "echo a line of this test > /dev/kmsg")
        read = ""
        for piece in answer.iter_text():
            read += piece
            if "a line of this test" in read:
                break
        else:
            pytest.fail(f"the log ended: {read}")
    assert server.client.get(path, params={"source": "machine"}).status_code == httpx.codes.OK
    server.refused(400, "GET", path, params={"source": "another"})
