//! The pages about declarations: every declaration in them compiles, or is said what it shows; every
//! helper and every code is named.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod markdown;

use std::{fs, path::PathBuf};

use mvm_compiler::{SourceFile, codes, compile, render};
use mvm_contract::workload::{DEFAULT_NODE, DEFAULT_PYTHON};

fn page(name: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/sdk")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn declarations_compile() {
    for name in ["declaration-cookbook.md", "decorator-sdk.md"] {
        let (_, text) = page(name);
        let mut compiled = 0;
        for section in markdown::parse(&text) {
            for (index, block) in section.blocks.iter().enumerate() {
                let path = match block.info.as_str() {
                    "python" => "app.py",
                    "typescript" => "app.ts",
                    "rust" => "app.rs",
                    _ => continue,
                };
                let files = [SourceFile {
                    path: path.to_owned(),
                    text: block.text.clone(),
                }];
                let result = compile(&files);
                let said = render::text(&files, &result.diagnostics, false);
                // A declaration with errors is followed by the first of them.
                let next = section.blocks.get(index + 1);
                match next.filter(|next| next.text.starts_with("error[")) {
                    Some(next) => assert!(said.starts_with(&next.text), "{name}:\n{said}"),
                    None => assert!(
                        result.workload.is_some() && said.is_empty(),
                        "{name}: {}:\n{said}",
                        section.title
                    ),
                }
                compiled += 1;
            }
        }
        assert!(compiled >= 2, "{name} shows nothing");
    }
}

#[test]
fn versions_that_nobody_names_are_documented() {
    let (_, text) = page("decorator-sdk.md");
    for row in [
        format!("| `python_image(python=\"{DEFAULT_PYTHON}\", packages=[])` |"),
        format!("| `node_image(node=\"{DEFAULT_NODE}\", packages=[])` |"),
    ] {
        assert!(text.contains(&row), "{row}");
    }
}

#[test]
fn every_code_is_documented() {
    let (path, text) = page("decorator-sdk.md");
    let mut table = "| code | meaning |\n|---|---|\n".to_owned();
    for (code, meaning) in codes::CODES {
        table.push_str(&format!("| `{code}` | {meaning} |\n"));
    }
    if std::env::var_os("BLESS").is_some() {
        let start = text
            .find("| code | meaning |")
            .or_else(|| text.find("CODES\n"))
            .unwrap();
        fs::write(path, format!("{}{table}", &text[..start])).unwrap();
    } else {
        assert!(
            text.ends_with(&table),
            "`BLESS=1` writes the table of codes"
        );
    }
}

#[test]
fn every_code_that_is_said_has_a_meaning() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![directory];
    let mut said = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(path).unwrap().map(|it| it.unwrap().path()));
        } else if path.file_name().is_some_and(|name| name != "codes.rs") {
            let text = fs::read_to_string(path).unwrap();
            said.extend(
                text.split('"')
                    .filter(|part| is_code(part))
                    .map(str::to_owned),
            );
        }
    }
    assert!(said.len() > 50);
    for code in &said {
        assert!(codes::meaning(code).is_some(), "`{code}` has no meaning");
    }
    for (code, _) in codes::CODES {
        assert!(said.iter().any(|it| it == code), "`{code}` is never said");
    }
    assert!(codes::CODES.is_sorted());
}

fn is_code(text: &str) -> bool {
    let named = text.strip_prefix("E_").or_else(|| text.strip_prefix("W_"));
    let named = named.or_else(|| text.strip_prefix("N_"));
    named.is_some_and(|name| {
        name.len() > 2
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}
