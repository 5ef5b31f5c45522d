//! The front end of TypeScript and JavaScript. The parser is that of `oxc`: it knows the whole
//! language, and keeps what it could read beside a mistake where it can.

mod class;
mod expression;
mod function;
mod hint;
mod import;
mod javascript;
mod measure;
mod record;
mod statement;
mod wrapped;

use mvm_contract::workload::Language;
use oxc_allocator::Allocator;
use oxc_diagnostics::OxcDiagnostic;
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType};

pub use javascript::to_javascript;

use crate::{
    Diagnostic,
    limits::MAX_DIAGNOSTICS,
    syntax::{FileId, Module, Name, Span},
};

/// The most words and signs of a file, for which the parser still gets a stack.
const MAX_PIECES: usize = 250_000;
/// What one word, and one sign, can take of the parser's stack, in bytes: twice what the worst
/// of them was measured to take, with optimization and without.
const BYTES_PER_WORD: usize = if cfg!(debug_assertions) { 5 } else { 2 } * 1024;
const BYTES_PER_SIGN: usize = if cfg!(debug_assertions) { 10 } else { 4 } * 1024;
/// What the walk over the parsed file takes, whose depth has bounds of its own, in bytes.
const BASE_STACK: usize = 16 * 1024 * 1024;

/// Lowers a file. `path` tells what may be in it, by its ending.
pub(crate) fn lower(path: &str, file: FileId, text: &str) -> Module {
    measured(file, text, || parse(path, file, text)).unwrap_or_else(|report| refused(file, report))
}

/// Runs what reads a text on a thread whose stack has room for it, or says why there is none.
fn measured<T: Send>(
    file: FileId,
    text: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, Diagnostic> {
    let measure = measure::measure(text);
    if measure.words + measure.signs > MAX_PIECES {
        let message = format!("the file has more than {MAX_PIECES} words and signs");
        return Err(
            Diagnostic::error("E_TOO_LARGE", Span::start_of(file), message)
                .hint("keep declarations in a file of their own"),
        );
    }
    if let Some(offset) = measure.too_deep {
        let at = u32::try_from(offset).unwrap_or(u32::MAX);
        let span = Span::new(file, at, at.saturating_add(1));
        return Err(
            Diagnostic::error("E_TOO_DEEP", span, "brackets are nested too deeply")
                .hint("split the expression up, or move it to another file"),
        );
    }
    // Pages of a stack that is not used are never there.
    let stack = BASE_STACK + measure.words * BYTES_PER_WORD + measure.signs * BYTES_PER_SIGN;
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("parse".to_owned())
            .stack_size(stack);
        let worker = thread.spawn_scoped(scope, work);
        worker.ok().and_then(|worker| worker.join().ok())
    });
    done.ok_or_else(|| {
        let message = "the parser failed on this file";
        Diagnostic::error("E_INTERNAL", Span::start_of(file), message)
    })
}

fn refused(file: FileId, report: Diagnostic) -> Module {
    let mut module = Module::empty(file, Language::Node);
    module.diagnostics.push(report);
    module
}

fn parse(path: &str, file: FileId, text: &str) -> Module {
    let mut module = Module::empty(file, Language::Node);
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, source_type(path)).parse();
    module.diagnostics = syntax_errors(file, text, &parsed.diagnostics);
    statement::lower(text, &parsed.program, &mut module);
    module
}

/// What the parser says of a text.
fn syntax_errors(file: FileId, text: &str, found: &[OxcDiagnostic]) -> Vec<Diagnostic> {
    let errors = found.iter().take(MAX_DIAGNOSTICS).map(|error| {
        let mut labels = error.labels.iter().map(|label| {
            let start = label.offset();
            Span::new(file, start, start.saturating_add(label.len()))
        });
        let at = labels.next().unwrap_or(Span::start_of(file));
        let message = phrase(&error.message);
        Diagnostic::error("E_SYNTAX", within(text, at), message)
    });
    errors.collect()
}

fn source_type(path: &str) -> SourceType {
    let ending = path.rsplit('.').next().unwrap_or_default();
    match ending {
        "ts" | "mts" | "cts" => SourceType::ts(),
        "tsx" => SourceType::tsx(),
        "cjs" => SourceType::cjs(),
        _ => SourceType::mjs().with_jsx(true),
    }
}

/// The parser's messages begin in uppercase; ours do not.
fn phrase(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    match letters.next() {
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message.to_owned(),
    }
}

/// A place whose ends lie in the text, between characters.
fn within(text: &str, at: Span) -> Span {
    let place = |offset: u32| {
        let mut offset = (offset as usize).min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        u32::try_from(offset).unwrap_or(u32::MAX)
    };
    Span::new(at.file, place(at.start), place(at.end.max(at.start)))
}

fn span(file: FileId, node: &impl GetSpan) -> Span {
    let span = node.span();
    Span::new(file, span.start, span.end)
}

fn name(file: FileId, text: &str, node: &impl GetSpan) -> Name {
    Name {
        text: text.to_owned(),
        span: span(file, node),
    }
}
