//! What an app may connect to, and what connects to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::{EgressGrant, IngressPort, NetworkMode};

/// What an app may connect to, and what connects to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether there is any.
    pub mode: NetworkMode,
    /// What it may connect to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressGrant>,
    /// Ports of it that the host offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<IngressPort>,
    /// Who answers its questions for names.
    #[serde(default, skip_serializing_if = "Dns::is_granted")]
    pub dns: Dns,
}

impl Network {
    /// Nothing at all.
    pub const NONE: Self = Self {
        mode: NetworkMode::None,
        egress: Vec::new(),
        ports: Vec::new(),
        dns: Dns::Granted,
    };

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::NONE
    }
}

/// Who answers questions for names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Dns {
    /// The host, for the names that egress grants.
    #[default]
    Granted,
    /// Nobody.
    None,
    /// The host, by way of this resolver, for the names that egress grants.
    Resolver {
        /// Its address or name.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Dns {
    fn is_granted(&self) -> bool {
        *self == Self::Granted
    }
}
