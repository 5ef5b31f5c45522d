//! Every crate takes the workspace's lints and has its line in `ARCHITECTURE.md`.

use std::fs;
use std::io;

use cargo_metadata::Metadata;

use super::{CheckError, Finding};

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(metadata: &Metadata) -> Result<Vec<Finding>, CheckError> {
    let map_path = metadata.workspace_root.join(MAP).into_std_path_buf();
    let map = match fs::read_to_string(&map_path) {
        Ok(map) => Some(map),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(CheckError::Read {
                path: map_path,
                source,
            });
        }
    };
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let path = package.manifest_path.as_std_path();
        let manifest = fs::read_to_string(path).map_err(|source| CheckError::Read {
            path: path.to_owned(),
            source,
        })?;
        if !takes_workspace_lints(&manifest) {
            findings.push(Finding::new(path, "lacks `[lints] workspace = true`"));
        }
        if let Some(map) = &map
            && !mentions(map, &package.name)
        {
            findings.push(Finding::new(
                &map_path,
                format!("does not mention the crate `{}`", package.name),
            ));
        }
    }
    Ok(findings)
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1);
    lines
        .by_ref()
        .take_while(|line| !line.starts_with('['))
        .any(|line| line == "workspace = true")
}

/// Whether `name` stands in `text` as a word of its own: `mvm` is not in `mvm-image`.
fn mentions(text: &str, name: &str) -> bool {
    let in_word =
        |character: char| character.is_alphanumeric() || character == '-' || character == '_';
    text.split(|character| !in_word(character))
        .any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_of_the_workspace_are_recognised() {
        assert!(takes_workspace_lints(
            "[package]\n[lints]\nworkspace = true\n\n[dependencies]\n"
        ));
        assert!(!takes_workspace_lints(
            "[lints]\n[dependencies]\nworkspace = true\n"
        ));
        assert!(!takes_workspace_lints("[package]\n"));
    }

    #[test]
    fn a_crate_is_mentioned_by_its_whole_name() {
        assert!(mentions("- `mvm`: the SDK", "mvm"));
        assert!(!mentions("- `mvm-image`", "mvm"));
    }
}
