//! The front ends: one function per language, from text to the neutral tree.
//!
//! A front end measures the nesting of the text before its parser sees it and gives up with
//! `E_TOO_DEEP`: above [`crate::limits::MAX_NESTING`], on a stack of [`crate::limits::STACK_BYTES`],
//! or above a bound of its own, on a stack of its own that is as large as its measure asks. The text is at most [`crate::MAX_SOURCE_BYTES`] long, so that
//! every offset fits 32 bits. A syntax error is `E_SYNTAX`; what could be read is lowered beside it.

use mvm_contract::workload::Language;

use crate::{
    python, rust,
    syntax::{FileId, Module},
    typescript,
};

/// The language that a file's name says.
pub(crate) fn language_of(path: &str) -> Option<Language> {
    let (_, extension) = path.rsplit_once('.')?;
    match extension {
        "py" => Some(Language::Python),
        "ts" | "mts" | "cts" | "tsx" | "js" | "mjs" | "cjs" | "jsx" => Some(Language::Node),
        "rs" => Some(Language::Rust),
        _ => None,
    }
}

/// Lowers a file.
pub(crate) fn lower(language: Language, path: &str, file: FileId, text: &str) -> Module {
    match language {
        Language::Python => python::lower(file, text),
        Language::Node => typescript::lower(path, file, text),
        Language::Rust => rust::lower(file, text),
    }
}
