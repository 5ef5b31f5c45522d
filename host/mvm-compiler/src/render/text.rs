//! Findings as text: what, where, the source line with what is meant underlined, and the way out.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Positions, path};
use crate::{Diagnostic, FileId, Severity, SourceFile, Span};

/// A window of the source that is longer is not shown.
const MAX_SHOWN_BYTES: usize = 16 * 1024;

/// A place, and what a label says of it.
type Place<'a> = (Span, Option<&'a str>);

/// All findings, one after the other, with a blank line after each.
#[must_use]
pub fn text(files: &[SourceFile], diagnostics: &[Diagnostic], colors: bool) -> String {
    let renderer = if colors {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let positions = Positions::of(files);
    let mut rendered = String::new();
    for diagnostic in diagnostics {
        let group = group(files, &positions, diagnostic);
        rendered.push_str(&renderer.render(&[group]));
        rendered.push_str("\n\n");
    }
    rendered
}

fn group<'a>(
    files: &'a [SourceFile],
    positions: &Positions,
    diagnostic: &'a Diagnostic,
) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Note => Level::NOTE,
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let title = level
        .primary_title(printable(&diagnostic.message))
        .id(diagnostic.code);
    // Places of one file go together, those of the finding itself first.
    let mut by_file: Vec<(FileId, Vec<Place<'_>>)> =
        vec![(diagnostic.span.file, vec![(diagnostic.span, None)])];
    for label in &diagnostic.labels {
        let text = Some(label.text.as_str());
        match by_file
            .iter_mut()
            .find(|(file, _)| *file == label.span.file)
        {
            Some((_, places)) => places.push((label.span, text)),
            None => by_file.push((label.span.file, vec![(label.span, text)])),
        }
    }
    let mut group = Group::with_title(title);
    for (file, places) in by_file {
        group = group.elements(snippets(files, positions, file, &places));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.with_name("hint").message(printable(hint)));
    }
    group
}

/// The lines that hold the places, as one snippet if they are near each other.
fn snippets<'a>(
    files: &'a [SourceFile],
    positions: &Positions,
    file: FileId,
    places: &[Place<'_>],
) -> Vec<annotate_snippets::Element<'a>> {
    let Some(source) = files.get(file.0 as usize) else {
        return Vec::new();
    };
    let lines = places
        .iter()
        .map(|(span, _)| positions.line(file, span.start).0);
    let first = lines.clone().min().unwrap_or(1);
    let last = lines.max().unwrap_or(1);
    let start = positions.start(file, first).unwrap_or(0);
    let end = positions.start(file, last + 1).unwrap_or(source.text.len());
    let window = source.text.get(start..end).unwrap_or_default();
    if window.len() > MAX_SHOWN_BYTES {
        return places
            .iter()
            .map(|(span, _)| origin(files, positions, *span))
            .collect();
    }
    let mut snippet = Snippet::source(window)
        .line_start(first)
        .path(printable(&source.path));
    for (span, label) in places {
        let from = (span.start as usize)
            .saturating_sub(start)
            .min(window.len());
        let to = (span.end as usize).saturating_sub(start).min(window.len());
        // What goes over several lines is underlined where it begins.
        let to = match window
            .get(from..to)
            .and_then(|text| text.find(['\n', '\r']))
        {
            Some(length) => from + length,
            None => to,
        };
        let kind = match label {
            None => AnnotationKind::Primary,
            Some(_) => AnnotationKind::Context,
        };
        let (from, to) = (
            window.floor_char_boundary(from),
            window.ceil_char_boundary(to),
        );
        let annotation = kind.span(from..to.max(from));
        snippet = snippet.annotation(match label {
            Some(text) => annotation.label(printable(text)),
            None => annotation,
        });
    }
    vec![snippet.into()]
}

/// A place without its line.
fn origin<'a>(
    files: &'a [SourceFile],
    positions: &Positions,
    span: Span,
) -> annotate_snippets::Element<'a> {
    let (line, column) = positions.find(files, span.file, span.start);
    annotate_snippets::Origin::path(printable(path(files, span)))
        .line(line)
        .char_column(column)
        .into()
}

/// Text without control characters: a source file does not write on its reader's terminal.
fn printable(text: &str) -> String {
    let plain = |letter: char| {
        if letter.is_control() {
            '\u{fffd}'
        } else {
            letter
        }
    };
    text.chars().map(plain).collect()
}
