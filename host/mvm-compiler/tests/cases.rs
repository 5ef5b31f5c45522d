//! The cases in `tests/cases/*.md`: declarations with what they come to.
//!
//! A case is a section (`##`). Its fenced blocks of source (`python`, `typescript`, `rust`) are
//! compiled, each by itself. The block `json ir` holds the workload they come to, the same for all of
//! them apart from language and module; a block `text LANGUAGE` what is said about the source in that
//! language. A case whose source is of no workload has no `json ir`; one about which nothing is said
//! has no `text`. `BLESS=1` writes what is missing or differs.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod markdown;

use std::{fs, path::Path};

use markdown::{Block, Section};
use mvm_compiler::{Compilation, SourceFile, compile, render};
use serde_json::Value as Json;

/// Languages of blocks, with the name their file gets.
const LANGUAGES: [(&str, &str); 3] = [
    ("python", "app.py"),
    ("typescript", "app.ts"),
    ("rust", "app.rs"),
];

#[test]
fn cases_come_to_what_they_say() {
    let bless = std::env::var_os("BLESS").is_some();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 5, "cases are missing");
    let mut differences = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let before = fs::read_to_string(&path).unwrap();
        let mut sections = markdown::parse(&before);
        for section in &mut sections {
            check(&name, section, &mut differences);
        }
        let after = markdown::write(&sections);
        if before != after {
            if bless {
                fs::write(&path, after).unwrap();
            } else {
                differences.push(format!("{name}: `BLESS=1` would change it"));
            }
        }
    }
    if !bless {
        assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    }
}

/// Compiles a section's sources and puts what they come to in its blocks.
fn check(file: &str, section: &mut Section, differences: &mut Vec<String>) {
    let sources: Vec<(String, SourceFile)> = section
        .blocks
        .iter()
        .filter_map(|block| {
            let (language, path) = LANGUAGES.iter().find(|(it, _)| block.info == *it)?;
            let source = SourceFile {
                path: (*path).to_owned(),
                text: block.text.clone(),
            };
            Some(((*language).to_owned(), source))
        })
        .collect();
    let mut first: Option<(String, Json)> = None;
    for (language, source) in &sources {
        let Compilation {
            workload,
            diagnostics,
            ..
        } = compile(std::slice::from_ref(source));
        let said = render::text(std::slice::from_ref(source), &diagnostics, false);
        expect(
            file,
            section,
            &format!("text {language}"),
            said,
            differences,
        );
        let ir = workload.map(|workload| {
            // What is written is what is read.
            let bytes = workload.write().unwrap();
            let read = mvm_contract::workload::Workload::read(&bytes).unwrap();
            assert_eq!(read, workload, "{file}: {}", section.title);
            neutral(serde_json::to_value(&workload).unwrap())
        });
        let ir = ir.unwrap_or(Json::Null);
        match &first {
            None => first = Some((language.clone(), ir)),
            Some((other, expected)) if *expected != ir => differences.push(format!(
                "{file}: {}: {other} and {language} differ:\n{expected:#}\n{ir:#}",
                section.title
            )),
            Some(_) => {}
        }
    }
    if let Some((_, ir)) = first {
        // What other declarations of this form can say must not be blessed as refused.
        if file == "cookbook" {
            assert!(!ir.is_null(), "{file}: {} is refused", section.title);
        }
        let text = match ir {
            Json::Null => String::new(),
            ir => format!("{ir:#}\n"),
        };
        expect(file, section, "json ir", text, differences);
    }
}

/// Compares what a block says with what came, and makes it say that.
fn expect(
    file: &str,
    section: &mut Section,
    info: &str,
    came: String,
    differences: &mut Vec<String>,
) {
    let came = came.trim_end().to_owned();
    let at = section.blocks.iter().position(|block| block.info == info);
    let said = at
        .and_then(|at| section.blocks.get(at))
        .map(|it| it.text.trim_end());
    if said.unwrap_or_default() == came {
        return;
    }
    differences.push(format!(
        "{file}: {}: `{info}`\n--- expected\n{}\n--- came\n{came}",
        section.title,
        said.unwrap_or_default()
    ));
    match (at, came.is_empty()) {
        (Some(at), true) => {
            section.blocks.remove(at);
        }
        (Some(at), false) => {
            if let Some(block) = section.blocks.get_mut(at) {
                block.text = format!("{came}\n");
            }
        }
        (None, _) => section.blocks.push(Block {
            before: "\n".to_owned(),
            info: info.to_owned(),
            text: format!("{came}\n"),
        }),
    }
}

/// A workload without what differs from language to language.
fn neutral(mut ir: Json) -> Json {
    let apps = ir.get_mut("apps").and_then(Json::as_array_mut);
    for app in apps.into_iter().flatten() {
        let entrypoints = app.get_mut("entrypoints").and_then(Json::as_array_mut);
        for entrypoint in entrypoints.into_iter().flatten() {
            for field in ["language", "module"] {
                if let Some(value) = entrypoint.get_mut(field) {
                    *value = Json::from("…");
                }
            }
        }
    }
    ir
}
