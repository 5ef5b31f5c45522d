//! The rules, one module each. A rule returns what breaks it, each named by its file.

mod crates;
mod dependencies;
mod source_files;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cargo_metadata::{Metadata, MetadataCommand};

use self::source_files::SourceFile;

/// How many of the longest files are listed.
const LONGEST: usize = 10;

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: PathBuf,
    what: String,
}

impl Finding {
    fn new(place: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place.display(), self.what)
    }
}

/// Why the rules could not be checked.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("`cargo metadata` failed")]
    Metadata(#[source] cargo_metadata::Error),
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Checks all rules and prints what breaks them.
pub(crate) fn run() -> ExitCode {
    match findings() {
        Ok((findings, files)) => {
            print_longest(files);
            for finding in &findings {
                eprintln!("error: {finding}");
            }
            if findings.is_empty() {
                ExitCode::SUCCESS
            } else {
                eprintln!("{} rule(s) broken", findings.len());
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                eprintln!("error: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// What breaks the rules, and all source files, with paths below the workspace's root.
fn findings() -> Result<(Vec<Finding>, Vec<SourceFile>), CheckError> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .other_options(["--locked".to_owned()])
        .exec()
        .map_err(CheckError::Metadata)?;
    let root = metadata.workspace_root.as_std_path();
    let mut files = source_files::read(&source_folders(&metadata))?;

    let mut findings = dependencies::check(&metadata);
    findings.extend(crates::check(&metadata)?);
    findings.extend(source_files::check(&files, &crate_roots(&metadata)));
    let places = findings.iter_mut().map(|finding| &mut finding.place);
    for path in places.chain(files.iter_mut().map(|file| &mut file.path)) {
        if let Ok(relative) = path.strip_prefix(root) {
            *path = relative.to_owned();
        }
    }
    findings.sort_by(|one, other| one.place.cmp(&other.place));
    Ok((findings, files))
}

/// The folder of every crate of the workspace.
fn source_folders(metadata: &Metadata) -> Vec<&Path> {
    metadata
        .workspace_packages()
        .iter()
        .filter_map(|package| package.manifest_path.as_std_path().parent())
        .collect()
}

/// The file each library, program, test, bench, example and build script starts from.
fn crate_roots(metadata: &Metadata) -> Vec<PathBuf> {
    metadata
        .workspace_packages()
        .iter()
        .flat_map(|package| &package.targets)
        .map(|target| target.src_path.as_std_path().to_owned())
        .collect()
}

fn print_longest(mut files: Vec<SourceFile>) {
    files.sort_by_key(|file| std::cmp::Reverse(file.lines()));
    println!("longest files (look again at 500 lines):");
    for file in files.iter().take(LONGEST) {
        println!("{:6} {}", file.lines(), file.path.display());
    }
}
