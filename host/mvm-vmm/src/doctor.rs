//! Facts about the host, for a person who wants to know what machines run on
//! here and what would make them run better.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::accelerator::{AcceleratorChoice, Isolation};
use crate::boot_cache::BootCache;
use crate::host_tsc::host_tsc_khz;
use crate::jail::{JailReport, JailSupport, Layer, LayerState};
use crate::qemu::Qemu;

/// Free space below which machines run into trouble soon, in bytes.
const FREE_SPACE_WANTED: u64 = 4 << 30;

/// How a fact is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Machines run, but less well or less confined.
    Warn,
    /// Machines do not run.
    Fail,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable name, such as `accelerator` or `jail.landlock`.
    pub code: String,
    /// How it is to be taken.
    pub status: Status,
    /// What there is.
    pub found: String,
    /// Why it is not as it should be.
    pub cause: Option<String>,
    /// What the user can do about it.
    pub remedy: Option<String>,
}

impl Check {
    /// A fact that is as it should be.
    pub fn ok(code: &str, found: impl Into<String>) -> Check {
        Check {
            code: code.into(),
            status: Status::Ok,
            found: found.into(),
            cause: None,
            remedy: None,
        }
    }

    /// A fact that is not, with its cause and its remedy.
    pub fn problem(
        code: &str,
        status: Status,
        found: impl Into<String>,
        cause: impl Into<String>,
        remedy: Option<String>,
    ) -> Check {
        let (code, found, cause) = (code.into(), found.into(), Some(cause.into()));
        Check {
            code,
            status,
            found,
            cause,
            remedy,
        }
    }
}

/// Examines the host. `cache` and `qemu` are as for [`Host::detect`];
/// `state` is the directory where images and disks will be.
///
/// [`Host::detect`]: crate::Host::detect
pub fn examine(cache: &Path, qemu: Option<&Path>, state: &Path) -> Vec<Check> {
    let cache = BootCache::open(cache);
    let mut checks = Vec::new();
    match Qemu::find(qemu, &cache) {
        Ok(qemu) => {
            let found = format!("QEMU {} at `{}`", qemu.version(), qemu.program().display());
            checks.push(Check::ok("qemu", found));
            checks.push(accelerator(AcceleratorChoice::make(&qemu, &cache)));
            let stand_in = JailSupport::detect().report().is_applied(Layer::StandIn);
            checks.push(template_memory(&qemu, stand_in));
        }
        Err(error) => {
            let (cause, remedy) = (chain(&error), error.hint());
            checks.push(Check::problem(
                "qemu",
                Status::Fail,
                "no usable QEMU",
                cause,
                remedy,
            ));
        }
    }
    checks.push(match host_tsc_khz(&cache) {
        Ok(Some(khz)) => Check::ok("host_tsc", format!("{khz} kHz")),
        Ok(None) => Check::problem(
            "host_tsc",
            Status::Warn,
            "unknown",
            "the processor has no time stamp counter",
            None,
        ),
        Err(error) => Check::problem("host_tsc", Status::Fail, "unknown", chain(&error), None),
    });
    checks.push(page_delta(Path::new("/proc")));
    checks.extend(jail(JailSupport::detect().report()));
    checks.push(free_space(state));
    checks
}

/// Whether a taken-over QEMU could write to the memory that other forks of its
/// template share.
fn template_memory(qemu: &Qemu, stand_in: bool) -> Check {
    const CODE: &str = "template_memory";
    if qemu.maps_read_only_files() || stand_in {
        return Check::ok(CODE, "read-only for every fork");
    }
    Check::problem(
        CODE,
        Status::Warn,
        "opened for writing by every fork",
        format!(
            "QEMU {} maps a file copy-on-write only after it has opened it for writing, and the \
             kernel lets nobody answer in its place",
            qemu.version()
        ),
        Some("install QEMU 8.2 or newer".into()),
    )
}

/// Whether snapshots of running machines can be their own pages alone.
fn page_delta(proc: &Path) -> Check {
    const CODE: &str = "page_delta";
    let pagemap = proc.join("self/pagemap");
    if let Err(error) = std::fs::File::open(&pagemap) {
        return whole_memory(format!("cannot open `{}`: {error}", pagemap.display()));
    }
    // Up to 1, a parent may read its children's memory (`ptrace(2)`).
    let scope = std::fs::read_to_string(proc.join("sys/kernel/yama/ptrace_scope"));
    match scope.as_deref().map(str::trim) {
        Ok(scope @ ("2" | "3")) => whole_memory(format!("`kernel.yama.ptrace_scope` is {scope}")),
        _ => Check::ok(CODE, "snapshots hold what a sandbox changed"),
    }
}

fn whole_memory(cause: String) -> Check {
    Check::problem(
        "page_delta",
        Status::Warn,
        "snapshots hold all of a sandbox's memory",
        cause,
        None,
    )
}

