//! From what a workload asks for to an image source: "Python 3.11" to `debian:python`.
//!
//! A catalog is a list of files in order of precedence, the built-in one last. A file is TOML:
//!
//! ```toml
//! version = 1
//!
//! [[python]]                    # also [[node]]
//! version = "3.12"
//! source = "oci-layout:/images/python-3.12"
//! packages = ["git"]            # what it has beside the language
//!
//! [nix_packages]
//! nixpkgs = "path:/srv/nixpkgs" # the flake that packages are taken from
//! ```
//!
//! An entry fits when its version is the one asked for, or a finer one (`3.11` for `3`), and it has
//! every package asked for. Nothing that fits less well is taken in its place.

mod error;
mod file;
mod flake;

use std::path::{Path, PathBuf};

use mvm_contract::workload::Image;

pub use error::{LoadCatalogError, ResolveImageError};
use file::{CatalogFile, Entry};

use crate::source::ImageSource;

/// The file that every host has.
const BUILT_IN: &str = include_str!("logical/built-in.toml");
/// The file of all users of a host.
const OF_THE_HOST: &str = "/etc/mvm/catalog.toml";
/// The file of a project.
const OF_A_PROJECT: &str = "mvm-catalog.toml";
/// The file of a state directory.
const OF_A_USER: &str = "catalog.toml";

/// What logical images mean on this host.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// In order of precedence.
    files: Vec<CatalogFile>,
    /// Where flakes of packages are written.
    flakes: PathBuf,
}

impl Catalog {
    /// The catalog of a state directory, under that of `project`, if there is one: the files
    /// `PROJECT/mvm-catalog.toml`, `HOME/catalog.toml` and `/etc/mvm/catalog.toml`, those of them
    /// that exist, and the built-in one.
    ///
    /// # Errors
    ///
    /// [`LoadCatalogError`], when a file cannot be read or is not of this form, to its last field.
    pub fn load(home: &Path, project: Option<&Path>) -> Result<Self, LoadCatalogError> {
        let paths = [
            project.map(|project| project.join(OF_A_PROJECT)),
            Some(home.join(OF_A_USER)),
            Some(OF_THE_HOST.into()),
        ];
        let mut files = Vec::new();
        for path in paths.into_iter().flatten() {
            files.extend(CatalogFile::read(&path)?);
        }
        files.push(CatalogFile::parse(BUILT_IN, Path::new("built-in"))?);
        Ok(Self {
            files,
            flakes: home.join("nix/flakes"),
        })
    }

    /// The entries of a language, those that take precedence first.
    fn entries(&self, language: Language) -> impl Iterator<Item = &Entry> {
        self.files.iter().flat_map(move |file| match language {
            Language::Python => &file.python,
            Language::Node => &file.node,
        })
    }
}

/// What a catalog has entries for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// Node.js.
    Node,
}

impl Language {
    /// As a catalog and a workload name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }
}

/// The source of what a workload asks for.
///
/// Packages of Nix become a flake below the state directory, which is written here and built like
/// any other.
///
/// # Errors
///
/// [`ResolveImageError`] says what the catalog has instead.
pub fn resolve(catalog: &Catalog, image: &Image) -> Result<ImageSource, ResolveImageError> {
    match image {
        Image::Source { reference } => reference
            .parse()
            .map_err(|source| ResolveImageError::Source { source }),
        Image::Python { version, packages } => {
            resolve_language(catalog, Language::Python, version, packages)
        }
        Image::Node { version, packages } => {
            resolve_language(catalog, Language::Node, version, packages)
        }
        Image::NixPackages { packages } => {
            let nixpkgs = catalog
                .files
                .iter()
                .find_map(|file| file.nix_packages.as_ref())
                .ok_or(ResolveImageError::NoNixpkgs)?;
            flake::write(&catalog.flakes, &nixpkgs.nixpkgs, packages)
        }
    }
}

fn resolve_language(
    catalog: &Catalog,
    language: Language,
    version: &str,
    packages: &[String],
) -> Result<ImageSource, ResolveImageError> {
    let mut lacking = None;
    for entry in catalog.entries(language) {
        if !covers(version, &entry.version) {
            continue;
        }
        let missing = packages
            .iter()
            .filter(|package| !entry.packages.contains(package));
        let missing: Vec<_> = missing.cloned().collect();
        if missing.is_empty() {
            return Ok(entry.source.clone());
        }
        lacking.get_or_insert((entry, missing));
    }
    Err(match lacking {
        Some((entry, missing)) => ResolveImageError::Packages {
            language,
            version: entry.version.clone(),
            source_name: entry.source.to_string(),
            missing,
        },
        None => ResolveImageError::Version {
            language,
            version: version.to_owned(),
            has: catalog
                .entries(language)
                .map(|entry| (entry.version.clone(), entry.source.to_string()))
                .collect(),
        },
    })
}

/// Whether an entry of version `has` is one of version `asked`: part by part, as far as asked.
fn covers(asked: &str, has: &str) -> bool {
    let mut has = has.split('.');
    asked.split('.').all(|part| has.next() == Some(part))
}

#[cfg(test)]
mod tests;
