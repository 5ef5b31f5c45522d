//! The rules of an app's network.

use std::{collections::BTreeSet, net::IpAddr};

use super::Report;
use crate::{
    plan::NetworkMode,
    workload::{Dns, Network, WorkloadFlaw},
};

pub(super) fn check(network: &Network, at: &str, report: &mut Report) {
    let granted = !network.egress.is_empty() || !network.ports.is_empty();
    let consistent = match network.mode {
        NetworkMode::None => !granted && network.dns == Dns::Granted,
        NetworkMode::Grants => granted,
    };
    report.ensure(at, consistent, || WorkloadFlaw::NetworkGrants);
    for (index, grant) in network.egress.iter().enumerate() {
        let at = format!("{at}/egress/{index}");
        check_host(&grant.host, &format!("{at}/host"), report);
        check_port(grant.port, &format!("{at}/port"), report);
    }
    let mut guest = BTreeSet::new();
    let mut host = BTreeSet::new();
    for (index, port) in network.ports.iter().enumerate() {
        let at = format!("{at}/ports/{index}");
        check_port(port.guest_port, &format!("{at}/guest_port"), report);
        let mut distinct = guest.insert(port.guest_port);
        if let Some(number) = port.host_port {
            check_port(number, &format!("{at}/host_port"), report);
            distinct &= host.insert((port.address.clone(), number));
        }
        report.ensure(&at, distinct, || WorkloadFlaw::IngressDuplicate {
            port: port.guest_port,
        });
        if let Some(address) = &port.address {
            report.ensure(
                &format!("{at}/address"),
                address.parse::<IpAddr>().is_ok(),
                || WorkloadFlaw::IngressAddress {
                    address: address.clone(),
                },
            );
        }
    }
    if let Dns::Resolver { host, port } = &network.dns {
        check_host(host, &format!("{at}/dns/host"), report);
        check_port(*port, &format!("{at}/dns/port"), report);
    }
}

fn check_port(port: u16, at: &str, report: &mut Report) {
    report.ensure(at, port != 0, || WorkloadFlaw::NetworkPort);
}

/// A host is an address or a name in the form that is asked for: lowercase, ASCII (RFC 1123,
/// section 2.1), no pattern.
pub(super) fn check_host(host: &str, at: &str, report: &mut Report) {
    if host.contains('*') || host.contains('?') {
        report.add(
            at,
            WorkloadFlaw::NetworkWildcard {
                host: host.to_owned(),
            },
        );
        return;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
            })
    };
    let valid = host.parse::<IpAddr>().is_ok() || host.len() <= 253 && host.split('.').all(label);
    report.ensure(at, valid, || WorkloadFlaw::NetworkHost {
        host: host.to_owned(),
    });
}
