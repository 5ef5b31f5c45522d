"""What an app may connect to, and what connects to it."""

from __future__ import annotations

from .value import Declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal


class Network(Declared):
    """What an app may connect to, and what connects to it."""

    __slots__ = ()


class Egress(Declared):
    """Destinations."""

    __slots__ = ()


class HostPort(Declared):
    """One destination."""

    __slots__ = ()


class Port(Declared):
    """One port that the host offers."""

    __slots__ = ()


class Dns(Declared):
    """Who answers questions for names."""

    __slots__ = ()


def network(
    mode: Literal["none", "deny", "grants", "bridge"] | None = None,
    *,
    egress: Egress | Sequence[HostPort] | None = None,
    ports: Sequence[int | Port | Mapping[str, Any]] | None = None,
    dns: Dns | None = None,
) -> Network:
    """What may be connected to, and the ports that the host offers. Without either there is no network."""
    return Network("network", locals())


def egress(allowlist: Sequence[HostPort] | None = None, *, hosts: Sequence[HostPort] | None = None) -> Egress:
    """Exactly these destinations; there are no wildcards."""
    return Egress("egress", locals())


def host_port(
    host: str,
    port: int,
    *,
    protocol: Literal["tcp", "tls", "http"] | None = None,
    proto: Literal["tcp", "tls", "http"] | None = None,
) -> HostPort:
    """A host by its name, a port from 1 to 65,535, and what is spoken there (`tcp`: anything)."""
    return HostPort("host_port", locals())


def port(
    guest: int | None = None,
    *,
    guest_port: int | None = None,
    host: int | None = None,
    host_port: int | None = None,
    address: str | None = None,
    proto: Literal["tcp"] | None = None,
    protocol: Literal["tcp"] | None = None,
) -> Port:
    """A port of the guest; the host's port (any that is free) and address (127.0.0.1)."""
    return Port("port", locals())


def dns_none() -> Dns:
    """Nobody answers."""
    return Dns("dns_none", {})


def dns_system() -> Dns:
    """The host answers, for the names that egress grants."""
    return Dns("dns_system", {})


def dns_resolver(host: str, port: int | None = None) -> Dns:
    """The host answers by way of this resolver (port 53), for the names that egress grants."""
    return Dns("dns_resolver", locals())
