//! What can be typed about declarations.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 there is a workload; 1 the declaration has errors; 125 it could not be looked at, or
the result could not be written. Nothing of a file is imported or run.")]
pub(crate) struct Compile {
    /// Source files of one directory that declare one workload (.py, .ts, .js, .rs); `-` is standard input, taken as
    /// `app.py`.
    #[arg(value_name = "FILE", required_unless_present_any = ["from_ir", "from_recording"])]
    pub(crate) files: Vec<PathBuf>,
    /// Read Workload IR instead and check it; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub(crate) from_ir: Option<PathBuf>,
    /// Make it of a recording instead (`mvmctl run --mode record --recording FILE`); `-` is standard
    /// input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "from_ir"])]
    pub(crate) from_recording: Option<PathBuf>,
    /// What standard input is written in.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) language: SourceLanguage,
    /// Write `workload.json` into a directory, or an archive whose name ends in .tgz; the workload's
    /// digest is printed.
    #[arg(long, value_name = "DIR|FILE.tgz")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no errors, though there may be warnings; 1 errors; 125 a file could not be looked at.
Nothing of a file is imported or run.")]
pub(crate) struct Check {
    /// Source files (.py), each by itself; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// What standard input is written in.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) language: SourceLanguage,
    /// How findings are printed; `--json` is json.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// With their source lines.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// One SARIF 2.1.0 log.
    Sarif,
}

/// What a source is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceLanguage {
    /// Python.
    #[default]
    Python,
    /// TypeScript.
    Typescript,
    /// Rust.
    Rust,
}

impl SourceLanguage {
    /// How the names of its files end.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::Typescript => "ts",
            Self::Rust => "rs",
        }
    }
}
