//! `FLAKE#ATTRIBUTE[@sha256:HEX]`, what stands after `nix:`.

use std::fmt;
use std::path::PathBuf;

use mvm_contract::Digest;

use crate::source::ParseSourceError;

/// A package of a flake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NixReference {
    /// Where the flake is.
    pub flake: Flake,
    /// Which of its outputs, as `nix build` takes it: `default`, `packages.x86_64-linux.app`.
    pub attribute: String,
    /// Digest of the NAR of the flake's directory, which pins every file in it.
    pub pin: Option<Digest>,
}

/// Where a flake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flake {
    /// A directory with a `flake.nix`, taken whole.
    Directory(PathBuf),
    /// Anything else that `nix` fetches: `github:OWNER/REPOSITORY`, `git+https://…`, a name of
    /// `nix`'s registry.
    Fetched(String),
}

/// Longest reference, in bytes.
const MAX_REFERENCE: usize = 1024;

impl NixReference {
    /// Parses `rest`, which follows `nix:` in `text`.
    pub(crate) fn parse(text: &str, rest: &str) -> Result<Self, ParseSourceError> {
        let (unpinned, pin) = match rest.rsplit_once("@sha256:") {
            Some((unpinned, hex)) => {
                let pin = format!("sha256:{hex}").parse::<Digest>();
                let pin = pin.map_err(|source| ParseSourceError::Digest {
                    text: text.into(),
                    source,
                })?;
                (unpinned, Some(pin))
            }
            None => (rest, None),
        };
        let malformed = || ParseSourceError::NixReference { text: text.into() };
        // At the last `#`: an attribute has none, and a directory may.
        let (flake, attribute) = unpinned.rsplit_once('#').ok_or_else(malformed)?;
        if rest.len() > MAX_REFERENCE || !is_attribute(attribute) {
            return Err(malformed());
        }
        let path = flake.strip_prefix("path:");
        let flake = match path {
            Some("") => return Err(malformed()),
            Some(path) => Flake::Directory(path.into()),
            None if flake.starts_with(['/', '.']) => Flake::Directory(flake.into()),
            None if is_fetchable(flake) => Flake::Fetched(flake.into()),
            None => return Err(malformed()),
        };
        if pin.is_some() && matches!(flake, Flake::Fetched(_)) {
            return Err(ParseSourceError::NixPin { text: text.into() });
        }
        Ok(Self {
            flake,
            attribute: attribute.into(),
            pin,
        })
    }
}

/// Whether it is names with dots between them, as packages have.
pub(crate) fn is_attribute(text: &str) -> bool {
    text.split('.').all(|part| {
        let mut bytes = part.bytes();
        bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-'+".contains(&byte))
    })
}

/// Whether it names a flake, and can stand between quotes in another.
pub(crate) fn is_flake(text: &str) -> bool {
    match text.strip_prefix("path:").unwrap_or(text) {
        path if path.starts_with('/') => path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte)),
        flake => flake == text && is_fetchable(flake) && !flake.contains(['$', '{']),
    }
}

/// Whether `nix` can only take it for a flake: no option, and no part of a message.
fn is_fetchable(flake: &str) -> bool {
    flake.starts_with(|first: char| first.is_ascii_alphanumeric())
        && flake
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"#\"'`\\^".contains(&byte))
}

impl fmt::Display for NixReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flake {
            // What would otherwise be taken for something to fetch.
            Flake::Directory(path) if !path.as_os_str().as_encoded_bytes().starts_with(b"/") => {
                write!(f, "nix:path:{}", path.display())?;
            }
            Flake::Directory(path) => write!(f, "nix:{}", path.display())?,
            Flake::Fetched(text) => write!(f, "nix:{text}")?,
        }
        write!(f, "#{}", self.attribute)?;
        match self.pin {
            Some(pin) => write!(f, "@{pin}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ImageSource;

    fn parse(text: &str) -> Result<ImageSource, ParseSourceError> {
        text.parse()
    }

    #[test]
    fn texts_round_trip() {
        let pinned = format!("nix:/flakes/a#default@{}", Digest::of(b""));
        for text in [
            "nix:/flakes/a#default",
            "nix:path:relative#packages.x86_64-linux.app",
            "nix:github:owner/repository/v1?dir=x#app",
            "nix:nixpkgs#python3",
            &pinned,
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let ImageSource::Nix(reference) = parse("nix:./a#b#default").unwrap() else {
            panic!("another kind of source");
        };
        assert_eq!(reference.flake, Flake::Directory("./a#b".into()));
        assert_eq!(reference.attribute, "default");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let pin = Digest::of(b"");
        for text in [
            "nix:",
            "nix:/flakes/a",
            "nix:/flakes/a#",
            "nix:#default",
            "nix:path:#default",
            "nix:--option#default",
            "nix:a b#default",
            "nix:/flakes/a#-x",
            "nix:/flakes/a#a..b",
            "nix:/flakes/a#a b",
            "nix:/flakes/a#a^out",
        ] {
            let refused = parse(text).unwrap_err();
            assert!(
                matches!(refused, ParseSourceError::NixReference { .. }),
                "{text}"
            );
            assert!(refused.hint().is_some());
        }
        assert!(matches!(
            parse(&format!("nix:github:a/b#default@{pin}")),
            Err(ParseSourceError::NixPin { .. })
        ));
        assert!(matches!(
            parse("nix:/a#default@sha256:12"),
            Err(ParseSourceError::Digest { .. })
        ));
    }
}
