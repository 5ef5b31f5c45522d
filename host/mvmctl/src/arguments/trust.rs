//! What can be typed about keys, plans, policies and the audit log.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use mvm_contract::{
    duration,
    plan::{LaunchPath, Profile},
    trust::KeyRole,
};

use super::{Create, profile};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make this host's signer, unless it is there, and print its identifier.
    Init,
    /// List the keys this host believes.
    List,
    /// Print the public key of this host, or of a key it believes, as PEM.
    Export {
        /// Its name or identifier.
        #[arg(default_value = "host")]
        key: String,
        /// Write it to a file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Believe a key from now on.
    Trust {
        /// The public key, as PEM.
        file: PathBuf,
        /// What to call it.
        #[arg(long)]
        name: String,
        /// What it may sign: plan, record or host (both).
        #[arg(long, default_value = "plan", value_parser = role)]
        role: KeyRole,
    },
    /// Believe a key no more.
    Revoke {
        /// Its name or identifier.
        key: String,
    },
    /// Make a new signer for this host; what the old one recorded is believed still.
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plans {
    /// Sign a plan of a sandbox with this host's key: it can be launched once.
    Create(Box<CreatePlan>),
    /// Show a plan; whether anybody trusted signed it is not looked at.
    Inspect {
        /// The plan's envelope.
        file: PathBuf,
    },
    /// Tell whether a trusted key signed a plan, and which.
    Verify {
        /// The plan's envelope.
        file: PathBuf,
    },
    /// Sign a plan that is JSON.
    Sign {
        /// The plan.
        file: PathBuf,
        /// The private key, as PEM; this host's without it.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Write the envelope to a file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show in which fields two plans differ.
    Diff {
        /// A plan's envelope.
        one: PathBuf,
        /// Another's.
        other: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreatePlan {
    #[command(flatten)]
    pub(crate) sandbox: Create,
    /// The way it is launched: boot, template or spare.
    #[arg(long, default_value = "template", value_parser = path)]
    pub(crate) path: LaunchPath,
    /// How long the plan may be launched.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse_duration)]
    pub(crate) valid: Duration,
    /// Write it to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policies {
    /// Show this host's policy.
    Show,
    /// Show what a plan of a profile may do on this host.
    Explain {
        /// The profile.
        #[arg(default_value = "standard", value_parser = profile)]
        profile: Profile,
    },
    /// Check a policy file.
    Validate {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Receipts {
    /// Show what a receipt says, whoever signed it.
    Show {
        /// The receipt.
        file: PathBuf,
    },
    /// Check that a key that is believed signed a receipt.
    Verify {
        /// The receipt.
        file: PathBuf,
        /// Believe this public key alone (PEM), instead of those this host believes.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audits {
    /// Verify the log: exit code 0 intact, 10 edited, 11 untrusted key, 12 forked, 13 reordered,
    /// 14 records removed, 15 checkpoint invalid, 16 truncated, 17 not sealed to its end.
    Verify {
        /// Another log than this host's.
        file: Option<PathBuf>,
        /// A checkpoint of it that was kept elsewhere, instead of the one beside it.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Show the newest records.
    Tail {
        /// How many.
        #[arg(long, short = 'n', default_value_t = 10)]
        count: usize,
    },
    /// Show the records of a run or a sandbox.
    Show {
        /// The identifier of a run, or that or the name of a sandbox.
        of: String,
    },
    /// Seal the log as it stands, and print the checkpoint.
    Checkpoint {
        #[command(flatten)]
        witness: Witness,
    },
    /// Close the file that is written, sealed; another goes on from it. Closed files can be put
    /// away once the plans they admitted have ended.
    Rotate {
        #[command(flatten)]
        witness: Witness,
    },
    /// Copy the log, its checkpoints and the trusted keys into a new directory.
    Export {
        /// The directory.
        directory: PathBuf,
    },
}

fn role(text: &str) -> Result<KeyRole, String> {
    match text {
        "plan" => Ok(KeyRole::Plan),
        "record" => Ok(KeyRole::Record),
        "host" => Ok(KeyRole::Host),
        _ => Err("not one of plan, record, host".to_owned()),
    }
}

fn path(text: &str) -> Result<LaunchPath, String> {
    let mut paths = LaunchPath::ALL.into_iter();
    let found = paths.find(|path| path.as_str() == text && !path.starts_from_snapshot());
    found.ok_or_else(|| "not one of boot, template, spare".to_owned())
}

/// Who else is shown a checkpoint: what a witness keeps, nobody here can take back.
#[derive(Debug, Args)]
pub(crate) struct Witness {
    /// Append the checkpoint to this file, synced.
    #[arg(long, value_name = "FILE")]
    pub(crate) witness: Option<PathBuf>,
    /// Give the checkpoint to this shell command on its standard input; it must exit with 0.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) witness_command: Option<String>,
}
