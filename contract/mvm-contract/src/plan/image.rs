//! The root filesystem a plan names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// A root filesystem, by what it is and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanImage {
    /// How the user named it, such as `debian:python`.
    pub source: String,
    /// Digest of the root filesystem in the content store.
    pub digest: Digest,
    /// How far its origin was verified when it was made.
    pub verdict: ImageVerdict,
}

/// How far an image's origin was verified. The host compares it with what its store says.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ImageVerdict {
    /// Every byte is what the source's own manifest names.
    DigestVerified,
    /// Every byte comes from an archive whose signature was verified.
    ArchiveSigned,
}

/// The kinds of image sources.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSourceKind {
    /// `debian:NAME`.
    Debian,
    /// `nix:FLAKE#ATTRIBUTE`.
    Nix,
    /// `oci:REFERENCE`.
    Oci,
    /// `oci-layout:DIRECTORY[:REFERENCE]`.
    OciLayout,
    /// `oci-archive:FILE[:REFERENCE]`.
    OciArchive,
}

impl ImageSourceKind {
    /// The kind of a source as users write it, without a look at what follows the colon.
    #[must_use]
    pub fn of(source: &str) -> Option<Self> {
        match source.split_once(':')? {
            (_, "") => None,
            ("debian", _) => Some(Self::Debian),
            ("nix", _) => Some(Self::Nix),
            ("oci", _) => Some(Self::Oci),
            ("oci-layout", _) => Some(Self::OciLayout),
            ("oci-archive", _) => Some(Self::OciArchive),
            _ => None,
        }
    }
}

/// Whether a source names the digest of what it is (`...@sha256:HEX`), so that nobody can put
/// something else in its place.
#[must_use]
pub fn is_pinned(source: &str) -> bool {
    source
        .rsplit_once('@')
        .is_some_and(|(_, digest)| digest.parse::<Digest>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_pins_are_read_off_the_text() {
        let pin = Digest::of(b"");
        for (text, kind) in [
            ("debian:python", ImageSourceKind::Debian),
            ("nix:.#app", ImageSourceKind::Nix),
            ("oci:registry.example/a", ImageSourceKind::Oci),
            ("oci-layout:/images/a", ImageSourceKind::OciLayout),
            ("oci-archive:/images/a.tar:v1", ImageSourceKind::OciArchive),
        ] {
            assert_eq!(ImageSourceKind::of(text), Some(kind), "{text}");
        }
        for text in ["debian", "debian:", "docker:x", "", ":x"] {
            assert_eq!(ImageSourceKind::of(text), None, "{text}");
        }
        assert!(is_pinned(&format!("oci:registry.example/a@{pin}")));
        assert!(!is_pinned("oci:registry.example/a:latest"));
        assert!(!is_pinned("oci:registry.example/a@sha256:00"));
        assert!(!is_pinned(&format!("oci:registry.example/a@{pin}:tag")));
    }
}
