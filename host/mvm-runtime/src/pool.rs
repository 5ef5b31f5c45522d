//! Spares: how many there are to be, and seeing to it that they are there.
//!
//! A spare is a process of its own that belongs to nobody ([`crate::supervisor`]); its folder lies
//! below `spares/KEY/`, KEY being that of its template, and its lock shows that it lives.

mod claim;
mod settings;
mod upkeep;

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::PathBuf,
    process::Stdio,
};

use mvm_contract::SandboxId;
use serde::Serialize;

use crate::{
    CreateError, Runtime,
    folder::FolderLock,
    home::Home,
    launch,
    lease::{Order, SpareRequest},
    template,
};

pub(crate) use claim::{Claimed, claim, retire};
pub use settings::{DEFAULT_IDLE_SECONDS, MVM_SPARES, PoolError};
pub(crate) use settings::{PoolFile, PoolName, PoolSettings, all, load, store};

/// The name of a spare's socket in its folder. Its number changes with whatever a supervisor writes or
/// says: a spare of another version of this program is not claimed.
pub(crate) const CLAIM_SOCKET: &str = "claim-3.sock";
/// What must stay free of the host's memory beside a new spare's, MiB.
const MEMORY_RESERVE_MIB: u64 = 512;
/// The part of the host's memory that all spares together may have, as a divisor.
const MEMORY_SHARE: u64 = 4;

/// The spares of a template, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolRecord {
    /// The template's key.
    pub template: String,
    /// The image.
    pub image: String,
    /// Memory of each, MiB.
    pub memory_mib: u32,
    /// Processors of each.
    pub vcpus: u32,
    /// Spares that can be claimed.
    pub ready: u32,
    /// Spares that are being made.
    pub making: u32,
    /// How many there are to be; nothing where nobody has said so.
    pub size: Option<u32>,
}

/// A place where spares of a template are.
pub(crate) fn folder(home: &Home, key: &str) -> PathBuf {
    home.spares().join(key)
}

/// Taken by whoever decides whether one more spare is made.
pub(crate) fn lock(home: &Home, key: &str) -> io::Result<fs::File> {
    let folder = folder(home, key);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(home.pools().join(format!(".{key}.lock")))?;
    file.lock()?;
    Ok(file)
}

/// The spares of a template that live, and whether each can be claimed.
pub(crate) fn living(home: &Home, key: &str) -> Vec<(SandboxId, bool)> {
    let Ok(entries) = fs::read_dir(folder(home, key)) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| FolderLock::is_held(&entry.path()))
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, entry.path().join(CLAIM_SOCKET).exists()))
        })
        .collect();
    found.sort();
    found
}

/// How many spares of a template live.
pub(crate) fn count(home: &Home, key: &str) -> u32 {
    u32::try_from(living(home, key).len()).unwrap_or(u32::MAX)
}

/// Keys of templates that have spares.
pub(crate) fn keys(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.spares()).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether the host has memory for one more spare of a template.
pub(crate) fn has_room(home: &Home, key: &str) -> bool {
    let memory_of = |key: &str| {
        let template = template::load(home, key).ok().flatten();
        template.map_or(0, |template| {
            u64::from(template.manifest.shape.resources.memory_mib)
        })
    };
    let new = memory_of(key);
    let present: u64 = keys(home)
        .iter()
        .map(|key| memory_of(key) * u64::from(count(home, key)))
        .sum();
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo_mib(&text, "MemTotal");
    let available = meminfo_mib(&text, "MemAvailable");
    present + new <= total / MEMORY_SHARE && new + MEMORY_RESERVE_MIB <= available
}

fn meminfo_mib(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| *field == name)
        .and_then(|(_, value)| value.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}

/// Starts making a spare of a template when there are fewer than there are to be, by a process
/// like this one, a supervisor. Whether it is made is decided by the process that would make it;
/// nobody waits for that. Within a tokio runtime.
pub(crate) fn replenish(home: &Home, key: &str, pool: &PoolName) {
    if !is_wanted(home, key, pool) {
        return;
    }
    // Without a spare the next start takes longer, and nothing else.
    let _ = start_like_this(&order(home, key, pool));
}

/// Whether one more spare is to be made, by what is decided now.
pub(crate) fn is_wanted(home: &Home, key: &str, pool: &PoolName) -> bool {
    load(home, pool).is_ok_and(|settings| count(home, key) < settings.size)
}

fn order(home: &Home, key: &str, pool: &PoolName) -> Order {
    Order::Spare(SpareRequest {
        home: home.root().to_owned(),
        key: key.to_owned(),
        pool: pool.clone(),
    })
}

/// Starts a supervisor the way this one was started.
fn start_like_this(order: &Order) -> io::Result<()> {
    use io::Write as _;
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let mut child = tokio::process::Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()?;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    ours.write_all(&line)?;
    tokio::spawn(async move {
        let _ = child.wait().await;
    });
    Ok(())
}

/// Starts making the first of the spares that are missing; each that is ready makes the next.
async fn start_first(runtime: &Runtime, key: &str, pool: &PoolName) -> Result<(), CreateError> {
    if is_wanted(&runtime.home, key, pool) {
        let order = order(&runtime.home, key, pool);
        // A spare belongs to nobody: the lease is let go of.
        drop(launch::start_supervisor(runtime, &order).await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mebibytes() {
        let text = "MemTotal:       24689764 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(meminfo_mib(text, "MemTotal"), 24_111);
        assert_eq!(meminfo_mib(text, "MemAvailable"), 2);
        assert_eq!(meminfo_mib(text, "Absent"), 0);
    }
}
