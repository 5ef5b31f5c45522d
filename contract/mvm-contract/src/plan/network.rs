//! What a plan grants to and from the outside. Version 1 has the fields; a host that does not
//! enforce them refuses a plan that uses them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the guest may connect to: nothing that is not granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Whether there is any network.
    pub mode: NetworkMode,
    /// What is granted in mode `grants`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<EgressGrant>,
}

impl NetworkPolicy {
    /// No network at all.
    pub const NONE: Self = Self {
        mode: NetworkMode::None,
        grants: Vec::new(),
    };
}

/// Whether a guest has a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// None.
    None,
    /// What the grants name.
    Grants,
}

/// A destination that the guest may open flows to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressGrant {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: EgressProtocol,
}

/// What is spoken on a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EgressProtocol {
    /// Bytes.
    Tcp,
    /// TLS whose server name is the granted one.
    Tls,
    /// HTTP whose host is the granted one.
    Http,
}

/// A port of the guest that the host offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressPort {
    /// The port in the guest.
    pub guest_port: u16,
    /// The port on the host; without it, any that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// The host's address; without it, 127.0.0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A secret, by its name in the host's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretReference {
    /// Its name.
    pub name: String,
    /// The only hosts it is sent to.
    pub hosts: Vec<String>,
}

/// A directory of the host that the guest sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountReference {
    /// The host's directory.
    pub source: String,
    /// Where the guest sees it.
    pub target: String,
    /// Whether the guest may only read it.
    pub read_only: bool,
}
