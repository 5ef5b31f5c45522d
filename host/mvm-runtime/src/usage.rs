//! What a sandbox takes of its host.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use mvm_vmm::{DetectError, Host, accelerator::Isolation};
use serde::Serialize;

use crate::{Runtime, Sandbox, registry, registry::RegistryError};

/// The kernel counts processor time in these, per second, for every user (`proc_pid_stat(5)`).
const TICKS_PER_SECOND: u64 = 100;

/// What a sandbox takes of its host now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Resident memory of its supervisor and its hypervisor, without what they share with others,
    /// bytes.
    pub memory_bytes: u64,
    /// Processor time of both so far, milliseconds.
    pub cpu_ms: u64,
    /// What its own disk takes on the host's, bytes.
    pub disk_bytes: u64,
}

/// What this host runs microVMs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostSummary {
    /// The accelerator: `kvm` or `tcg`.
    pub accelerator: String,
    /// What separates guests from it.
    pub isolation: Isolation,
}

impl Runtime {
    /// What this host runs microVMs with.
    pub fn host_summary(&self) -> Result<HostSummary, DetectError> {
        let host = Host::detect(&self.home.cache(), None)?;
        Ok(HostSummary {
            accelerator: host.accelerator().accelerator.name().to_owned(),
            isolation: host.accelerator().isolation,
        })
    }
}

impl Sandbox {
    /// What it takes of its host now. A sandbox that does not run takes its disk alone.
    pub fn usage(&self) -> Result<Usage, RegistryError> {
        let record = registry::find(self.home(), self.id().as_str())?;
        let disk = fs::metadata(self.folder().join("disk.img"));
        let mut usage = Usage {
            // `st_blocks` counts 512 bytes, whatever the file system's blocks are.
            disk_bytes: disk.map_or(0, |disk| disk.blocks() * 512),
            ..Usage::default()
        };
        if record.state.is_live() {
            add_processes(record.supervisor_pid, &mut usage);
        }
        Ok(usage)
    }
}

/// Adds a process and all it started. One that ends meanwhile adds nothing.
fn add_processes(pid: u32, usage: &mut Usage) {
    let folder = Path::new("/proc").join(pid.to_string());
    if let Ok(stat) = fs::read_to_string(folder.join("stat")) {
        usage.cpu_ms += processor_ticks(&stat) * 1000 / TICKS_PER_SECOND;
    }
    if let Ok(status) = fs::read_to_string(folder.join("status")) {
        usage.memory_bytes += private_bytes(&status);
    }
    let threads = fs::read_dir(folder.join("task")).into_iter().flatten();
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_ascii_whitespace() {
            if let Ok(child) = child.parse() {
                add_processes(child, usage);
            }
        }
    }
}

/// User and system time, fields 14 and 15; the name before them is in parentheses and may hold
/// anything.
fn processor_ticks(stat: &str) -> u64 {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return 0;
    };
    let times = fields.split_ascii_whitespace().skip(11).take(2);
    times.filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn private_bytes(status: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 13 14 15";
        assert_eq!(processor_ticks(stat), 42);
        assert_eq!(processor_ticks("nonsense"), 0);
        assert_eq!(private_bytes("VmRSS:\t9 kB\nRssAnon:\t    3 kB\n"), 3072);
    }

    #[test]
    fn this_process_takes_something() {
        let mut usage = Usage::default();
        add_processes(std::process::id(), &mut usage);
        assert!(usage.memory_bytes > 0);
    }
}
