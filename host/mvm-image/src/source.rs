//! How a user names an image.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use mvm_contract::{Digest, ParseDigestError};

use crate::nix::NixReference;
use crate::registry::{ParseReferenceError, RegistryReference};

/// Where an image comes from.
///
/// The text forms are `debian:NAME`, `oci-layout:DIR[:REFERENCE]`,
/// `oci-layout:DIR@sha256:HEX`, the same two with `oci-archive:FILE`,
/// `oci:HOST[:PORT]/PATH[:TAG][@sha256:HEX]`, and `nix:FLAKE#ATTRIBUTE[@sha256:HEX]`.
/// The path ends at its first colon, as it does for skopeo; a path that itself
/// has a colon cannot be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// One of the default images.
    Debian {
        /// Lowercase letters, digits and inner `-`, such as `python`.
        name: String,
    },
    /// A directory in the OCI image layout.
    OciLayout {
        /// The directory.
        directory: PathBuf,
        /// A reference name, or `@sha256:...`; needed when there are several images.
        reference: Option<String>,
    },
    /// A tar of an OCI image layout, or what `docker save` writes.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// A reference name, or `@sha256:...`; needed when there are several images.
        reference: Option<String>,
    },
    /// An image in a registry.
    Registry(RegistryReference),
    /// A package of a Nix flake.
    Nix(NixReference),
}

/// Why a text does not name an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSourceError {
    /// There is no colon, or what stands before it is not known.
    #[error("`{text}` is not an image source")]
    Scheme {
        /// The text as given.
        text: String,
    },
    /// The name after `debian:` is not a plain word.
    #[error("`{name}` is not the name of a default image")]
    DebianName {
        /// The name as given.
        name: String,
    },
    /// There is no path.
    #[error("`{text}` names no path")]
    NoPath {
        /// The text as given.
        text: String,
    },
    /// What follows `oci:` is not a reference to an image in a registry.
    #[error("`{text}` names no image in a registry")]
    Reference {
        /// The text as given.
        text: String,
        /// Why.
        #[source]
        source: ParseReferenceError,
    },
    /// What follows `nix:` is not a flake and an attribute.
    #[error("`{text}` does not name a flake and one of its attributes")]
    NixReference {
        /// The text as given.
        text: String,
    },
    /// A flake is pinned that is no directory.
    #[error("`{text}` pins a flake that is fetched")]
    NixPin {
        /// The text as given.
        text: String,
    },
    /// The digest after `@` is not one.
    #[error("`{text}` pins an invalid digest")]
    Digest {
        /// The text as given.
        text: String,
        /// Why.
        #[source]
        source: ParseDigestError,
    },
}

impl ParseSourceError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Scheme { .. } | Self::NoPath { .. } => Some(
                "use `debian:NAME`, `oci:HOST/PATH[:TAG]`, `oci-layout:DIR[:REFERENCE]`, \
                 `oci-archive:FILE[:REFERENCE]` or `nix:FLAKE#ATTRIBUTE`"
                    .into(),
            ),
            Self::DebianName { .. } => Some("use a name such as `debian:python`".into()),
            Self::Reference { source, .. } => source.hint(),
            Self::NixReference { .. } => Some(
                "use `nix:DIRECTORY#ATTRIBUTE[@sha256:HEX]`, such as `nix:./flake#default`".into(),
            ),
            Self::NixPin { .. } => {
                Some("fetch it, and pin the directory: `nix:DIRECTORY#ATTRIBUTE@sha256:HEX`".into())
            }
            Self::Digest { .. } => None,
        }
    }
}

impl FromStr for ImageSource {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| ParseSourceError::Scheme { text: text.into() })?;
        match scheme {
            "debian" => {
                if !is_default_name(rest) {
                    return Err(ParseSourceError::DebianName { name: rest.into() });
                }
                Ok(Self::Debian { name: rest.into() })
            }
            "oci-layout" => {
                let (directory, reference) = split_reference(text, rest)?;
                Ok(Self::OciLayout {
                    directory,
                    reference,
                })
            }
            "oci-archive" => {
                let (file, reference) = split_reference(text, rest)?;
                Ok(Self::OciArchive { file, reference })
            }
            "oci" => {
                let reference = rest.parse();
                let reference = reference.map_err(|source| ParseSourceError::Reference {
                    text: text.into(),
                    source,
                })?;
                Ok(Self::Registry(reference))
            }
            "nix" => NixReference::parse(text, rest).map(Self::Nix),
            _ => Err(ParseSourceError::Scheme { text: text.into() }),
        }
    }
}

/// Whether `name` can stand after `debian:`; such a name is a plain file name.
pub(crate) fn is_default_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn split_reference(text: &str, rest: &str) -> Result<(PathBuf, Option<String>), ParseSourceError> {
    let (path, reference) = if let Some(at) = rest.rfind("@sha256:") {
        let reference = &rest[at..];
        reference[1..]
            .parse::<Digest>()
            .map_err(|source| ParseSourceError::Digest {
                text: text.into(),
                source,
            })?;
        (rest[..at].trim_end_matches(':'), Some(reference))
    } else {
        // At the first colon: a reference may itself be `name:tag`.
        match rest.split_once(':') {
            Some((path, reference)) if !reference.is_empty() => (path, Some(reference)),
            Some((path, _)) => (path, None),
            None => (rest, None),
        }
    };
    if path.is_empty() {
        return Err(ParseSourceError::NoPath { text: text.into() });
    }
    Ok((path.into(), reference.map(Into::into)))
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path, reference) = match self {
            Self::Debian { name } => return write!(f, "debian:{name}"),
            Self::Registry(reference) => return write!(f, "oci:{reference}"),
            Self::Nix(reference) => return reference.fmt(f),
            Self::OciLayout {
                directory,
                reference,
            } => ("oci-layout", directory, reference),
            Self::OciArchive { file, reference } => ("oci-archive", file, reference),
        };
        write!(f, "{scheme}:{}", path.display())?;
        match reference {
            Some(reference) if reference.starts_with('@') => f.write_str(reference),
            Some(reference) => write!(f, ":{reference}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        let pinned = format!("oci-layout:/images/base@{}", Digest::of(b""));
        for text in [
            "debian:python",
            "oci-layout:/images/base",
            "oci-layout:relative:latest",
            "oci-archive:/tmp/a.tar:name/of:tag",
            "oci:registry.example:5000/team/app:1.2",
            &pinned,
        ] {
            assert_eq!(text.parse::<ImageSource>().unwrap().to_string(), text);
        }
        assert_eq!(
            "oci-archive:a.tar:v1".parse::<ImageSource>().unwrap(),
            ImageSource::OciArchive {
                file: "a.tar".into(),
                reference: Some("v1".into())
            }
        );
    }

    #[test]
    fn other_texts_are_refused_with_a_way_out() {
        for text in [
            "",
            "python",
            "docker:x",
            "oci-layout:",
            "oci-archive::v1",
            "debian:../x",
            "oci:",
            "oci:ubuntu:24.04",
        ] {
            assert!(
                text.parse::<ImageSource>().unwrap_err().hint().is_some(),
                "{text}"
            );
        }
        assert!(matches!(
            "oci-layout:x@sha256:12".parse::<ImageSource>(),
            Err(ParseSourceError::Digest { .. })
        ));
    }
}
