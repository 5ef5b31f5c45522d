//! Choosing the accelerator by proof.
//!
//! That `/dev/kvm` opens and creates a virtual machine does not mean that a
//! guest runs: nested under a hypervisor without hardware support, every guest
//! hangs. So hardware acceleration is chosen only after a guest of a few bytes
//! ran under it, and that verdict is kept until the host reboots.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::boot_cache::{BootCache, CacheError};
use crate::qemu::Qemu;

const KVM_DEVICE: &str = "/dev/kvm";
const CACHE_NAME: &str = "kvm-verdict";
/// QEMU starts in 60 ms here, and the guest executes three instructions.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor, through Linux.
    Kvm,
    /// The processor, through macOS.
    Hvf,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Hvf => "hvf",
            Accelerator::Tcg => "tcg",
        }
    }

    /// The kind of wall it puts between guest and host.
    pub fn isolation(self) -> Isolation {
        match self {
            Accelerator::Kvm | Accelerator::Hvf => Isolation::Hardware,
            Accelerator::Tcg => Isolation::Emulated,
        }
    }
}

/// What keeps the guest inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// The processor's virtualization extension.
    Hardware,
    /// An emulator, which its own project does not call a security boundary.
    Emulated,
}

/// An accelerator that was considered before the chosen one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// Why it is not used, in words for the user.
    pub reason: String,
}

/// The accelerator that is used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceleratorChoice {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// What it is worth as a wall.
    pub isolation: Isolation,
    /// Why it was chosen, in words for the user.
    pub reason: String,
    /// What was considered before it.
    pub rejected: Vec<Rejection>,
}

/// The proof could not be carried out. (That it failed is not an error.)
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The probe's firmware was not written.
    #[error("cannot write the firmware of the probe guest")]
    Firmware(#[source] io::Error),
    /// QEMU did not start.
    #[error("cannot run QEMU for the probe guest")]
    Run(#[source] io::Error),
    /// Waiting for QEMU failed.
    #[error("cannot wait for the probe guest")]
    Wait(#[source] io::Error),
    /// The verdict could not be cached.
    #[error("cannot cache the verdict on KVM")]
    Cache(#[source] CacheError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ran,
    /// QEMU ended otherwise than the guest asked.
    Failed,
    /// Nothing happened within the deadline.
    Hung,
}

impl AcceleratorChoice {
    /// Decides for this host and this QEMU.
    pub(crate) fn make(qemu: &Qemu, cache: &BootCache) -> Result<AcceleratorChoice, ProbeError> {
        let reason = match why_not_kvm() {
            Some(reason) => reason,
            None => match kvm_verdict(qemu, cache)? {
                Verdict::Ran => {
                    return Ok(AcceleratorChoice {
                        accelerator: Accelerator::Kvm,
                        isolation: Isolation::Hardware,
                        reason: "a probe guest ran under KVM".to_owned(),
                        rejected: Vec::new(),
                    });
                }
                Verdict::Failed => "QEMU could not run a probe guest under KVM".to_owned(),
                Verdict::Hung => format!(
                    "a probe guest under KVM hung for {} s",
                    PROBE_DEADLINE.as_secs()
                ),
            },
        };
        Ok(AcceleratorChoice {
            accelerator: Accelerator::Tcg,
            isolation: Isolation::Emulated,
            reason: format!("KVM cannot be used: {reason}"),
            rejected: vec![Rejection {
                accelerator: Accelerator::Kvm,
                reason,
            }],
        })
    }
}

/// What can be told without running a guest; checked every time, since groups
/// and modules change while the host runs.
fn why_not_kvm() -> Option<String> {
    if let Err(error) = File::options().read(true).write(true).open(KVM_DEVICE) {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no `{KVM_DEVICE}`"),
            io::ErrorKind::PermissionDenied => {
                format!("this user may not open `{KVM_DEVICE}` (group `kvm`)")
            }
            _ => format!("cannot open `{KVM_DEVICE}`: {error}"),
        };
        return Some(reason);
    }
    let processor = match fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => text,
        Err(error) => return Some(format!("cannot read `/proc/cpuinfo`: {error}")),
    };
    if has_virtualization(&processor) {
        return None;
    }
    Some(format!(
        "`{KVM_DEVICE}` opens, but the processor has neither `vmx` nor `svm`: \
         guests of such a nested KVM hang"
    ))
}

fn has_virtualization(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim() == "flags")
        .flat_map(|(_, flags)| flags.split_whitespace())
        .any(|flag| flag == "vmx" || flag == "svm")
}

