//! References to images in registries, by the grammar of the OCI distribution specification (1.1)
//! and of the references that registries' users write.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use mvm_contract::{Digest, ParseDigestError};

/// The longest name of a repository, with its registry.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
/// What a reference without tag and digest means.
const DEFAULT_TAG: &str = "latest";

/// `HOST[:PORT]/PATH[:TAG][@sha256:HEX]`. There is no registry that is meant when none is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryReference {
    host: String,
    port: Option<u16>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference to an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// It begins with no host: `ubuntu` or `library/ubuntu`.
    #[error("`{text}` does not say in which registry the image is")]
    NoRegistry {
        /// The text as given.
        text: String,
    },
    /// The host is neither a name nor an address.
    #[error("`{host}` is not the host of a registry")]
    Host {
        /// What stands where it should be.
        host: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("`{port}` is not a port")]
    Port {
        /// What stands where it should be.
        port: String,
    },
    /// The path is not lowercase words between slashes.
    #[error("`{repository}` is not the path of an image in a registry")]
    Repository {
        /// What stands where it should be.
        repository: String,
    },
    /// The tag has other characters, or too many.
    #[error("`{tag}` is not a tag")]
    Tag {
        /// What stands where it should be.
        tag: String,
    },
    /// What follows the `@` is not a digest that is accepted.
    #[error("`{text}` pins an invalid digest")]
    Digest {
        /// The text as given.
        text: String,
        /// Why.
        #[source]
        source: ParseDigestError,
    },
}

impl ParseReferenceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoRegistry { .. } | Self::Host { .. } | Self::Port { .. } => {
                "begin with the registry's host: `oci:registry.example/team/app:1.2`".into()
            }
            Self::Repository { .. } => {
                "a path is lowercase letters and digits, joined by `.`, `_`, `__`, `-` and `/`"
                    .into()
            }
            Self::Tag { .. } => format!(
                "a tag is at most {MAX_TAG} letters, digits, `_`, `.` and `-`, and begins with none of the last two"
            ),
            Self::Digest { .. } => "pin with `@sha256:` and 64 hexadecimal digits".into(),
        })
    }
}

impl RegistryReference {
    /// The registry: its host, in brackets where that is an IPv6 address, and its port if named.
    #[must_use]
    pub fn registry(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The path of the image in its registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest it pins, of an index or of a manifest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The host as a certificate names it.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// The tag that counts where no digest is pinned.
    pub(super) fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or(DEFAULT_TAG)
    }
}

impl FromStr for RegistryReference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let digest = digest.map(str::parse).transpose();
        let digest = digest.map_err(|source| ParseReferenceError::Digest {
            text: text.into(),
            source,
        })?;
        let no_registry = || ParseReferenceError::NoRegistry { text: text.into() };
        let (registry, path) = name.split_once('/').ok_or_else(no_registry)?;
        // The rule by which all tools tell a host from the first word of a path.
        if registry != "localhost" && !registry.contains(['.', ':', '[']) {
            return Err(no_registry());
        }
        let (host, port) = split_port(registry)?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_repository(repository) || registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(ParseReferenceError::Repository {
                repository: repository.into(),
            });
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ParseReferenceError::Tag { tag: tag.into() });
        }
        Ok(Self {
            host: host.into(),
            port,
            repository: repository.into(),
            tag: tag.map(Into::into),
            digest,
        })
    }
}

