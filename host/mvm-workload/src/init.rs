//! A project to begin with: a template's files with the workload's name put in.
//!
//! Templates are examples of this repository, which its tests build and run. All files of one are
//! written, or none: what is there is never replaced.

mod template;
mod written;

use std::{
    io,
    path::{Path, PathBuf, absolute},
};

use mvm_compiler::name_from;
use mvm_contract::{
    Coded, ErrorCode,
    workload::{WorkloadFlaw, is_name},
};
use serde::Serialize;

pub use template::Template;

use crate::declaration;

/// A project that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initialized {
    /// The workload that it declares.
    pub workload: String,
    /// Where it is.
    pub directory: PathBuf,
    /// Its files, by their names in the directory.
    pub files: Vec<String>,
}

/// Why no project was made. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// What was given is no name of a workload.
    #[error("{flaw}")]
    Name {
        /// Which rule it breaks.
        flaw: WorkloadFlaw,
    },
    /// No name was given, and none can be made of the directory's.
    #[error("the name of `{}` makes no name of a workload", directory.display())]
    Nameless {
        /// The directory.
        directory: PathBuf,
    },
    /// A file is there that would be replaced.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file is there that declares another workload.
    #[error("`{}` may declare a workload already", path.display())]
    Declared {
        /// The file.
        path: PathBuf,
    },
    /// The directory cannot be made.
    #[error("failed to make the directory `{}`", path.display())]
    MakeDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Coded for InitError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Name { .. }
            | Self::Nameless { .. }
            | Self::Exists { .. }
            | Self::Declared { .. } => ErrorCode::InvalidArgument,
            Self::MakeDirectory { .. } | Self::Write { .. } => ErrorCode::TransportError,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { flaw } => return flaw.hint(),
            Self::Nameless { .. } => "give one: `--name ID`".to_owned(),
            Self::Exists { .. } | Self::Declared { .. } => {
                "nothing was written; name another directory, or move it away".to_owned()
            }
            Self::MakeDirectory { .. } | Self::Write { .. } => {
                "name a directory that you can write to".to_owned()
            }
        })
    }
}

/// Writes a template's files into a directory, which is made where it is not there. Without a name
/// the workload is named after the directory.
///
/// # Errors
///
/// [`InitError`]; nothing is written then.
pub fn init(
    directory: &Path,
    template: Template,
    name: Option<&str>,
) -> Result<Initialized, InitError> {
    let workload = match name {
        Some(name) if is_name(name) => name.to_owned(),
        Some(name) => {
            let (what, name) = ("a workload", name.to_owned());
            let flaw = WorkloadFlaw::Name { what, name };
            return Err(InitError::Name { flaw });
        }
        None => named_after(directory).ok_or_else(|| InitError::Nameless {
            directory: directory.to_owned(),
        })?,
    };
    let files = template.files(&workload);
    let is_there = |name: &str| directory.join(name).symlink_metadata().is_ok();
    if let Some((name, _)) = files.iter().find(|(name, _)| is_there(name)) {
        let path = directory.join(name);
        return Err(InitError::Exists { path });
    }
    if let Some(name) = declaration::NAMES.iter().find(|name| is_there(name)) {
        let path = directory.join(name);
        return Err(InitError::Declared { path });
    }
    written::write(directory, &files)?;
    Ok(Initialized {
        workload,
        directory: absolute(directory).unwrap_or_else(|_| directory.to_owned()),
        files: files.into_iter().map(|(name, _)| name.to_owned()).collect(),
    })
}

/// A name made of a directory's own, whatever path it was given by.
fn named_after(directory: &Path) -> Option<String> {
    let path = match directory.canonicalize() {
        Ok(path) => path,
        // It is to be made.
        Err(_) => absolute(directory).ok()?,
    };
    name_from(path.file_name()?.to_str()?)
}

#[cfg(test)]
mod tests;
