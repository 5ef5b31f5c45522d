//! Rust files: each is part of a crate, none is a drawer, none is endless, and `unsafe` is where
//! it is announced.

mod modules;
mod unsafe_code;

use std::fs;
use std::path::{Path, PathBuf};

use super::{CheckError, Finding};

/// Names that say nothing about what is inside.
const FORBIDDEN_NAMES: [&str; 9] = [
    "utils", "util", "common", "helpers", "helper", "misc", "manager", "types", "shared",
];

/// Most lines of a file.
const MAX_LINES: usize = 800;

/// Folders that hold no sources of ours.
const SKIPPED_FOLDERS: [&str; 3] = ["target", "node_modules", ".git"];

/// A Rust file.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    text: String,
}

impl SourceFile {
    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

/// Reads the Rust files below `folders`.
pub(super) fn read(folders: &[&Path]) -> Result<Vec<SourceFile>, CheckError> {
    let mut files = Vec::new();
    for folder in folders {
        collect(folder, &mut files)?;
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup_by(|one, other| one.path == other.path);
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<SourceFile>) -> Result<(), CheckError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CheckError::Read { path, source }
    };
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().map_err(failed(&path))?.is_dir() {
            if !SKIPPED_FOLDERS.iter().any(|skipped| name == *skipped) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}

/// Checks `files`, which crates reach from `roots`.
pub(super) fn check(files: &[SourceFile], roots: &[PathBuf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if let Some(name) = forbidden_name(&file.path) {
            findings.push(Finding::new(
                &file.path,
                format!("the name `{name}` says nothing: name it after its subject"),
            ));
        }
        if file.lines() > MAX_LINES {
            findings.push(Finding::new(
                &file.path,
                format!("{} lines, more than {MAX_LINES}: split it", file.lines()),
            ));
        }
        if unsafe_code::is_unannounced(&file.text) {
            findings.push(Finding::new(
                &file.path,
                "`unsafe` in a module without `#![allow(unsafe_code)]`",
            ));
        }
    }
    findings.extend(modules::check(files, roots));
    findings
}

/// The file's own name, or that of its folder where the file is `mod.rs`.
fn forbidden_name(path: &Path) -> Option<&'static str> {
    let stem = path.file_stem()?;
    let name = if stem == "mod" {
        path.parent()?.file_name()?
    } else {
        stem
    };
    FORBIDDEN_NAMES
        .iter()
        .copied()
        .find(|forbidden| name == *forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_recognised() {
        assert_eq!(forbidden_name(Path::new("src/utils.rs")), Some("utils"));
        assert_eq!(
            forbidden_name(Path::new("src/common/mod.rs")),
            Some("common")
        );
        assert_eq!(forbidden_name(Path::new("src/digest.rs")), None);
    }
}
