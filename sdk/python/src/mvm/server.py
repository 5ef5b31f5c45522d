"""Where the server is: what the environment names, or a private child of this process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from .errors import BackendUnsupported, InvalidArgument, TransportError

URL_VARIABLE = "MVM_URL"
TOKEN_VARIABLE = "MVM_TOKEN"
PROGRAM_VARIABLE = "MVM_MVMCTL"


@dataclass(frozen=True)
class Address:
    """How a server is reached."""

    base_url: str
    socket: str | None = None
    token: str | None = None


def parse(url: str, token: str | None = None) -> Address:
    """The address that a URL (`unix:///path`, `http://...`, `https://...`) names."""
    if url.startswith("unix://"):
        return Address("http://mvm", socket=url.removeprefix("unix://"))
    if url.startswith(("http://", "https://")):
        return Address(url.rstrip("/"), token=token)
    raise InvalidArgument(
        f"`{url}` is not the address of a server",
        hint="use unix:///path, http://host:port or https://host:port",
    )


class _Private:
    """A server that lives as long as this process: it ends when its standard input does.

    The pipe's end is held open by this process alone (Python does not pass it on to children), so
    that the server, and with it every leased sandbox, is gone however this process dies.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        program = _program()
        try:
            self.child = subprocess.Popen(
                [program, "serve", "--private"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise BackendUnsupported(
                f"failed to start `{program}`: {error.strerror}",
                hint=f"install mvmctl, or name it with {PROGRAM_VARIABLE}",
            ) from error
        pipe = self.child.stdin
        assert pipe is not None and self.child.stdout is not None
        # A child by fork alone must not keep the server alive for its parent.
        os.register_at_fork(after_in_child=pipe.close)
        line = self.child.stdout.readline()
        try:
            self.socket = str(json.loads(line)["socket"])
        except (ValueError, KeyError) as error:
            self.child.wait()
            raise TransportError(
                "the private server ended before it listened",
                hint=f"see why: `{program} serve --private`",
            ) from error


def _program() -> str:
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        return named
    carried = Path(__file__).with_name("_bin") / "mvmctl"
    if carried.exists():
        return str(carried)
    found = shutil.which("mvmctl")
    if found:
        return found
    raise BackendUnsupported(
        "there is no mvmctl on this machine's PATH",
        hint=f"install mvm, name its mvmctl with {PROGRAM_VARIABLE}, or a server with "
        f"{URL_VARIABLE}",
    )


_lock = threading.Lock()
_private: _Private | None = None


def locate() -> Address:
    """The address of the server to use; a private one is started on first use."""
    url = os.environ.get(URL_VARIABLE)
    if url:
        return parse(url, os.environ.get(TOKEN_VARIABLE))
    global _private
    with _lock:
        current = _private
        # After a fork it is the parent's, and one that died is nobody's.
        if current is None or current.pid != os.getpid() or current.child.poll() is not None:
            current = _private = _Private()
        return Address("http://mvm", socket=current.socket)
