//! Files an app finds: volumes, mounts, and files inside the document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Storage that apps mount by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its size in MiB, 1 or more.
    pub size_mib: u32,
    /// Whether it outlives the apps that mount it.
    #[serde(default)]
    pub persistent: bool,
}

/// Something mounted into an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where: an absolute path of the guest.
    pub target: String,
    /// Whether it may only be read.
    #[serde(default)]
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MountSource {
    /// A volume of the workload.
    Volume {
        /// Its name.
        name: String,
    },
    /// A directory of the host.
    HostPath {
        /// Its absolute path.
        path: String,
    },
    /// Memory of the guest.
    Tmpfs {
        /// The most it takes, in MiB.
        size_mib: u32,
    },
}

/// A file whose content the document holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedFile {
    /// Where: an absolute path of the guest.
    pub path: String,
    /// Its bytes, in base64 with padding (RFC 4648, section 4).
    pub content_base64: String,
    /// Its permission bits; 420, which is 0o644, where it is left out.
    #[serde(default = "default_mode", skip_serializing_if = "is_default_mode")]
    pub mode: u32,
}

impl EmbeddedFile {
    /// Permission bits of a file that does not say.
    pub const DEFAULT_MODE: u32 = 0o644;
}

const fn default_mode() -> u32 {
    EmbeddedFile::DEFAULT_MODE
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_default_mode(mode: &u32) -> bool {
    *mode == EmbeddedFile::DEFAULT_MODE
}
