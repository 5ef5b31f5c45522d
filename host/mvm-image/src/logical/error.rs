//! Why a catalog cannot be loaded, and why it has no image.

use std::io;
use std::path::PathBuf;

use super::Language;
use crate::WriteFileError;
use crate::source::ParseSourceError;

/// Why a catalog cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadCatalogError {
    /// A file cannot be read.
    #[error("cannot read the catalog `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not of the form of a catalog.
    #[error("`{}` is not a catalog", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// The cause, which names the line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Its version is not known.
    #[error("the catalog `{}` is of version {version}, and 1 is known", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
    /// An entry's version is none.
    #[error("the catalog `{}` has an entry of version `{version}`, which is not numbers with dots", path.display())]
    EntryVersion {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: String,
    },
    /// An entry's source is none.
    #[error("the catalog `{}` has no valid source for version `{version}`", path.display())]
    EntrySource {
        /// The file.
        path: PathBuf,
        /// The entry's version.
        version: String,
        /// The cause.
        #[source]
        source: Box<ParseSourceError>,
    },
    /// `nixpkgs` is no flake.
    #[error("the catalog `{}` names the flake `{flake}`, which is not one", path.display())]
    Nixpkgs {
        /// The file.
        path: PathBuf,
        /// What it says.
        flake: String,
    },
}

impl LoadCatalogError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Form { .. } => Some(
                "a catalog has `version = 1`, `[[python]]` and `[[node]]` with `version`, `source` \
                 and `packages`, and `[nix_packages]` with `nixpkgs`"
                    .into(),
            ),
            Self::Version { .. } => Some("write `version = 1`".into()),
            Self::EntryVersion { .. } => Some("write it as `3.12`".into()),
            Self::EntrySource { source, .. } => source.hint(),
            Self::Nixpkgs { .. } => {
                Some("name it as `github:OWNER/REPOSITORY/REVISION` or `path:/DIRECTORY`".into())
            }
        }
    }
}

/// Why the catalog has no image for what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveImageError {
    /// What was named is no source.
    #[error(transparent)]
    Source {
        /// Why.
        source: ParseSourceError,
    },
    /// No entry has the version.
    #[error("{language} {version} is not in the catalog; it has {}", listed(has), language = language.as_str())]
    Version {
        /// The language.
        language: Language,
        /// What was asked for.
        version: String,
        /// Versions and sources of what there is.
        has: Vec<(String, String)>,
    },
    /// No entry of the version has the packages.
    #[error("{language} {version} from `{source_name}` has no {}", missing.join(", "), language = language.as_str())]
    Packages {
        /// The language.
        language: Language,
        /// The version of the first entry that fits otherwise.
        version: String,
        /// Its source.
        source_name: String,
        /// What was asked for and is not there.
        missing: Vec<String>,
    },
    /// Nothing says where packages come from.
    #[error("the catalog names no flake of Nix packages")]
    NoNixpkgs,
    /// A package's name is none.
    #[error("`{package}` is not the name of a Nix package")]
    PackageName {
        /// The name.
        package: String,
    },
    /// The place for flakes cannot be made.
    #[error("cannot create `{}`", path.display())]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The flake of packages cannot be written.
    #[error("failed to write the flake of packages")]
    WriteFlake(#[source] WriteFileError),
}

fn listed(has: &[(String, String)]) -> String {
    let entries = has.iter();
    let entries = entries.map(|(version, source)| format!("{version} from {source}"));
    entries.collect::<Vec<_>>().join(", ")
}

impl ResolveImageError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source { source } => source.hint(),
            Self::Version {
                language, version, ..
            } => Some(entry_hint(*language, version)),
            Self::Packages {
                language, version, ..
            } => Some(format!(
                "{}, from an image that has them",
                entry_hint(*language, version)
            )),
            Self::NoNixpkgs => Some(
                "name one in `$MVM_HOME/catalog.toml`: `[nix_packages]`, `nixpkgs = \"FLAKE\"`"
                    .into(),
            ),
            Self::PackageName { .. } => {
                Some("use attribute names such as `python312` or `nodePackages.typescript`".into())
            }
            Self::CreateDirectory { .. } | Self::WriteFlake(_) => None,
        }
    }
}

fn entry_hint(language: Language, version: &str) -> String {
    format!(
        "add an entry to `$MVM_HOME/catalog.toml`: `[[{}]]`, `version = \"{version}\"`, \
         `source = \"SOURCE\"`",
        language.as_str()
    )
}
