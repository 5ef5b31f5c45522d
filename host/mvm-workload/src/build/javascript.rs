//! What Node.js runs of TypeScript: beside each file of an app's source, its JavaScript. The
//! guest's resolver takes the one for the other.

use mvm_compiler::{SourceFile, to_javascript};
use mvm_contract::Digest;
use mvm_image::compose::{LayerContent, LayerFile, LayerTree};

use super::BuildError;
use crate::declaration::{Findings, read_source};

/// What a file of TypeScript becomes, by its ending.
const ENDINGS: [(&str, &str); 4] = [
    (".ts", ".js"),
    (".tsx", ".js"),
    (".mts", ".mjs"),
    (".cts", ".cjs"),
];
/// Declarations of types: nothing is left of them.
const DECLARATIONS: [&str; 3] = [".d.ts", ".d.mts", ".d.cts"];

/// Adds the JavaScript of every TypeScript file. Packages are left as they are.
pub(super) fn add(tree: &mut LayerTree) -> Result<(), BuildError> {
    let mut added = LayerTree::new();
    for (path, file) in &*tree {
        let Some(javascript) = javascript_path(path) else {
            continue;
        };
        let LayerContent::Host {
            path: file_path,
            digest,
            ..
        } = &file.content
        else {
            continue;
        };
        if tree.contains_key(&javascript) || added.contains_key(&javascript) {
            return Err(BuildError::CompiledBeside {
                typescript: path.clone(),
                javascript,
            });
        }
        let source = read_source(file_path).map_err(BuildError::TypeScriptUnread)?;
        if Digest::of(source.text.as_bytes()) != *digest {
            return Err(BuildError::TypeScriptChanged {
                path: file_path.clone(),
            });
        }
        let written = written(path, source)?;
        let content = LayerContent::Bytes(written.into_bytes());
        let mode = 0o644;
        added.insert(javascript, LayerFile { content, mode });
    }
    tree.append(&mut added);
    Ok(())
}

fn written(path: &str, source: SourceFile) -> Result<String, BuildError> {
    let file = SourceFile {
        path: path.to_owned(),
        text: source.text,
    };
    to_javascript(&file).map_err(|found| BuildError::TypeScript {
        path: path.to_owned(),
        findings: Findings::of(&[file], &found),
    })
}

/// Where the JavaScript of a file goes; none where it is no TypeScript that is run.
fn javascript_path(path: &str) -> Option<String> {
    let is_of_package = path.split('/').any(|name| name == "node_modules");
    if is_of_package || DECLARATIONS.iter().any(|ending| path.ends_with(ending)) {
        return None;
    }
    ENDINGS.iter().find_map(|(typescript, javascript)| {
        let stem = path.strip_suffix(typescript)?;
        Some(format!("{stem}{javascript}"))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use mvm_contract::workload::Source;

    use super::*;
    use crate::source;

    fn tree(files: &[(&str, &str)]) -> Result<LayerTree, BuildError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(path, text).unwrap();
        }
        let source = Source::Local {
            path: ".".to_owned(),
            include: vec!["**".to_owned()],
            exclude: Vec::new(),
        };
        let mut tree = source::collect(folder.path(), &source, "app").unwrap();
        add(&mut tree)?;
        Ok(tree)
    }

    #[test]
    fn typescript_has_its_javascript_beside_it() {
        let tree = tree(&[
            ("app.ts", "export const a: number = 1;"),
            ("lib/part.mts", "export enum B { X }"),
            ("types.d.ts", "declare const c: string;"),
            ("node_modules/p/index.ts", "not ( TypeScript"),
            ("plain.js", ""),
        ])
        .unwrap();
        let names: Vec<_> = tree.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "app/app.js",
                "app/app.ts",
                "app/lib/part.mjs",
                "app/lib/part.mts",
                "app/node_modules/p/index.ts",
                "app/plain.js",
                "app/types.d.ts",
            ]
        );
        let LayerContent::Bytes(bytes) = &tree["app/app.js"].content else {
            panic!("it is written here");
        };
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("export const a = 1;\n"), "{text}");
    }

    #[test]
    fn two_sources_of_one_module_are_refused() {
        let refused = tree(&[("a.ts", ""), ("a.js", "")]).unwrap_err();
        assert!(
            matches!(&refused, BuildError::CompiledBeside { javascript, .. } if javascript == "app/a.js")
        );
        let refused = tree(&[("a.ts", ""), ("a.tsx", "")]).unwrap_err();
        assert!(matches!(refused, BuildError::CompiledBeside { .. }));
    }

    #[test]
    fn what_is_no_typescript_is_refused_at_its_place() {
        let refused = tree(&[("a.ts", "const = 1")]).unwrap_err();
        let BuildError::TypeScript { path, findings } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(path, "app/a.ts");
        assert!(findings.to_string().contains("--> app/a.ts:1:7"));
    }
}
