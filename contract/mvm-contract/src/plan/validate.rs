//! The rules of a plan that need nothing but the plan.

use super::{ImageSourceKind, NetworkMode, Plan};
use crate::{SpecError, spec::validate_variable};

/// Bounds of a nonce, in characters: 128 bits at least.
const NONCE_CHARACTERS: std::ops::RangeInclusive<usize> = 32..=128;
/// The longest text in a plan, in bytes, where nothing else bounds it.
const MAX_TEXT_BYTES: usize = 1024;
/// The longest principal, in bytes.
const MAX_PRINCIPAL_BYTES: usize = 128;

/// In what a plan contradicts itself. The texts repeat names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanFlaw {
    /// The nonce is short, long, or not lowercase hexadecimal.
    #[error("the nonce is not 32 to 128 lowercase hexadecimal digits")]
    Nonce,
    /// The validity ends before it begins.
    #[error("the validity ends before it begins")]
    Validity,
    /// The principal is empty, long, or has characters that a line of a log cannot hold.
    #[error("the principal is not 1 to 128 printable ASCII characters without spaces")]
    Principal,
    /// A resource is out of its range.
    #[error("a resource is out of its range")]
    Resources(#[source] SpecError),
    /// The image's source is of no known kind.
    #[error("the image's source is of no known kind")]
    ImageSource,
    /// The agent's version is empty or long.
    #[error("the agent's version is not 1 to 1024 printable ASCII characters")]
    AgentVersion,
    /// A variable's name cannot be one.
    #[error("an environment variable has a name that cannot be one")]
    VariableName,
    /// The working directory is not an absolute path.
    #[error("the working directory is not an absolute path of the guest")]
    WorkingDirectory,
    /// The user cannot be one.
    #[error("the user is empty, long, or has control characters")]
    User,
    /// A limit in time is zero.
    #[error("`{field}` is 0, which ends the sandbox before it begins")]
    ZeroSeconds {
        /// Which one.
        field: &'static str,
    },
    /// A snapshot is named on a path that starts from none, or none where one is needed.
    #[error("launch path `{path}` and the snapshot do not go together")]
    Origin {
        /// The path.
        path: &'static str,
    },
    /// There are grants in a mode that has none, or none in one that needs them.
    #[error("the network's mode and its grants do not go together")]
    Network,
}

impl PlanFlaw {
    /// The flaw's stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Nonce => "MVM-PLAN-NONCE",
            Self::Validity => "MVM-PLAN-VALIDITY",
            Self::Principal => "MVM-PLAN-PRINCIPAL",
            Self::Resources(_) => "MVM-PLAN-RESOURCES",
            Self::ImageSource => "MVM-PLAN-IMAGE-SOURCE",
            Self::AgentVersion => "MVM-PLAN-AGENT-VERSION",
            Self::VariableName => "MVM-PLAN-VARIABLE-NAME",
            Self::WorkingDirectory => "MVM-PLAN-WORKING-DIRECTORY",
            Self::User => "MVM-PLAN-USER",
            Self::ZeroSeconds { .. } => "MVM-PLAN-ZERO-SECONDS",
            Self::Origin { .. } => "MVM-PLAN-ORIGIN",
            Self::Network => "MVM-PLAN-NETWORK",
        }
    }
}

impl Plan {
    /// Checks every rule that needs nothing but the plan.
    pub fn validate(&self) -> Result<(), PlanFlaw> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        ensure(
            NONCE_CHARACTERS.contains(&self.nonce.len()) && self.nonce.bytes().all(hexadecimal),
            PlanFlaw::Nonce,
        )?;
        ensure(
            self.validity.not_before < self.validity.not_after,
            PlanFlaw::Validity,
        )?;
        ensure(
            is_printable(&self.principal, MAX_PRINCIPAL_BYTES),
            PlanFlaw::Principal,
        )?;
        self.resources.validate().map_err(PlanFlaw::Resources)?;
        ensure(
            ImageSourceKind::of(&self.image.source).is_some() && is_text(&self.image.source),
            PlanFlaw::ImageSource,
        )?;
        ensure(
            is_printable(&self.agent_version, MAX_TEXT_BYTES),
            PlanFlaw::AgentVersion,
        )?;
        for name in self.environment.keys() {
            let valid = validate_variable(name, "").is_ok() && is_text(name);
            ensure(valid, PlanFlaw::VariableName)?;
        }
        if let Some(path) = &self.working_directory {
            let valid = path.starts_with('/') && is_text(path);
            ensure(valid, PlanFlaw::WorkingDirectory)?;
        }
        if let Some(user) = &self.user {
            ensure(is_text(user), PlanFlaw::User)?;
        }
        for (field, seconds) in [
            ("ttl_seconds", self.ttl_seconds),
            ("limits.start_seconds", self.limits.start_seconds),
            ("limits.command_seconds", self.limits.command_seconds),
        ] {
            ensure(seconds != Some(0), PlanFlaw::ZeroSeconds { field })?;
        }
        let path = self.origin.path;
        ensure(
            path.starts_from_snapshot() == self.origin.snapshot.is_some(),
            PlanFlaw::Origin {
                path: path.as_str(),
            },
        )?;
        ensure(
            (self.network.mode == NetworkMode::None) == self.network.grants.is_empty(),
            PlanFlaw::Network,
        )
    }
}

fn ensure(holds: bool, flaw: PlanFlaw) -> Result<(), PlanFlaw> {
    if holds { Ok(()) } else { Err(flaw) }
}

/// Whether a text is one word of printable ASCII.
pub(crate) fn is_printable(text: &str, limit: usize) -> bool {
    (1..=limit).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text can stand in a line: not empty, not endless, no control characters.
fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}
