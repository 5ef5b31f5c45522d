//! Findings as text for people, as JSON lines, and as SARIF.

mod position;
mod sarif;
mod text;

use serde_json::{Value as Json, json};

use crate::{Diagnostic, Severity, SourceFile, Span};

use position::Positions;
pub use sarif::sarif;
pub use text::text;

impl Severity {
    /// The severity as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One JSON object a line, each with `code`, `severity`, `message`, `path`, `line`, `column`,
/// `end_line`, `end_column`, `labels` and `hint`. Lines and columns count from 1, columns in
/// characters (Unicode scalar values).
#[must_use]
pub fn json_lines(files: &[SourceFile], diagnostics: &[Diagnostic]) -> String {
    let positions = Positions::of(files);
    let mut lines = String::new();
    for diagnostic in diagnostics {
        let mut line = place(files, &positions, diagnostic.span);
        line["code"] = json!(diagnostic.code);
        line["severity"] = json!(diagnostic.severity.as_str());
        line["message"] = json!(diagnostic.message);
        line["hint"] = json!(diagnostic.hint);
        let labels = diagnostic.labels.iter().map(|label| {
            let mut object = place(files, &positions, label.span);
            object["message"] = json!(label.text);
            object
        });
        line["labels"] = labels.collect();
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    lines
}

fn place(files: &[SourceFile], positions: &Positions, span: Span) -> Json {
    let (line, column) = positions.find(files, span.file, span.start);
    let (end_line, end_column) = positions.find(files, span.file, span.end);
    json!({
        "path": path(files, span),
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    })
}

fn path(files: &[SourceFile], span: Span) -> &str {
    let file = files.get(span.file.0 as usize);
    file.map_or("", |file| file.path.as_str())
}
