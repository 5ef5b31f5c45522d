//! Values of environment variables: text, or a reference to a secret, never a secret.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an environment variable is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum EnvironmentValue {
    /// This text.
    Literal {
        /// The text.
        value: String,
    },
    /// A placeholder, for which the host puts the secret into requests to the hosts it is bound to.
    Secret {
        /// The secret's name in the host's store.
        name: String,
        /// The only hosts it is sent to; at least one.
        hosts: Vec<String>,
        /// How it is sent.
        #[serde(
            rename = "type",
            default,
            skip_serializing_if = "SecretKind::is_bearer"
        )]
        secret: SecretKind,
    },
}

/// How a secret is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretKind {
    /// As a bearer token (RFC 6750).
    #[default]
    Bearer,
    /// As a password (RFC 7617).
    Basic,
    /// It signs requests as AWS Signature Version 4 does.
    Sigv4,
    /// It signs bodies with HMAC (RFC 2104).
    Hmac,
}

impl SecretKind {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    const fn is_bearer(&self) -> bool {
        matches!(self, Self::Bearer)
    }
}
