"""A process's terminal over WebSocket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import serving

SHELL = {"argv": ["/bin/sh"], "terminal": {"columns": 80, "rows": 24}, "environment": {"PS1": "> "}}


@pytest.fixture(scope="module")
def sandbox(server: serving.Served) -> Iterator[str]:
    with server.leased() as sandbox:
        yield sandbox


def join(server: serving.Served, sandbox: str, process: int, token: str = serving.TOKEN) -> ClientConnection:
    url = f"{server.url.replace('http', 'ws', 1)}/v1/sandboxes/{sandbox}/processes/{process}/terminal"
    return connect(url, additional_headers={"Authorization": f"Bearer {token}"})


def detached_shell(server: serving.Served, sandbox: str) -> int:
    with server.process(sandbox, **SHELL, detached=True) as process:
        return process.id


def shown_until(terminal: ClientConnection, ends: Callable[[str], object]) -> str:
    """What the terminal showed up to something in it."""
    shown = ""
    while not ends(shown):
        message = terminal.recv(timeout=20)
        assert isinstance(message, bytes), message
        shown += message.decode()
    return shown


def prompted(terminal: ClientConnection) -> ClientConnection:
    """The terminal, once its shell waits for a line: what is typed before mixes with the prompt."""
    shown_until(terminal, lambda shown: shown.endswith("> "))
    return terminal


def asked(terminal: ClientConnection, line: str, pattern: str) -> None:
    """Types a line at a prompt, which is echoed, and waits for what it writes and the next prompt."""
    terminal.send(f"{line}\n".encode())
    answer = re.compile(rf"{re.escape(line)}\r\n{pattern}\r\n> ")
    shown_until(terminal, answer.fullmatch)


def last_event(terminal: ClientConnection) -> dict[str, Any]:
    """The event after which the server closes the connection."""
    event: dict[str, Any] = {}
    try:
        while True:
            message = terminal.recv(timeout=20)
            if isinstance(message, str):
                event = json.loads(message)
    except ConnectionClosed:
        return event


def test_what_is_typed_is_echoed_answered_and_ends_with_its_status(server: serving.Served, sandbox: str) -> None:
    with join(server, sandbox, detached_shell(server, sandbox)) as terminal:
        prompted(terminal)
        asked(terminal, "echo $((6 * 7))", "42")
        asked(terminal, "tty", "/dev/pts/[0-9]+")
        terminal.send(b"exit 7\n")
        event = last_event(terminal)
    assert event["event"] == "exited"
    assert (event["result"]["exit_code"], event["result"]["signal"]) == (7, None)
    assert event["result"]["run_id"]


def test_a_new_size_is_seen_in_the_guest(server: serving.Served, sandbox: str) -> None:
    with join(server, sandbox, detached_shell(server, sandbox)) as terminal:
        prompted(terminal)
        asked(terminal, "stty size", "24 80")
        terminal.send(json.dumps({"resize": {"columns": 132, "rows": 43}}))
        asked(terminal, "stty size", "43 132")


def test_a_key_interrupts(server: serving.Served, sandbox: str) -> None:
    with join(server, sandbox, detached_shell(server, sandbox)) as terminal:
        prompted(terminal)
        asked(terminal, "echo $((3 + 3))", "6")
        # What says so is in the terminal's foreground by then, which the shell alone cannot know of `sleep`.
        terminal.send(b"sh -c 'echo asleep; exec sleep 1000'\n")
        shown_until(terminal, lambda shown: "\nasleep\r\n" in shown)
        terminal.send(b"\x03")
        prompted(terminal)
        asked(terminal, "echo $((5 + 5))", "10")


def test_a_client_that_goes_away_leaves_a_detached_process(server: serving.Served, sandbox: str) -> None:
    process = detached_shell(server, sandbox)
    with join(server, sandbox, process) as terminal:
        prompted(terminal).send(b"here=yes\n")
        shown_until(terminal, lambda shown: shown == "here=yes\r\n> ")
        # Not closed: the connection is cut, as when a client dies.
        terminal.socket.close()
    with join(server, sandbox, process) as terminal:
        shown_until(terminal, lambda shown: shown == "> here=yes\r\n> ")
        asked(terminal, "echo $here", "yes")
        terminal.send(b"exit\n")
        assert last_event(terminal)["result"]["exit_code"] == 0


def test_the_end_of_a_process_that_is_not_detached_is_told(server: serving.Served, sandbox: str) -> None:
    with server.process(sandbox, **SHELL) as process, join(server, sandbox, process.id) as terminal:
        prompted(terminal)
        asked(terminal, "echo $((1 + 1))", "2")
        process.let_go()
        event = last_event(terminal)
    assert (event["event"], event["result"]["signal"]) == ("exited", 9)


@pytest.mark.parametrize("word", ["resize", "{}", '{"resize": {"columns": -1, "rows": 1}}', '{"close": {}}'])
def test_a_word_that_is_none_ends_the_connection_alone(server: serving.Served, sandbox: str, word: str) -> None:
    process = detached_shell(server, sandbox)
    with join(server, sandbox, process) as terminal:
        terminal.send(word)
        assert last_event(terminal) == {}
    with join(server, sandbox, process) as terminal:
        prompted(terminal)
        asked(terminal, "echo $((2 + 2))", "4")


def test_who_may_not_join_is_told_before_the_handshake(server: serving.Served, sandbox: str) -> None:
    for process, token, status in ((999, serving.TOKEN, 404), (1, "another-token-than-that-one", 401)):
        with pytest.raises(InvalidStatus) as caught:
            join(server, sandbox, process, token)
        assert caught.value.response.status_code == status
        assert caught.value.response.headers["content-type"] == "application/problem+json"
    server.refused(400, "GET", f"/v1/sandboxes/{sandbox}/processes/1/terminal")
