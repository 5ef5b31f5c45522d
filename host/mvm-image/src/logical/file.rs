//! One file of a catalog.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::error::LoadCatalogError;
use crate::nix::is_flake;
use crate::source::ImageSource;

/// The version of the form.
const VERSION: u64 = 1;
/// Largest file, in bytes.
const MAX_CATALOG: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct CatalogFile {
    pub python: Vec<Entry>,
    pub node: Vec<Entry>,
    pub nix_packages: Option<NixPackages>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub version: String,
    pub source: ImageSource,
    pub packages: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NixPackages {
    pub nixpkgs: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    #[serde(default)]
    python: Vec<EntryDocument>,
    #[serde(default)]
    node: Vec<EntryDocument>,
    nix_packages: Option<NixPackages>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryDocument {
    version: String,
    source: String,
    #[serde(default)]
    packages: Vec<String>,
}

impl CatalogFile {
    /// The file at `path`, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, LoadCatalogError> {
        let failed = |source| LoadCatalogError::Read {
            path: path.into(),
            source,
        };
        let size = match fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if size > MAX_CATALOG {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, path).map(Some)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, LoadCatalogError> {
        let document: Document = toml::from_str(text).map_err(|source| LoadCatalogError::Form {
            path: path.into(),
            source: Box::new(source),
        })?;
        if document.version != VERSION {
            return Err(LoadCatalogError::Version {
                path: path.into(),
                version: document.version,
            });
        }
        if let Some(packages) = &document.nix_packages
            && !is_flake(&packages.nixpkgs)
        {
            return Err(LoadCatalogError::Nixpkgs {
                path: path.into(),
                flake: packages.nixpkgs.clone(),
            });
        }
        let entries = |entries: Vec<EntryDocument>| {
            let entries = entries.into_iter().map(|entry| entry.check(path));
            entries.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            python: entries(document.python)?,
            node: entries(document.node)?,
            nix_packages: document.nix_packages,
        })
    }
}

impl EntryDocument {
    fn check(self, path: &Path) -> Result<Entry, LoadCatalogError> {
        let numbers = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !self.version.split('.').all(numbers) {
            return Err(LoadCatalogError::EntryVersion {
                path: path.into(),
                version: self.version,
            });
        }
        let source = self
            .source
            .parse()
            .map_err(|source| LoadCatalogError::EntrySource {
                path: path.into(),
                version: self.version.clone(),
                source: Box::new(source),
            })?;
        Ok(Entry {
            version: self.version,
            source,
            packages: self.packages,
        })
    }
}
