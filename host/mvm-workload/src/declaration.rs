//! Where a workload comes from: a document, or a source file that declares it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mvm_contract::{
    Coded, ErrorCode,
    workload::{ReadWorkloadError, Workload},
};

/// What is looked for in a directory, by name.
const NAMES: [&str; 6] = [
    "workload.json",
    "app.py",
    "app.ts",
    "app.mts",
    "app.mjs",
    "app.js",
];

/// A workload and the directory that its sources lie in.
#[derive(Debug)]
pub struct Declaration {
    /// The workload.
    pub workload: Workload,
    /// The file that declares it.
    pub file: PathBuf,
    /// The file's directory.
    pub declared_in: PathBuf,
}

/// Why there is no workload.
#[derive(Debug, thiserror::Error)]
pub enum DeclarationError {
    /// The file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory has nothing that declares a workload.
    #[error("`{}` has no file that declares a workload", path.display())]
    NothingThere {
        /// The directory.
        path: PathBuf,
    },
    /// A directory has several.
    #[error("`{}` has several files that declare a workload: {}", path.display(), found.join(", "))]
    Ambiguous {
        /// The directory.
        path: PathBuf,
        /// Their names.
        found: Vec<String>,
    },
    /// The document is none.
    #[error("`{}` is not a workload", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReadWorkloadError,
    },
    /// The file is of no kind that declares workloads.
    #[error("`{}` is of no kind that declares workloads", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
}

impl Coded for DeclarationError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            Self::Document { .. } => ErrorCode::BuildFailed,
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::NothingThere { .. } => Some(format!("it may be one of {}", NAMES.join(", "))),
            Self::Ambiguous { .. } => Some("name the file".to_owned()),
            Self::Document { source, .. } => match source {
                ReadWorkloadError::Flaws { flaws, .. } => Some(
                    flaws
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; "),
                ),
                _ => Some("compile the declaration again".to_owned()),
            },
            Self::Kind { .. } => Some("use a file that ends in .json, .py, .ts or .js".to_owned()),
        }
    }
}

/// Reads what a file, or the one such file of a directory, declares.
///
/// # Errors
///
/// [`DeclarationError`].
pub fn load(path: &Path) -> Result<Declaration, DeclarationError> {
    let file = if path.is_dir() {
        the_one_of(path)?
    } else {
        path.to_owned()
    };
    let failed = |source| DeclarationError::Read {
        path: file.clone(),
        source,
    };
    let bytes = fs::read(&file).map_err(failed)?;
    let absolute = file.canonicalize().map_err(failed)?;
    let declared_in = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let extension = file.extension().and_then(|extension| extension.to_str());
    let workload = match extension {
        Some("json") => Workload::read(&bytes).map_err(|source| DeclarationError::Document {
            path: file.clone(),
            source,
        })?,
        _ => return Err(DeclarationError::Kind { path: file }),
    };
    Ok(Declaration {
        workload,
        file: absolute,
        declared_in,
    })
}

fn the_one_of(directory: &Path) -> Result<PathBuf, DeclarationError> {
    let mut found = NAMES.iter().filter(|name| directory.join(name).is_file());
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(directory.join(one)),
        (None, _) => Err(DeclarationError::NothingThere {
            path: directory.to_owned(),
        }),
        (Some(one), Some(other)) => Err(DeclarationError::Ambiguous {
            path: directory.to_owned(),
            found: [one, other]
                .into_iter()
                .chain(found)
                .map(|name| (*name).to_owned())
                .collect(),
        }),
    }
}