fn accelerator(choice: Result<AcceleratorChoice, crate::accelerator::ProbeError>) -> Check {
    const CODE: &str = "accelerator";
    let choice = match choice {
        Ok(choice) => choice,
        Err(error) => {
            return Check::problem(CODE, Status::Fail, "undecided", chain(&error), None);
        }
    };
    let name = choice.accelerator.name();
    match choice.isolation {
        Isolation::Hardware => Check::ok(CODE, format!("{name} (hardware isolation)")),
        Isolation::Emulated => Check::problem(
            CODE,
            Status::Warn,
            format!("{name} (emulated: slower, and no hardware wall)"),
            choice.reason,
            Some("run on a machine whose processor offers virtualization to this system".into()),
        ),
    }
}

fn jail(report: &JailReport) -> Vec<Check> {
    let mut checks: Vec<Check> = report
        .layers
        .iter()
        .map(|(layer, state)| {
            let code = format!("jail.{}", layer.name());
            match state {
                LayerState::Applied if *layer == Layer::Landlock => {
                    Check::ok(&code, format!("applies, version {}", report.landlock_abi))
                }
                LayerState::Applied => Check::ok(&code, "applies"),
                LayerState::Unavailable { reason } => {
                    let remedy = remedy(*layer);
                    Check::problem(&code, Status::Warn, "unavailable", reason, remedy)
                }
            }
        })
        .collect();
    if !report.is_applied(Layer::Landlock) && !report.is_applied(Layer::PrivateRoot) {
        checks.push(Check::problem(
            "jail.files",
            Status::Fail,
            "QEMU could open every file of this user",
            "the host has neither Landlock nor user namespaces",
            remedy(Layer::Landlock),
        ));
    }
    checks
}

fn remedy(layer: Layer) -> Option<String> {
    let setting = |name: &str| {
        let path = Path::new("/proc/sys").join(name);
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let text = match layer {
        Layer::Landlock => {
            "use a kernel of 5.13 or later with `landlock` in its `lsm=` list".to_owned()
        }
        Layer::Cgroup => "run in a delegated cgroup: \
             `systemd-run --user --scope --property=Delegate=yes COMMAND`"
            .to_owned(),
        Layer::UserNamespace
        | Layer::PrivateRoot
        | Layer::PidNamespace
        | Layer::NetworkNamespace
        | Layer::IpcNamespace
        | Layer::UtsNamespace => {
            if setting("kernel/apparmor_restrict_unprivileged_userns") == "1" {
                "allow user namespaces: \
                 `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, \
                 or an AppArmor profile with `userns`"
                    .to_owned()
            } else if setting("kernel/unprivileged_userns_clone") == "0" {
                "allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1`".to_owned()
            } else if setting("user/max_user_namespaces") == "0" {
                "allow user namespaces: `sysctl user.max_user_namespaces=10000`".to_owned()
            } else {
                "if this is a container, let it create user namespaces and mount in them".to_owned()
            }
        }
        _ => return None,
    };
    Some(text)
}

fn free_space(state: &Path) -> Check {
    const CODE: &str = "free_space";
    // The directory may be made on first use: its file system is that of the
    // nearest one that exists.
    let existing = state
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let space = match rustix::fs::statvfs(existing) {
        Ok(space) => space,
        Err(errno) => {
            let cause = std::io::Error::from(errno).to_string();
            return Check::problem(CODE, Status::Warn, "unknown", cause, None);
        }
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let found = format!("{} MiB at `{}`", free >> 20, existing.display());
    if free >= FREE_SPACE_WANTED {
        return Check::ok(CODE, found);
    }
    let cause = format!("images and disks want {} MiB", FREE_SPACE_WANTED >> 20);
    let remedy = Some("make room, or move the state directory".to_owned());
    Check::problem(CODE, Status::Warn, found, cause, remedy)
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_a_cause() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("not/made/yet");
        let checks = examine(directory.path(), None, &state);
        for code in [
            "qemu",
            "accelerator",
            "host_tsc",
            "jail.landlock",
            "free_space",
        ] {
            assert_eq!(
                checks.iter().filter(|check| check.code == code).count(),
                1,
                "{code}"
            );
        }
        for check in &checks {
            assert_eq!(
                check.status == Status::Ok,
                check.cause.is_none(),
                "{check:?}"
            );
        }
        let json = serde_json::to_string(&checks).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Check>>(&json).unwrap(), checks);
    }

    #[test]
    fn without_qemu_the_rest_is_still_told() {
        let directory = tempfile::tempdir().unwrap();
        let program = Path::new("/nonexistent/qemu");
        let checks = examine(directory.path(), Some(program), directory.path());
        assert_eq!(
            (checks[0].code.as_str(), checks[0].status),
            ("qemu", Status::Fail)
        );
        assert!(checks[0].remedy.is_some() && checks.len() > 10);
    }
}
