"""Where the server is: named by the environment, or a private one of this process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mvm.errors import InvalidArgument


@dataclass(frozen=True)
class Endpoint:
    """A server: the address of its requests, its Unix socket if it has one, and the token for it."""

    base_url: str
    socket: str | None = None
    token: str | None = None


def configured_endpoint() -> Endpoint | None:
    """What `MVM_URL` and `MVM_TOKEN` name; None if nothing is named. Raises `InvalidArgument`."""
    url = os.environ.get("MVM_URL")
    if not url:
        return None
    token = os.environ.get("MVM_TOKEN") or None
    parts = urlsplit(url)
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return Endpoint("http://mvm", unquote(parts.path), token)
    if parts.scheme in ("http", "https") and parts.netloc:
        return Endpoint(url.rstrip("/"), None, token)
    raise InvalidArgument(
        f"`MVM_URL` is `{url}`, which is no address of a server",
        hint="use unix:///path/of/the/socket, http://HOST:PORT or https://HOST:PORT",
    )
