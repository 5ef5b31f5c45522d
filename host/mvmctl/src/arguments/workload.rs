//! What can be typed about workloads.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use mvm_contract::duration;

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where; the directory is made where it is not there. Nothing in it is replaced.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// What to begin with.
    #[arg(long, value_enum, value_name = "TEMPLATE")]
    pub(crate) template: Template,
    /// The workload's name; without it, one made of the directory's.
    #[arg(long, value_name = "ID")]
    pub(crate) name: Option<String>,
}

/// What a project begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A function in Python.
    Python,
    /// A function in TypeScript.
    Node,
    /// A command that is kept up, with its health looked at.
    Worker,
}

impl From<Template> for mvm_workload::Template {
    fn from(template: Template) -> Self {
        match template {
            Template::Python => Self::Python,
            Template::Node => Self::Node,
            Template::Worker => Self::Worker,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// A source file, a Workload IR document, or a directory with one of them.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Build this app only.
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// The app and its function; without a function, the primary one.
    #[arg(value_name = "APP[.FUNCTION]")]
    pub(crate) target: String,
    /// JSON: an object of arguments by name, or an array in their order; `-` is standard input.
    #[arg(default_value = "{}")]
    pub(crate) arguments: String,
    /// Where the workload is declared: a source file, a document, or a directory with one of them.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(crate) from: PathBuf,
    /// Fail when it has not answered after so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Tell on standard error what the call consisted of.
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// A source file, a Workload IR document, or a directory with one of them.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Return when its apps run, and leave them to a process of their own.
    #[arg(long, short)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// The workloads, by their names.
    #[arg(value_name = "WORKLOAD", required = true)]
    pub(crate) workloads: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// List the processes of this sandbox instead of the workloads that are up.
    pub(crate) sandbox: Option<String>,
}
