"""The server that this process starts for itself.

It is a child, `mvmctl serve --private`, whose standard input is a pipe that only this process holds. The
kernel closes the pipe however this process ends, and the server ends with it, and with the server every
sandbox that was not detached.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
from typing import IO

from mvm.endpoint import Endpoint
from mvm.errors import TransportError

_START_SECONDS = 20.0

_lock = threading.Lock()
_server: _PrivateServer | None = None
_watches_forks = False
_inherited_sockets: list[int] = []


class _PrivateServer:
    def __init__(self) -> None:
        self.owner = os.getpid()
        program = find_mvmctl()
        # Kept in a file without a name: a pipe that nobody reads would stop the server when it is full.
        with tempfile.TemporaryFile() as said:
            try:
                # A session of its own, so that an interrupt typed at the terminal reaches this process
                # alone, which then ends its sandboxes in order.
                self._child = subprocess.Popen(
                    [program, "serve", "--private"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,
                )
            except OSError as error:
                raise TransportError(
                    f"`{program}` cannot be started", causes=[str(error)], hint=_BINARY_HINT
                ) from error
            assert self._child.stdout is not None
            with self._child.stdout as announcement:
                try:
                    socket = str(json.loads(_first_line(announcement))["socket"])
                except (ValueError, KeyError, TypeError) as error:
                    self.end()
                    said.seek(0)
                    told = said.read()[-2000:].decode("utf-8", "replace").strip()
                    raise TransportError(
                        f"`{program} serve --private` did not start",
                        causes=[told] if told else [],
                        hint="see what the host lacks with `mvmctl doctor`, prepare it with `mvmctl setup`",
                    ) from error
        self.endpoint = Endpoint("http://mvm", socket)

    def is_usable(self) -> bool:
        return self.owner == os.getpid() and self._child.poll() is None

    def end(self) -> None:
        self.let_go()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def let_go(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()


def _first_line(stream: IO[bytes]) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([stream], [], [], _START_SECONDS)[0]:
            break
        piece = os.read(stream.fileno(), 4096)
        if not piece:
            break
        line += piece
    return line


_BINARY_HINT = "name the mvmctl binary with MVM_MVMCTL, or put it on the PATH, or name a server with MVM_URL"


def find_mvmctl() -> str:
    """The path of mvmctl: of `MVM_MVMCTL`, else of this package, else of the PATH. Raises `TransportError`."""
    named = os.environ.get("MVM_MVMCTL")
    if named:
        if not os.access(named, os.X_OK):
            raise TransportError(f"`MVM_MVMCTL` names `{named}`, which is no program", hint=_BINARY_HINT)
        return named
    carried = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_bin", "mvmctl")
    if os.access(carried, os.X_OK):
        return carried
    found = shutil.which("mvmctl")
    if found is None:
        raise TransportError("there is no `mvmctl` to start a server with", hint=_BINARY_HINT)
    return found


def running_private_endpoint() -> Endpoint | None:
    """The private server of this process if it runs."""
    server = _server
    return server.endpoint if server is not None and server.is_usable() else None


def private_endpoint() -> Endpoint:
    """The private server of this process, started if it does not run. Raises `TransportError`."""
    global _server
    with _lock:
        running = running_private_endpoint()
        if running is not None:
            return running
        watch_forks()
        _server = _PrivateServer()
        return _server.endpoint


def watch_forks() -> None:
    """Sees to it that a child of `os.fork` does not keep alive what belongs to its parent."""
    global _watches_forks
    if not _watches_forks:
        _watches_forks = True
        os.register_at_fork(after_in_child=_forget_the_parents)
        atexit.register(_end_in_order)


def note_lease_socket(descriptor: int) -> None:
    """Remembers the connection of a lease: a forked child closes its copy, or the lease would outlive its owner."""
    _inherited_sockets.append(descriptor)


def forget_lease_socket(descriptor: int) -> None:
    """The connection is closed, its number may be another file's."""
    if descriptor in _inherited_sockets:
        _inherited_sockets.remove(descriptor)


def _end_in_order() -> None:
    server = _server
    if server is not None and server.is_usable():
        server.end()


def _forget_the_parents() -> None:
    global _server, _lock
    _lock = threading.Lock()
    server, _server = _server, None
    if server is not None:
        server.let_go()
    # A null device in their place: the objects that hold these numbers may still close them.
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in _inherited_sockets:
        os.dup2(null, descriptor, inheritable=False)
    _inherited_sockets.clear()
    os.close(null)