/// Host and port; an IPv6 address stands in brackets.
fn split_port(registry: &str) -> Result<(&str, Option<u16>), ParseReferenceError> {
    let host_end = registry.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match registry[host_end..].find(':') {
        Some(at) => (
            &registry[..host_end + at],
            Some(&registry[host_end + at + 1..]),
        ),
        None => (registry, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| matches!(address.parse(), Ok(IpAddr::V6(_)))),
        None => host.split('.').all(is_label),
    };
    if !is_host {
        return Err(ParseReferenceError::Host { host: host.into() });
    }
    let number = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let number = port.parse().ok().filter(|number| digits && *number > 0);
        number.ok_or_else(|| ParseReferenceError::Port { port: port.into() })
    };
    Ok((host, port.map(number).transpose()?))
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_repository(path: &str) -> bool {
    let is_word_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    path.split('/').all(|component| {
        // Words joined by one `.`, one or two `_`, or any number of `-`.
        let words: Vec<&str> = component
            .split(|character: char| !(character.is_ascii() && is_word_byte(character as u8)))
            .collect();
        let ends_are_words = words.first().is_some_and(|word| !word.is_empty())
            && words.last().is_some_and(|word| !word.is_empty());
        let joints = component
            .split(|character: char| character.is_ascii() && is_word_byte(character as u8))
            .filter(|joint| !joint.is_empty())
            .all(|joint| {
                matches!(joint, "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-')
            });
        ends_are_words && joints
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(is_word_byte)
        && tag
            .bytes()
            .all(|byte| is_word_byte(byte) || b".-".contains(&byte))
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry(), self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_round_trip() {
        let digest = Digest::of(b"");
        for text in [
            "registry.example/app",
            "registry.example/team/app:1.2",
            "registry.example:5000/a/b-c/d__e.f:v1_x.y-z",
            "localhost/app:latest",
            "127.0.0.1:5000/app",
            "[::1]:5000/app:x",
            "[2001:db8::1]/app",
            &format!("registry.example/app@{digest}"),
            &format!("registry.example/app:1@{digest}"),
        ] {
            let reference = text.parse::<RegistryReference>();
            assert_eq!(reference.expect(text).to_string(), text);
        }
        let reference: RegistryReference = "[::1]:5000/a/b".parse().unwrap();
        assert_eq!((reference.host(), reference.port()), ("[::1]", Some(5000)));
        assert_eq!((reference.repository(), reference.tag()), ("a/b", "latest"));
    }

    #[test]
    fn what_names_no_registry_is_refused_with_a_way_out() {
        for text in ["", "ubuntu", "ubuntu:24.04", "library/ubuntu", "a/b:c"] {
            let error = text.parse::<RegistryReference>().unwrap_err();
            assert!(
                matches!(error, ParseReferenceError::NoRegistry { .. }),
                "{text}"
            );
            assert!(error.hint().unwrap().contains("registry.example"), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_by_what_is_wrong_with_them() {
        let long = format!("r.example/{}", "a".repeat(MAX_NAME));
        let tag = format!("r.example/a:{}", "a".repeat(MAX_TAG + 1));
        type Refused = fn(&ParseReferenceError) -> bool;
        let repository: Refused = |error| matches!(error, ParseReferenceError::Repository { .. });
        let host: Refused = |error| matches!(error, ParseReferenceError::Host { .. });
        let port: Refused = |error| matches!(error, ParseReferenceError::Port { .. });
        let is_tag: Refused = |error| matches!(error, ParseReferenceError::Tag { .. });
        let digest: Refused = |error| matches!(error, ParseReferenceError::Digest { .. });
        for (text, expected) in [
            ("r.example/", repository),
            ("r.example/App", repository),
            ("r.example/a//b", repository),
            ("r.example/a/../b", repository),
            ("r.example/a..b", repository),
            ("r.example/a___b", repository),
            ("r.example/-a", repository),
            ("r.example/a?b", repository),
            ("r.example/a\u{e9}", repository),
            (long.as_str(), repository),
            ("-r.example/a", host),
            ("r..example/a", host),
            ("user@r.example/a", digest),
            ("user:x.y/a", port),
            ("[::1/a", host),
            ("[127.0.0.1]/a", host),
            ("[::1]x/a", host),
            ("r.example:/a", port),
            ("r.example:0/a", port),
            ("r.example:+1/a", port),
            ("r.example:65536/a", port),
            ("r.example/a:", is_tag),
            ("r.example/a:.x", is_tag),
            ("r.example/a:x:y", is_tag),
            ("r.example/a:x/y", is_tag),
            (tag.as_str(), is_tag),
            ("r.example/a@", digest),
            ("r.example/a@sha256:12", digest),
            ("r.example/a@sha512:12", digest),
        ] {
            let error = text.parse::<RegistryReference>().unwrap_err();
            assert!(expected(&error), "{text}: {error:?}");
            assert!(error.hint().is_some());
        }
    }
}
