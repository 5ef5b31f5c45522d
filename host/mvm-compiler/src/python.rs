//! The front end of Python 3.10 to 3.13. The parser is that of `ruff`: it goes on after a syntax
//! error, and takes its stack from the heap where a text nests deeply.

mod binding;
mod expression;
mod hint;
mod nesting;
mod record;
mod statement;

use mvm_contract::workload::Language;
use ruff_python_ast::{Mod, PythonVersion};
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};
use ruff_text_size::{Ranged, TextRange};

use crate::{
    Diagnostic,
    limits::{MAX_DIAGNOSTICS, MAX_NESTING},
    syntax::{FileId, Module, Name, Span},
};

/// Lowers a file.
pub(crate) fn lower(file: FileId, text: &str) -> Module {
    let mut module = Module::empty(file, Language::Python);
    if let Some(offset) = nesting::first_beyond(text, MAX_NESTING) {
        let span = Span::new(file, offset, offset);
        module.diagnostics.push(
            Diagnostic::error(
                "E_TOO_DEEP",
                span,
                format!("an expression of more than {MAX_NESTING} parts in each other"),
            )
            .hint("split it up, or move it to another file"),
        );
        return module;
    }
    let options = ParseOptions::from(Mode::Module).with_target_version(PythonVersion::PY313);
    let parsed = parse_unchecked(text, options);
    for error in parsed.errors().iter().take(MAX_DIAGNOSTICS) {
        let message = error.error.to_string();
        module.diagnostics.push(Diagnostic::error(
            "E_SYNTAX",
            span(file, error.location),
            lowercase_first(&message),
        ));
    }
    for error in parsed
        .unsupported_syntax_errors()
        .iter()
        .take(MAX_DIAGNOSTICS)
    {
        let message = error.to_string();
        module.diagnostics.push(Diagnostic::error(
            "E_SYNTAX",
            span(file, error.range),
            lowercase_first(&message),
        ));
    }
    if let Mod::Module(parsed) = parsed.syntax() {
        statement::lower(text, &parsed.body, &mut module);
    }
    module
}

fn span(file: FileId, range: TextRange) -> Span {
    Span::new(file, range.start().to_u32(), range.end().to_u32())
}

fn name(file: FileId, identifier: &ruff_python_ast::Identifier) -> Name {
    Name {
        text: identifier.id.to_string(),
        span: span(file, identifier.range()),
    }
}

/// The parser's messages begin in uppercase; ours do not.
fn lowercase_first(message: &str) -> String {
    let mut letters = message.chars();
    match letters.next() {
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message.to_owned(),
    }
}
