//! What can be typed about snapshots, forks, templates and spares.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use mvm_contract::{SandboxName, duration, spec::DEFAULT_IMAGE};

use super::mebibytes;

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshots {
    /// Save a running sandbox, with its processes and files, while it goes on.
    Create(CreateSnapshot),
    /// List the snapshots and what they take on the disk.
    #[command(visible_alias = "ls")]
    List,
    /// Show what is said of a snapshot, as JSON.
    Inspect(OneSnapshot),
    /// Remove snapshots. Sandboxes that go on from them stay.
    #[command(visible_alias = "rm")]
    Remove(SomeSnapshots),
    /// Write a snapshot, with the template it needs, to a file.
    Export(Export),
    /// Take a snapshot in that this host exported.
    Import(Import),
}

#[derive(Debug, Args)]
pub(crate) struct CreateSnapshot {
    /// Name or identifier of the sandbox.
    pub(crate) sandbox: String,
    /// A name to find it by.
    #[arg(long)]
    pub(crate) name: Option<SandboxName>,
    /// Save the whole memory, although the pages the sandbox changed would do.
    #[arg(long)]
    pub(crate) stream: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneSnapshot {
    /// Its name or identifier.
    pub(crate) snapshot: String,
}

#[derive(Debug, Args)]
pub(crate) struct SomeSnapshots {
    /// Their names or identifiers.
    #[arg(required = true)]
    pub(crate) snapshots: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Its name or identifier.
    pub(crate) snapshot: String,
    /// The file, which must not exist.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// A running sandbox, which goes on, or a snapshot.
    pub(crate) source: String,
    /// How many sandboxes.
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) restored: Restored,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Name or identifier of the snapshot.
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) restored: Restored,
    /// Tell on standard error what the start consisted of.
    #[arg(long)]
    pub(crate) trace: bool,
}

/// What a sandbox that goes on from a snapshot gets of its own.
#[derive(Debug, Args)]
pub(crate) struct Restored {
    /// A name to find it by.
    #[arg(long)]
    pub(crate) name: Option<SandboxName>,
    /// Destroy it after so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_duration)]
    pub(crate) ttl: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Templates {
    /// List the templates and who needs them.
    #[command(visible_alias = "ls")]
    List,
    /// Make the template of an image beforehand.
    Build(Shaped),
    /// Read all of a template again and compare it with what it was.
    Verify(OneTemplate),
    /// Remove templates.
    #[command(visible_alias = "rm")]
    Remove(SomeTemplates),
    /// Remove the templates that are stale and that nothing needs.
    Prune,
}

/// An image and what a sandbox of it may use.
#[derive(Debug, Args)]
pub(crate) struct Shaped {
    /// Image: debian:NAME, oci:HOST/PATH[:TAG][@DIGEST], oci-layout:DIR[:REF] or oci-archive:FILE[:REF].
    #[arg(default_value = DEFAULT_IMAGE)]
    pub(crate) image: String,
    /// Virtual processors.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) cpus: u32,
    /// Memory (256M, 2G; without a unit, MiB).
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = mebibytes)]
    pub(crate) memory: u32,
    /// Size of the disk (sparse on the host).
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = mebibytes)]
    pub(crate) disk: u32,
}

#[derive(Debug, Args)]
pub(crate) struct OneTemplate {
    /// Its key.
    pub(crate) key: String,
}

#[derive(Debug, Args)]
pub(crate) struct SomeTemplates {
    /// Their keys.
    #[arg(required = true)]
    pub(crate) keys: Vec<String>,
    /// Although sandboxes or snapshots need them, which can then not be saved or brought back.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pools {
    /// Keep so many sandboxes of an image ready to be claimed; 0 keeps none.
    Set(SetPool),
    /// List the spares there are.
    #[command(visible_alias = "ls")]
    List,
    /// End all spares that wait; the next sandbox makes new ones.
    Drain,
}

#[derive(Debug, Args)]
pub(crate) struct SetPool {
    #[command(flatten)]
    pub(crate) shape: Shaped,
    /// How many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) size: u32,
    /// How long each waits to be claimed.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse_duration)]
    pub(crate) idle: Duration,
}
