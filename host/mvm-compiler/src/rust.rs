//! The front end of Rust. The lexer is that of `proc-macro2` and the parser that of `syn`, which
//! gives up at the first mistake.

mod attribute;
mod hint;
mod item;
mod measure;
mod record;

use mvm_contract::workload::Language;
use proc_macro2::{Span as Place, TokenStream};
use syn::spanned::Spanned;

use crate::{
    Diagnostic,
    syntax::{FileId, Module, Name, Span},
};

/// The deepest recursion for which the parser still gets a stack.
const MAX_RECURSION: usize = 12_000;
/// What one level can take of the parser's stack, in bytes: twice what the worst was measured to
/// take, with optimization and without.
const BYTES_PER_LEVEL: usize = if cfg!(debug_assertions) { 72 } else { 9 } * 1024;
/// What everything else takes, in bytes.
const BASE_STACK: usize = 16 * 1024 * 1024;

/// Lowers a file.
pub(crate) fn lower(file: FileId, text: &str) -> Module {
    // The lexer keeps its texts for as long as its thread lives, and knows no `#!` of scripts.
    let skipped = prefix_of(text);
    let source = Source { file, skipped };
    let text = text.get(skipped..).unwrap_or_default();
    let measured = on_stack(BASE_STACK, || {
        let tokens = text.parse::<TokenStream>().map_err(|error| {
            let message = "this is no Rust: a text, a comment or a bracket does not end, or a sign is not known";
            Diagnostic::error("E_SYNTAX", source.span(error.span()), message)
        })?;
        measure::recursion(tokens).map_err(|place| {
            let message = "a number has more digits than are read";
            Diagnostic::error("E_TOO_LARGE", source.span(place), message).hint("write it as a text")
        })
    });
    let recursion = match measured {
        Some(Ok(recursion)) => recursion,
        Some(Err(report)) => return refused(file, report),
        None => return failed(file),
    };
    if recursion > MAX_RECURSION {
        let message = "what stands between two `;` is too long, or nested too deeply";
        let report = Diagnostic::error("E_TOO_DEEP", Span::start_of(file), message)
            .hint("split it up, or move declarations to a file of their own");
        return refused(file, report);
    }
    let stack = BASE_STACK + recursion * BYTES_PER_LEVEL;
    on_stack(stack, || parse(source, text)).unwrap_or_else(|| failed(file))
}

fn parse(source: Source, text: &str) -> Module {
    match syn::parse_str::<syn::File>(text) {
        Ok(parsed) => item::lower(source, text, &parsed),
        Err(error) => {
            let mut module = Module::empty(source.file, Language::Rust);
            for error in error {
                let place = source.span(error.span());
                let message = error.to_string();
                module
                    .diagnostics
                    .push(Diagnostic::error("E_SYNTAX", place, message));
            }
            module
        }
    }
}

fn on_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("parse".to_owned())
            .stack_size(bytes);
        let worker = thread.spawn_scoped(scope, work).ok()?;
        worker.join().ok()
    })
}

fn refused(file: FileId, report: Diagnostic) -> Module {
    let mut module = Module::empty(file, Language::Rust);
    module.diagnostics.push(report);
    module
}

fn failed(file: FileId) -> Module {
    let message = "the parser failed on this file";
    refused(
        file,
        Diagnostic::error("E_INTERNAL", Span::start_of(file), message),
    )
}

/// How long the mark of the byte order and the `#!` line are, which are no Rust.
fn prefix_of(text: &str) -> usize {
    let mark = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let rest = text.get(mark..).unwrap_or_default();
    let is_script = rest
        .strip_prefix("#!")
        .is_some_and(|line| !line.trim_start().starts_with('['));
    if is_script {
        mark + rest.find('\n').unwrap_or(rest.len())
    } else {
        mark
    }
}

/// A file, and how much of it the parser does not see.
#[derive(Clone, Copy)]
struct Source {
    file: FileId,
    skipped: usize,
}

impl Source {
    fn span(self, place: Place) -> Span {
        let range = place.byte_range();
        let at = |offset: usize| u32::try_from(offset + self.skipped).unwrap_or(u32::MAX);
        Span::new(self.file, at(range.start), at(range.end))
    }

    fn of(self, node: &impl Spanned) -> Span {
        self.span(node.span())
    }

    fn name(self, word: &proc_macro2::Ident) -> Name {
        Name {
            text: plain(word),
            span: self.span(word.span()),
        }
    }
}

/// A word without the `r#` of raw ones.
fn plain(word: &proc_macro2::Ident) -> String {
    let text = word.to_string();
    text.strip_prefix("r#").map_or(text.clone(), str::to_owned)
}
