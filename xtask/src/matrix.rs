//! `docs/sdk/lifecycle-matrix.md`, from what the conformance runners of all surfaces have found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::ExitCode,
};

use serde::Deserialize;

const SCENARIOS: &str = "tests/conformance/scenarios.json";
const PAGE: &str = "docs/sdk/lifecycle-matrix.md";

/// The surfaces, by the names of the runners and of the columns.
const SURFACES: [(&str, &str); 6] = [
    ("python", "Python"),
    ("python-async", "Python, async"),
    ("typescript", "TypeScript"),
    ("rust", "Rust"),
    ("rust-http", "Rust, HTTP"),
    ("cli", "CLI"),
];

#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    row: String,
    #[serde(default)]
    regression: Option<String>,
}

/// A line of the runners' results.
#[derive(Debug, Deserialize)]
struct Finding {
    surface: String,
    scenario: String,
    #[serde(default)]
    passed: bool,
    /// Why the surface cannot run it.
    #[serde(default)]
    left_out: Option<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum MatrixError {
    #[error("failed to read `{path}`")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not what it should be")]
    Json {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("failed to write `{PAGE}`")]
    Write(#[source] std::io::Error),
}

/// Writes the page from a file of results, or compares it.
pub(crate) fn run(results: &str, check: bool) -> ExitCode {
    match page(results) {
        Ok((text, failed)) => {
            for line in &failed {
                eprintln!("conformance: {line}");
            }
            let written = if check {
                fs::read_to_string(PAGE).is_ok_and(|present| present == text)
            } else {
                write(&text)
            };
            if !written {
                eprintln!(
                    "`{PAGE}` is not what was found: `cargo xtask matrix {results}` writes it"
                );
            }
            ExitCode::from(u8::from(!written || !failed.is_empty()))
        }
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn write(text: &str) -> bool {
    let folder = Path::new(PAGE).parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(PAGE, text));
    match written.map_err(MatrixError::Write) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

fn read(path: &str) -> Result<String, MatrixError> {
    fs::read_to_string(path).map_err(|source| MatrixError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The page, and what did not pass or was not run.
fn page(results: &str) -> Result<(String, Vec<String>), MatrixError> {
    let json = |path: &str| {
        let path = path.to_owned();
        move |source| MatrixError::Json { path, source }
    };
    let scenarios: Vec<Scenario> =
        serde_json::from_str(&read(SCENARIOS)?).map_err(json(SCENARIOS))?;
    let mut findings: BTreeMap<(String, String), Finding> = BTreeMap::new();
    for line in read(results)?.lines() {
        let finding: Finding = serde_json::from_str(line).map_err(json(results))?;
        // The newest of several runs.
        findings.insert((finding.surface.clone(), finding.scenario.clone()), finding);
    }
    let found =
        |surface: &str, scenario: &str| findings.get(&(surface.to_owned(), scenario.to_owned()));

    let mut failed = Vec::new();
    let mut reasons = BTreeSet::new();
    let mut rows: Vec<&str> = Vec::new();
    for scenario in &scenarios {
        if !rows.contains(&scenario.row.as_str()) {
            rows.push(&scenario.row);
        }
        for (surface, _) in SURFACES {
            match found(surface, &scenario.name) {
                Some(finding) if finding.passed => {}
                Some(Finding {
                    left_out: Some(reason),
                    ..
                }) => {
                    reasons.insert((surface, scenario.name.as_str(), reason.as_str()));
                }
                Some(_) => failed.push(format!("{surface}: {} failed", scenario.name)),
                None => failed.push(format!("{surface}: {} was not run", scenario.name)),
            }
        }
    }

    let mut text = String::from(
        "# Lifecycle matrix\n\nWritten by `cargo xtask matrix` from what the conformance runners found: each row is one or more \
         scenarios of\n`tests/conformance/scenarios.json`, run against real microVMs. *Shipped* is what passed.\n\n",
    );
    let head: Vec<&str> = SURFACES.iter().map(|(_, column)| *column).collect();
    text.push_str(&format!(
        "| | {} |\n|---|{}\n",
        head.join(" | "),
        "---|".repeat(head.len())
    ));
    for row in &rows {
        let of_row = || scenarios.iter().filter(|scenario| scenario.row == **row);
        let cell = |surface: &str| {
            let ran = of_row().filter_map(|scenario| found(surface, &scenario.name));
            let ran: Vec<_> = ran.filter(|finding| finding.left_out.is_none()).collect();
            match ran.iter().all(|finding| finding.passed) {
                _ if ran.is_empty() => "see below",
                true => "Shipped",
                false => "**fails**",
            }
        };
        let cells: Vec<&str> = SURFACES.iter().map(|(surface, _)| cell(surface)).collect();
        text.push_str(&format!("| {row} | {} |\n", cells.join(" | ")));
    }
    if !reasons.is_empty() {
        text.push_str("\n## Left out\n\n| surface | scenario | why |\n|---|---|---|\n");
        for (surface, scenario, reason) in reasons {
            text.push_str(&format!("| {surface} | `{scenario}` | {reason} |\n"));
        }
    }
    text.push_str(
        "\n## Complaints of other projects' users\n\nEach is a scenario here, on every surface.\n\n| complaint | scenario |\n|---|---|\n",
    );
    for scenario in &scenarios {
        if let Some(regression) = &scenario.regression {
            text.push_str(&format!("| {regression} | `{}` |\n", scenario.name));
        }
    }
    Ok((text, failed))
}
