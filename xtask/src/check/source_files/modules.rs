//! A file that no `mod` leads to is not compiled, and its tests never run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::{Item, ItemMod, Lit, Meta};

use super::SourceFile;
use crate::check::Finding;

pub(super) fn check(files: &[SourceFile], roots: &[PathBuf]) -> Vec<Finding> {
    let texts = files
        .iter()
        .map(|file| (file.path.as_path(), file.text.as_str()))
        .collect();
    let mut reach = Reach {
        texts,
        reached: BTreeSet::new(),
        findings: Vec::new(),
    };
    for root in roots {
        let folder = root.parent().unwrap_or(root).to_owned();
        reach.file(root, &folder);
    }
    let Reach {
        reached,
        mut findings,
        ..
    } = reach;
    findings.extend(
        files
            .iter()
            .filter(|file| !reached.contains(&file.path))
            .map(|file| Finding::new(&file.path, "is not part of any crate: no `mod` leads to it")),
    );
    findings
}

struct Reach<'a> {
    texts: BTreeMap<&'a Path, &'a str>,
    reached: BTreeSet<PathBuf>,
    findings: Vec<Finding>,
}

impl Reach<'_> {
    /// Follows the modules of the file `path`, whose own are in the folder `children`.
    fn file(&mut self, path: &Path, children: &Path) {
        let Some(text) = self.texts.get(path) else {
            return;
        };
        if !self.reached.insert(path.to_owned()) {
            return;
        }
        match syn::parse_file(text) {
            Ok(file) => self.items(&file.items, path, children),
            Err(error) => self
                .findings
                .push(Finding::new(path, format!("does not parse: {error}"))),
        }
    }

    fn items(&mut self, items: &[Item], file: &Path, children: &Path) {
        for item in items {
            let Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let name = name.strip_prefix("r#").unwrap_or(&name);
            if let Some((_, items)) = &module.content {
                self.items(items, file, &children.join(name));
            } else if let Some(path) = path_attribute(module) {
                let path = file.parent().unwrap_or(file).join(path);
                let folder = path.parent().unwrap_or(&path).to_owned();
                self.file(&path, &folder);
            } else {
                let folder = children.join(name);
                self.file(&children.join(format!("{name}.rs")), &folder);
                self.file(&folder.join("mod.rs"), &folder);
            }
        }
    }
}

/// The value of `#[path = "..."]`.
fn path_attribute(module: &ItemMod) -> Option<String> {
    module
        .attrs
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                syn::Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undeclared_files_are_found() {
        let file = |path: &str, text: &str| SourceFile {
            path: path.into(),
            text: text.into(),
        };
        let files = [
            file(
                "src/lib.rs",
                "mod one; mod inline { mod two; } #[path = \"odd.rs\"] mod three;",
            ),
            file("src/one.rs", "mod deep;"),
            file("src/one/deep.rs", ""),
            file("src/inline/two/mod.rs", ""),
            file("src/odd.rs", ""),
            file("src/forgotten.rs", ""),
        ];
        let findings = check(&files, &["src/lib.rs".into()]);
        let places: Vec<_> = findings
            .iter()
            .map(|finding| finding.place.to_str())
            .collect();
        assert_eq!(places, [Some("src/forgotten.rs")]);
    }
}
