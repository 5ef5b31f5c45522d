//! A flake that joins packages of a collection.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::ResolveImageError;
use crate::atomic_file::write_file;
use crate::nix::{Flake, NixReference, is_attribute};
use crate::source::ImageSource;
use mvm_contract::Digest;

/// Writes the flake of `packages` from `nixpkgs` below `directory`, in a place of its own that
/// depends on what it says. The order in which packages are asked for does not count.
pub(super) fn write(
    directory: &Path,
    nixpkgs: &str,
    packages: &[String],
) -> Result<ImageSource, ResolveImageError> {
    let mut packages = packages.to_vec();
    packages.sort();
    packages.dedup();
    if let Some(package) = packages.iter().find(|package| !is_attribute(package)) {
        let package = package.clone();
        return Err(ResolveImageError::PackageName { package });
    }
    let text = text(nixpkgs, &packages);
    let digest = Digest::of(text.as_bytes()).hex();
    let place = directory.join(&digest[..32]);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&place)
        .map_err(|source| ResolveImageError::CreateDirectory {
            path: place.clone(),
            source,
        })?;
    // Only once: a writer's unfinished file would be part of the flake that another one builds.
    let written = std::fs::read(place.join("flake.nix"));
    if !written.is_ok_and(|written| written == text.as_bytes()) {
        write_file(directory, &format!("{digest}.nix"), 0o644, text.as_bytes())
            .map_err(ResolveImageError::WriteFlake)?;
        std::fs::rename(
            directory.join(format!("{digest}.nix")),
            place.join("flake.nix"),
        )
        .map_err(|source| ResolveImageError::CreateDirectory {
            path: place.clone(),
            source,
        })?;
    }
    Ok(ImageSource::Nix(NixReference {
        flake: Flake::Directory(place),
        attribute: "default".into(),
        pin: None,
    }))
}

fn text(nixpkgs: &str, packages: &[String]) -> String {
    let mut paths = String::new();
    for package in packages {
        // Quoted part by part: a name may be a word of the language, such as `or`.
        let quoted = package.replace('.', "\".\"");
        paths.push_str(&format!("        packages.\"{quoted}\"\n"));
    }
    format!(
        r#"{{
  inputs.nixpkgs.url = "{nixpkgs}";
  outputs = {{ self, nixpkgs }}: let
    packages = nixpkgs.legacyPackages.x86_64-linux;
  in {{
    packages.x86_64-linux.default = packages.buildEnv {{
      name = "packages";
      paths = [
{paths}      ];
    }};
  }};
}}
"#
    )
}
