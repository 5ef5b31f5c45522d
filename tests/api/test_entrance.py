"""Who is let in, and what is too large or too slow to be read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import serving
from conftest import Serve

MOST_JSON = 4 << 20


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer another-token-than-that-one",
        f"Bearer {serving.TOKEN}x",
        f"Bearer {serving.TOKEN[:-1]}",
        f"Basic {serving.TOKEN}",
        serving.TOKEN,
    ],
)
def test_without_the_token_nothing_is_answered_but_health(server: serving.Served, authorization: str | None) -> None:
    client = server.client_with({"Authorization": authorization} if authorization is not None else {})
    assert client.get("/healthz").status_code == httpx.codes.OK
    for method, path in (("GET", "/v1/host"), ("GET", "/metrics"), ("GET", "/none"), ("POST", "/v1/leases")):
        problem = serving.problem(client.request(method, path), 401)
        assert (problem["code"], problem["retryable"]) == ("PolicyDenied", False)
        assert problem["hint"] == "send `Authorization: Bearer TOKEN`"
        assert serving.TOKEN not in json.dumps(problem)


def test_the_token_is_in_no_log(server: serving.Served) -> None:
    server.client.get("/v1/host")
    assert serving.TOKEN not in server.log.read_text()


def test_a_short_token_and_an_open_address_are_refused(tmp_path: Path) -> None:
    short, token = tmp_path / "short", tmp_path / "token"
    short.write_text("too-short")
    token.write_text(serving.TOKEN)
    for place, said in (
        (["--listen", "127.0.0.1:0", "--token-file", str(short)], "openssl rand"),
        (["--listen", "0.0.0.0:0", "--token-file", str(token)], "--certificate"),
        (["--listen", "127.0.0.1:0"], "--token-file"),
    ):
        ended = subprocess.run(
            [serving.mvmctl(), "serve", *place], check=False, capture_output=True, text=True, timeout=20
        )
        assert ended.returncode != 0
        assert said in ended.stderr


CONNECT = """
import os, socket, sys
for path, user in zip(sys.argv[1::2], sys.argv[2::2]):
    if os.fork() == 0:
        if int(user) != os.getuid():
            os.setgroups([]); os.setgid(int(user)); os.setuid(int(user))
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        try:
            client.connect(path)
        except PermissionError:
            print(user, "may not connect", flush=True)
            os._exit(0)
        try:
            client.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: mvm\\r\\nConnection: close\\r\\n\\r\\n")
            said = client.recv(15).decode()
        except ConnectionError:
            said = ""
        print(user, said or "hung up", flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_unix_socket_answers_its_user_alone(tmp_path: Path) -> None:
    """Permissions keep others out; where they do not, the server asks the kernel who has connected."""
    # Directories of pytest are closed to others, who are to come as far as the socket.
    place = Path(f"/tmp/mvm-entrance-{os.getpid()}")
    server = serving.start(place)
    try:
        place.chmod(0o755)
        assert server.socket is not None
        path = str(server.socket)
        assert server.socket.stat().st_mode & 0o777 == 0o600

        def tried() -> str:
            users = [path, "0", path, "65534"]
            return subprocess.check_output([sys.executable, "-c", CONNECT, *users], text=True)

        assert tried() == "0 HTTP/1.1 200 OK\n65534 may not connect\n"
        server.socket.chmod(0o666)
        assert tried() == "0 HTTP/1.1 200 OK\n65534 hung up\n"
        assert "refused a connection of another user" in server.log.read_text()
    finally:
        server.end()
        for file in place.iterdir():
            file.unlink()
        place.rmdir()


def test_bodies_are_bounded_where_they_are_read_at_once(server: serving.Served) -> None:
    fits, too_large = b'{"argv": ["true"], "user": "%s"}', MOST_JSON + 1
    for path in ("/v1/sandboxes/x/exec", "/v1/leases", "/v1/sandboxes"):
        body = fits % (b"x" * too_large)
        headers = {"Content-Type": "application/json"}
        problem = server.refused(413, "POST", path, content=body, headers=headers)
        assert problem["code"] == "InvalidArgument"
    assert server.refused(413, "POST", "/v1/receipts/verify", content=b"x" * too_large)["code"] == "InvalidArgument"


def test_a_file_is_not_bounded(server: serving.Served) -> None:
    size = 3 * MOST_JSON
    with server.leased() as sandbox:
        path, at = f"/v1/sandboxes/{sandbox}/files", {"path": "/root/large"}
        assert server.ask("PUT", path, params=at, content=os.urandom(size)) == {"bytes": size}
        assert server.ask("GET", f"{path}/stat", params=at)["size"] == size


def test_a_head_is_bounded_in_size(server: serving.Served) -> None:
    for size, status in ((30_000, 200), (70_000, 431)):
        assert server.client.get("/healthz", headers={"X-Filler": "x" * size}).status_code == status


def test_a_head_is_bounded_in_time(server: serving.Served) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        # Some 10 seconds later it is closed; 20 would be a failure.
        assert client.recv(1024) in (b"", b"HTTP/1.1 408 Request Timeout\r\n")


def test_what_is_no_route_no_method_or_no_json_is_a_problem(server: serving.Served) -> None:
    assert server.refused(404, "GET", "/v1/nothing")["hint"] == "see `/openapi.json`"
    assert server.refused(405, "PATCH", "/v1/sandboxes")["code"] == "InvalidArgument"
    server.refused(415, "POST", "/v1/sandboxes", content=b"{}")
    headers = {"Content-Type": "application/json"}
    assert "line 1" in server.refused(400, "POST", "/v1/sandboxes", content=b"{", headers=headers)["detail"]
    unknown = server.refused(400, "POST", "/v1/sandboxes", json={"ttl_seconds": 9, "memory": 1})
    assert "`memory`" in unknown["detail"]


def test_the_document_that_is_served_is_the_published_one(server: serving.Served) -> None:
    published = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
    assert server.ask("GET", "/openapi.json") == serving.document(published)


def test_answers_are_kept_by_nobody(serve: Serve) -> None:
    headers = serve().client.get("/v1/sandboxes").headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
