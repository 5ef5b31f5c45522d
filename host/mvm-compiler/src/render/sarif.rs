//! Findings as SARIF 2.1.0.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{Positions, path};
use crate::{Diagnostic, Severity, SourceFile, Span, codes};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One log with one run (SARIF 2.1.0, section 3.13). Columns count Unicode code points.
#[must_use]
pub fn sarif(files: &[SourceFile], diagnostics: &[Diagnostic]) -> Json {
    let positions = Positions::of(files);
    let used: BTreeSet<&str> = diagnostics.iter().map(|it| it.code).collect();
    let rules = used.iter().map(|code| {
        let meaning = codes::meaning(code).unwrap_or("a rule of Workload IR");
        json!({ "id": code, "shortDescription": { "text": meaning } })
    });
    let results = diagnostics.iter().map(|diagnostic| {
        let text = match &diagnostic.hint {
            Some(hint) => format!("{}. Hint: {hint}.", diagnostic.message),
            None => format!("{}.", diagnostic.message),
        };
        let related = diagnostic.labels.iter().map(|label| {
            let mut location = location(files, &positions, label.span);
            location["message"] = json!({ "text": label.text });
            location
        });
        json!({
            "ruleId": diagnostic.code,
            "level": level(diagnostic.severity),
            "message": { "text": text },
            "locations": [location(files, &positions, diagnostic.span)],
            "relatedLocations": related.collect::<Vec<_>>(),
        })
    });
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mvmctl",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn location(files: &[SourceFile], positions: &Positions, span: Span) -> Json {
    let (line, column) = positions.find(files, span.file, span.start);
    let (end_line, end_column) = positions.find(files, span.file, span.end);
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(path(files, span)) },
            "region": {
                "startLine": line,
                "startColumn": column,
                "endLine": end_line,
                "endColumn": end_column,
            },
        },
    })
}

/// A path as a relative reference (RFC 3986): what is not plain is percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
