//! What a sandbox is asked to be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Coded, ErrorCode, SandboxName};

/// The image a sandbox gets when none is named.
pub const DEFAULT_IMAGE: &str = "debian:python";

/// A request for a sandbox. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSpec {
    /// The image: `debian:NAME`, `oci:HOST/PATH[:TAG]`, `oci-layout:DIRECTORY[:REFERENCE]` or
    /// `oci-archive:FILE[:REFERENCE]`.
    #[serde(default = "default_image")]
    pub image: String,
    /// A name to find it by, unique on the host while the sandbox exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SandboxName>,
    /// What the microVM may use.
    #[serde(default)]
    pub resources: Resources,
    /// Environment of every command, over the image's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Working directory of commands that name none, over the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// User of commands that name none, over the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The sandbox is destroyed so many seconds after its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

fn default_image() -> String {
    DEFAULT_IMAGE.to_owned()
}

impl Default for SandboxSpec {
    fn default() -> Self {
        Self {
            image: default_image(),
            name: None,
            resources: Resources::default(),
            environment: BTreeMap::new(),
            working_directory: None,
            user: None,
            ttl_seconds: None,
        }
    }
}

/// What a microVM may use of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Virtual processors, 1 to 8.
    pub vcpus: u32,
    /// Guest memory in MiB, 128 to 65,536.
    pub memory_mib: u32,
    /// Size of the sandbox's own disk in MiB, 64 to 1,048,576. It is sparse: only what is
    /// written takes room on the host.
    pub disk_mib: u32,
}

impl Resources {
    /// Allowed virtual processors.
    pub const VCPUS: std::ops::RangeInclusive<u32> = 1..=8;
    /// Allowed guest memory in MiB. Below the minimum a Debian guest has no room for a program.
    pub const MEMORY_MIB: std::ops::RangeInclusive<u32> = 128..=65_536;
    /// Allowed disk size in MiB.
    pub const DISK_MIB: std::ops::RangeInclusive<u32> = 64..=1_048_576;

    /// Checks that each is within what is allowed.
    pub fn validate(&self) -> Result<(), SpecError> {
        let Self {
            vcpus,
            memory_mib,
            disk_mib,
        } = *self;
        for (resource, range, given, unit) in [
            ("number of virtual processors", Self::VCPUS, vcpus, ""),
            ("memory", Self::MEMORY_MIB, memory_mib, " MiB"),
            ("disk", Self::DISK_MIB, disk_mib, " MiB"),
        ] {
            if !range.contains(&given) {
                let (minimum, maximum) = (*range.start(), *range.end());
                return Err(SpecError::ResourceOutOfRange {
                    resource,
                    minimum,
                    maximum,
                    given,
                    unit,
                });
            }
        }
        Ok(())
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            vcpus: 1,
            memory_mib: 256,
            disk_mib: 4096,
        }
    }
}

/// Why a specification is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A resource is out of its range.
    #[error("{resource} must be between {minimum} and {maximum}{unit}, not {given}{unit}")]
    ResourceOutOfRange {
        /// Which resource, as the user knows it.
        resource: &'static str,
        /// The smallest allowed.
        minimum: u32,
        /// The largest allowed.
        maximum: u32,
        /// What was asked for.
        given: u32,
        /// Unit of the numbers, with a leading space, or empty.
        unit: &'static str,
    },
    /// A variable's name cannot be one.
    #[error("`{name}` cannot be the name of an environment variable")]
    VariableName {
        /// What was given.
        name: String,
    },
    /// A variable's value cannot be one.
    #[error("the value of environment variable `{name}` contains a NUL byte")]
    VariableValue {
        /// The variable.
        name: String,
    },
    /// The working directory is not absolute.
    #[error("working directory `{path}` is not an absolute path of the guest")]
    WorkingDirectory {
        /// What was given.
        path: String,
    },
    /// The time to live is zero.
    #[error("a time to live of 0 seconds ends the sandbox before it begins")]
    ZeroTtl,
}

impl Coded for SpecError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::ResourceOutOfRange {
                minimum,
                unit,
                resource,
                ..
            } => Some(format!("ask for a {resource} of at least {minimum}{unit}")),
            Self::ZeroTtl => Some("leave the time to live out for none".to_owned()),
            _ => None,
        }
    }
}

impl SandboxSpec {
    /// Checks every rule that needs nothing but the specification itself.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.resources.validate()?;
        for (name, value) in &self.environment {
            validate_variable(name, value)?;
        }
        if let Some(path) = &self.working_directory
            && !path.starts_with('/')
        {
            return Err(SpecError::WorkingDirectory { path: path.clone() });
        }
        if self.ttl_seconds == Some(0) {
            return Err(SpecError::ZeroTtl);
        }
        Ok(())
    }
}

/// Checks one environment variable: the name is not empty and holds neither `=` nor NUL, the
/// value holds no NUL.
pub fn validate_variable(name: &str, value: &str) -> Result<(), SpecError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(SpecError::VariableName {
            name: name.to_owned(),
        });
    }
    if value.contains('\0') {
        return Err(SpecError::VariableValue {
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_is_the_default() {
        let spec: SandboxSpec = serde_json::from_str("{}").unwrap();
        assert_eq!(spec, SandboxSpec::default());
        assert_eq!(spec.validate(), Ok(()));
    }

    #[test]
    fn a_field_that_is_not_enforced_is_refused() {
        let error = serde_json::from_str::<SandboxSpec>(r#"{"network":{}}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `network`"),
            "{error}"
        );
    }

    #[test]
    fn too_little_memory_names_the_least() {
        let mut spec = SandboxSpec::default();
        spec.resources.memory_mib = 1;
        let error = spec.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "memory must be between 128 and 65536 MiB, not 1 MiB"
        );
        assert_eq!(
            error.hint().unwrap(),
            "ask for a memory of at least 128 MiB"
        );
    }

    #[test]
    fn variables_that_the_kernel_would_misread_are_refused() {
        assert!(validate_variable("A=B", "c").is_err());
        assert!(validate_variable("", "c").is_err());
        assert!(validate_variable("A", "b\0c").is_err());
        assert!(validate_variable("A", "b=c\n").is_ok());
    }
}
