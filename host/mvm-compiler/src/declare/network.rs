//! What an app may connect to, and what connects to it.

use mvm_contract::{
    plan::{EgressGrant, EgressProtocol, IngressPort, NetworkMode},
    workload::{Dns, Network},
};

use super::{Arguments, Takes, image::choice};
use crate::{
    Diagnostic,
    syntax::Name,
    value::{Piece, Placed, Places, Value, ValueKind},
};

/// What a port can say where it is written as a map.
const PORT: Takes = Takes {
    positional: &["guest|guest_port"],
    named: &["host|host_port", "address", "proto|protocol"],
};

pub(super) fn network(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let mode = arguments.text("mode");
    let mut places = Places::NONE.with("", arguments.span);
    if let Some(mode) = &mode {
        places.set("/mode", mode.span);
    }
    let egress = match arguments.take("egress") {
        Some(value) => grants(arguments, value)?,
        None => Placed::default(),
    };
    places.graft("/egress", egress.places);
    let ports = match arguments.take("ports") {
        Some(value) => ports(arguments, value)?,
        None => Placed::default(),
    };
    places.graft("/ports", ports.places);
    let dns = match arguments.take("dns") {
        Some(value) => arguments.piece_of("dns", value, "a resolver", |piece| match piece {
            Piece::Dns(dns) => Some(dns),
            _ => None,
        })?,
        None => Placed::default(),
    };
    places.graft("/dns", dns.places);
    let granted = !egress.part.is_empty() || !ports.part.is_empty();
    let mode = match mode {
        Some(mode) => mode_of(arguments, &mode)?,
        None if granted => NetworkMode::Grants,
        None => NetworkMode::None,
    };
    let network = Network {
        mode,
        egress: egress.part,
        ports: ports.part,
        // Where there is no network nobody is asked for names; to say so is not to say more.
        dns: match (mode, dns.part) {
            (NetworkMode::None, Dns::None) => Dns::Granted,
            (_, dns) => dns,
        },
    };
    Some(Placed::new(Piece::Network(network), places))
}

fn mode_of(arguments: &mut Arguments, mode: &Name) -> Option<NetworkMode> {
    let (code, message, hint) = match mode.text.as_str() {
        "none" | "deny" => return Some(NetworkMode::None),
        "grants" | "bridge" => return Some(NetworkMode::Grants),
        "host" => (
            "E_UNSUPPORTED_NETWORK_HOST",
            "an app never shares the host's network".to_owned(),
            "use `grants` with the hosts it connects to",
        ),
        "custom" => (
            "E_UNSUPPORTED_NETWORK_CUSTOM",
            "networks of other providers are not supported".to_owned(),
            "use `grants` with the hosts it connects to",
        ),
        other => (
            "E_ARGUMENT_CHOICE",
            format!("`mode` of `network` cannot be `{other}`"),
            "use `none` or `grants`",
        ),
    };
    arguments.refuse(Diagnostic::error(code, mode.span, message).hint(hint));
    None
}

pub(super) fn egress(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let value = arguments.require("allowlist")?;
    let grants = grants(arguments, value)?;
    Some(grants.map(Piece::Egress))
}

/// What `egress` gives, or a list of what `host_port` gives.
fn grants(arguments: &mut Arguments, value: Value) -> Option<Placed<Vec<EgressGrant>>> {
    let ValueKind::List(values) = value.kind else {
        let expected = "`egress([…])` or a list of `host_port(…)`";
        return arguments.piece_of("egress", value, expected, |piece| match piece {
            Piece::Egress(grants) => Some(grants),
            _ => None,
        });
    };
    let mut places = Places::NONE.with("", value.span);
    let mut grants = Vec::new();
    let mut whole = true;
    for (index, value) in values.into_iter().enumerate() {
        let grant = arguments.piece_of("egress", value, "`host_port(…)`", |piece| match piece {
            Piece::Grant(grant) => Some(grant),
            _ => None,
        });
        let Some(grant) = grant else {
            whole = false;
            continue;
        };
        places.graft(&format!("/{index}"), grant.places);
        grants.push(grant.part);
    }
    whole.then(|| Placed::new(grants, places))
}

