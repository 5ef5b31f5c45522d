//! Where a workload comes from: a document, or a source file that declares it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use mvm_compiler::{
    Compilation, Diagnostic, MAX_LOCKFILE_BYTES, MAX_SOURCE_BYTES, SourceFile, compile, render,
};
use mvm_contract::{
    Coded, ErrorCode,
    workload::{ReadWorkloadError, Workload},
};

/// What is looked for in a directory, by name.
pub(crate) const NAMES: [&str; 6] = [
    "workload.json",
    "app.py",
    "app.ts",
    "app.mts",
    "app.mjs",
    "app.js",
];

/// How the names of source files end.
const LANGUAGES: [&str; 8] = ["py", "ts", "tsx", "mts", "cts", "js", "mjs", "rs"];

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
    /// A file is not UTF-8.
    #[error("`{path}` is not UTF-8 at byte {position}")]
    NotUtf8 {
        /// The file.
        path: String,
        /// Where it stops being UTF-8.
        position: usize,
    },
    /// The declaration has errors.
    #[error("`{}` declares no workload", path.display())]
    Compile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        findings: Findings,
    },
    /// The file is of no kind that declares workloads.
    #[error("`{}` is of no kind that declares workloads", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a declaration, rendered with its places.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Findings(String);

impl Findings {
    pub(crate) fn of(files: &[SourceFile], diagnostics: &[Diagnostic]) -> Self {
        Self(
            render::text(files, diagnostics, false)
                .trim_end()
                .to_owned(),
        )
    }
}

impl Coded for DeclarationError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            Self::Document { .. } | Self::Compile { .. } => ErrorCode::BuildFailed,
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::NotUtf8 { .. } => Some("save it as UTF-8".to_owned()),
            Self::Compile { path, .. } => Some(format!(
                "`mvmctl check {}` tells it with colors",
                path.display()
            )),
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
    let absolute = file.canonicalize().map_err(failed)?;
    let declared_in = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let extension = file.extension().and_then(|extension| extension.to_str());
    let workload = if extension == Some("json") {
        let bytes = fs::read(&file).map_err(failed)?;
        Workload::read(&bytes).map_err(|source| DeclarationError::Document {
            path: file.clone(),
            source,
        })?
    } else if extension.is_some_and(|extension| LANGUAGES.contains(&extension)) {
        let source = read_source(&file)?;
        let (files, compiled) = compile_in(&declared_in, vec![source])?;
        compiled.workload.ok_or_else(|| DeclarationError::Compile {
            path: file.clone(),
            findings: Findings::of(&files, &compiled.diagnostics),
        })?
    } else {
        return Err(DeclarationError::Kind { path: file });
    };
    Ok(Declaration {
        workload,
        file: absolute,
        declared_in,
    })
}

/// Compiles the files of one workload, and looks at the lockfiles they name below a directory.
/// What was looked at is given back: places in findings are in it.
///
/// # Errors
///
/// [`DeclarationError`] where a lockfile is there and cannot be read. What is wrong with the files
/// is in the compilation.
pub fn compile_in(
    directory: &Path,
    mut files: Vec<SourceFile>,
) -> Result<(Vec<SourceFile>, Compilation), DeclarationError> {
    let mut compiled = compile(&files);
    for lockfile in compiled.lockfiles.clone() {
        let path = directory.join(&lockfile.path);
        let content = if path.is_file() {
            Some(read_text(&path, MAX_LOCKFILE_BYTES)?)
        } else {
            None
        };
        compiled.see_lockfile(&mut files, &lockfile, content);
    }
    Ok((files, compiled))
}

/// Reads a source file, up to one byte more than the compiler takes.
///
/// # Errors
///
/// [`DeclarationError::Read`] and [`DeclarationError::NotUtf8`].
pub fn read_source(path: &Path) -> Result<SourceFile, DeclarationError> {
    read_text(path, MAX_SOURCE_BYTES)
}

fn read_text(path: &Path, limit: usize) -> Result<SourceFile, DeclarationError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| DeclarationError::Read {
            path: path.to_owned(),
            source,
        })?;
    source_of(path.display().to_string(), bytes)
}

/// Bytes as the text of a source file.
///
/// # Errors
///
/// [`DeclarationError::NotUtf8`].
pub fn source_of(path: String, bytes: Vec<u8>) -> Result<SourceFile, DeclarationError> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile { path, text }),
        Err(error) => Err(DeclarationError::NotUtf8 {
            path,
            position: error.utf8_error().valid_up_to(),
        }),
    }
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