fn kvm_verdict(qemu: &Qemu, cache: &BootCache) -> Result<Verdict, ProbeError> {
    let key = qemu.version().to_string();
    if let Some(verdict) = cache.read(CACHE_NAME, &key) {
        return Ok(verdict);
    }
    let verdict = run_probe(
        qemu.program(),
        Accelerator::Kvm,
        &probe_firmware(),
        PROBE_DEADLINE,
    )?;
    cache
        .write(CACHE_NAME, &key, &verdict)
        .map_err(ProbeError::Cache)?;
    Ok(verdict)
}

const PROBE_PORT: u8 = 0xf4;
const PROBE_VALUE: u8 = 0x2a;
/// `isa-debug-exit` ends QEMU with twice the value plus one.
const PROBE_STATUS: i32 = (PROBE_VALUE as i32) << 1 | 1;

/// 64 KiB of `hlt` with three instructions at the reset vector:
/// `mov al, VALUE; out PORT, al; hlt`.
fn probe_firmware() -> Vec<u8> {
    const HALT: u8 = 0xf4;
    const RESET_VECTOR: usize = 0xfff0;
    let mut firmware = vec![HALT; 0x10000];
    let code = [0xb0, PROBE_VALUE, 0xe6, PROBE_PORT, HALT];
    firmware[RESET_VECTOR..RESET_VECTOR + code.len()].copy_from_slice(&code);
    firmware
}

/// Runs a firmware until it ends QEMU or the deadline passes. QEMU is not
/// jailed here: the guest is this program's own.
fn run_probe(
    qemu: &Path,
    accelerator: Accelerator,
    firmware: &[u8],
    deadline: Duration,
) -> Result<Verdict, ProbeError> {
    let mut file = tempfile::NamedTempFile::new().map_err(ProbeError::Firmware)?;
    file.write_all(firmware).map_err(ProbeError::Firmware)?;
    let child = Command::new(qemu)
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args([
            "-M",
            "microvm",
            "-m",
            "8",
            "-accel",
            accelerator.name(),
            "-bios",
        ])
        .arg(file.path())
        .args([
            "-device",
            &format!("isa-debug-exit,iobase={PROBE_PORT:#x},iosize=1"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(ProbeError::Run)?;
    let mut child = Reaped(child);
    let pid = Pid::from_child(&child.0);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| ProbeError::Wait(e.into()))?;
    let limit = Timespec {
        tv_sec: i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: deadline.subsec_nanos().into(),
    };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))
        .map_err(|errno| ProbeError::Wait(errno.into()))?;
    if ended == 0 {
        return Ok(Verdict::Hung);
    }
    let status = child.0.wait().map_err(ProbeError::Wait)?;
    Ok(if status.code() == Some(PROBE_STATUS) {
        Verdict::Ran
    } else {
        Verdict::Failed
    })
}

/// A child that is ended and reaped on every way out.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only when it is reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qemu() -> Qemu {
        let directory = tempfile::tempdir().unwrap();
        Qemu::find(None, &BootCache::open(directory.path())).unwrap()
    }

    #[test]
    fn the_probe_guest_runs_where_guests_run() {
        let program = qemu();
        let patient = Duration::from_secs(120);
        let verdict = run_probe(
            program.program(),
            Accelerator::Tcg,
            &probe_firmware(),
            patient,
        )
        .unwrap();
        assert_eq!(verdict, Verdict::Ran);
    }

    #[test]
    fn a_guest_that_hangs_or_a_broken_qemu_is_no_proof() {
        let program = qemu();
        let halted = vec![0xf4; 0x10000];
        let short = Duration::from_millis(500);
        let verdict = run_probe(program.program(), Accelerator::Tcg, &halted, short).unwrap();
        assert_eq!(verdict, Verdict::Hung);
        let hvf = run_probe(program.program(), Accelerator::Hvf, &halted, PROBE_DEADLINE).unwrap();
        assert_eq!(hvf, Verdict::Failed);
    }

    #[test]
    fn hardware_is_never_chosen_without_the_processor_flag() {
        let directory = tempfile::tempdir().unwrap();
        let choice = AcceleratorChoice::make(&qemu(), &BootCache::open(directory.path())).unwrap();
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap();
        if !has_virtualization(&flags) {
            assert_eq!(choice.accelerator, Accelerator::Tcg);
            assert_eq!(choice.isolation, Isolation::Emulated);
            assert_eq!(choice.rejected[0].accelerator, Accelerator::Kvm);
        }
    }

    #[test]
    fn flags_are_whole_words() {
        assert!(has_virtualization("processor: 0\nflags\t\t: fpu svm sse\n"));
        assert!(!has_virtualization(
            "flags : fpu svm_lock\nbugs : vmx\nvmx flags : vnmi\n"
        ));
    }
}