pub(super) fn host_port(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let host = arguments.require_text("host");
    let port = arguments.require_integer("port");
    let protocols = [
        ("tcp", EgressProtocol::Tcp),
        ("tls", EgressProtocol::Tls),
        ("http", EgressProtocol::Http),
    ];
    let protocol = choice(arguments, "protocol", &protocols, EgressProtocol::Tcp)?;
    let grant = EgressGrant {
        host: host?.text,
        port: port?,
        protocol,
    };
    Some(Placed::new(Piece::Grant(grant), arguments.places()))
}

fn ports(arguments: &mut Arguments, value: Value) -> Option<Placed<Vec<IngressPort>>> {
    let ValueKind::List(values) = value.kind else {
        arguments.mistyped("ports", &value, "a list of ports");
        return None;
    };
    let mut places = Places::NONE.with("", value.span);
    let mut ports = Vec::new();
    let mut whole = true;
    for (index, value) in values.into_iter().enumerate() {
        match one_port(arguments, value) {
            Some(port) => {
                places.graft(&format!("/{index}"), port.places);
                ports.push(port.part);
            }
            None => whole = false,
        }
    }
    whole.then(|| Placed::new(ports, places))
}

/// A number, a map, or what `port` gives.
fn one_port(arguments: &mut Arguments, value: Value) -> Option<Placed<IngressPort>> {
    let span = value.span;
    match value.kind {
        ValueKind::Integer(_) => {
            let port = IngressPort {
                guest_port: arguments.integer_of("ports", &value)?,
                host_port: None,
                address: None,
            };
            Some(Placed::new(port, Places::NONE.with("", span)))
        }
        ValueKind::Map(entries) => {
            let mut port = Arguments::new("port", span, arguments.language);
            let given = entries.into_iter().map(|(name, value)| (Some(name), value));
            port.bind(PORT, given.collect());
            let made = if port.is_bound {
                port_of(&mut port)
            } else {
                None
            };
            arguments.report.append(&mut port.report);
            made
        }
        kind => {
            let value = Value { kind, span };
            arguments.piece_of("ports", value, "a port", |piece| match piece {
                Piece::Port(port) => Some(port),
                _ => None,
            })
        }
    }
}

pub(super) fn port(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    Some(port_of(arguments)?.map(Piece::Port))
}

fn port_of(arguments: &mut Arguments) -> Option<Placed<IngressPort>> {
    let guest = arguments.require_integer("guest");
    let host = match arguments.take("host") {
        Some(value) => Some(arguments.integer_of("host", &value)?),
        None => None,
    };
    let address = arguments.text("address");
    if let Some(protocol) = arguments.text("proto")
        && protocol.text != "tcp"
    {
        let message = format!("ports of `{}` are not supported", protocol.text);
        arguments.refuse(
            Diagnostic::error("E_UNSUPPORTED_PORT_PROTOCOL", protocol.span, message)
                .hint("offer a port of TCP"),
        );
        return None;
    }
    let mut places = arguments.places();
    for (from, to) in [("/guest", "/guest_port"), ("/host", "/host_port")] {
        if let Some(span) = places.find(from) {
            places.set(to, span);
        }
    }
    let port = IngressPort {
        guest_port: guest?,
        host_port: host,
        address: address.map(|address| address.text),
    };
    Some(Placed::new(port, places))
}

pub(super) fn dns_none(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    Some(Placed::new(Piece::Dns(Dns::None), arguments.places()))
}

pub(super) fn dns_system(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    Some(Placed::new(Piece::Dns(Dns::Granted), arguments.places()))
}

pub(super) fn dns_resolver(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let host = arguments.require_text("host");
    let port = match arguments.take("port") {
        Some(value) => arguments.integer_of("port", &value)?,
        None => 53,
    };
    let resolver = Dns::Resolver {
        host: host?.text,
        port,
    };
    Some(Placed::new(Piece::Dns(resolver), arguments.places()))
}
