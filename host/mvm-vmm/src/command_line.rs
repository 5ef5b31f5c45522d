//! QEMU's command line.
//!
//! Options that carry a path are JSON or whole arguments, so no character in a
//! path is special. Files the supervisor opened are passed as descriptors.

use std::os::fd::RawFd;
use std::path::Path;

use serde_json::json;

use crate::accelerator::Accelerator;
use crate::host::Host;
use crate::machine_spec::{COMMAND_LINE_MAXIMUM, MachineSpec, SpecError};

/// The name of the agent's port in the guest: `/sys/class/virtio-ports/*/name`.
pub const AGENT_PORT: &str = "mvm.agent";

/// Descriptors QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inherited {
    pub(crate) qmp: RawFd,
    /// A listening socket.
    pub(crate) agent: RawFd,
    pub(crate) boot_console: Option<RawFd>,
}

/// Where the guest's memory lives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GuestMemory {
    /// Anonymous memory of QEMU.
    Anonymous,
}

impl GuestMemory {
    fn object(self, mib: u32) -> String {
        match self {
            GuestMemory::Anonymous => {
                let bytes = u64::from(mib) << 20;
                json!({ "qom-type": "memory-backend-ram", "id": "memory", "size": bytes })
                    .to_string()
            }
        }
    }
}

/// The arguments after the program's name.
pub(crate) fn arguments(
    host: &Host,
    spec: &MachineSpec,
    memory: GuestMemory,
    inherited: Inherited,
) -> Result<Vec<String>, SpecError> {
    let mut line = Line::default();
    // `-S`: the guest waits until the control connection hears its events.
    line.flags(&[
        "-nodefaults",
        "-no-user-config",
        "-nographic",
        "-no-reboot",
        "-S",
    ]);
    line.option(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    if let Some(directory) = host.qemu.firmware().parent() {
        line.option("-L", text(directory)?);
    }
    line.option("-object", memory.object(spec.memory_mib));
    line.option("-machine", machine(host.accelerator.accelerator, inherited));
    line.option("-accel", accelerator(host.accelerator.accelerator));
    line.option("-cpu", cpu(host.accelerator.accelerator));
    line.option("-m", spec.memory_mib.to_string());
    line.option("-smp", spec.vcpus.to_string());

    line.option("-bios", text(host.qemu.firmware())?);
    line.option("-kernel", text(&spec.kernel)?);
    line.option("-initrd", text(&spec.initramfs)?);
    line.option("-append", kernel_command_line(host, spec)?);

    line.disk("root", text(&spec.root_image)?, true);
    if let Some(disk) = &spec.disk {
        line.disk("disk", text(disk)?, false);
    }

    line.option(
        "-chardev",
        format!("socket,id=agent,fd={},server=on,wait=off", inherited.agent),
    );
    line.option("-device", "virtio-serial-device,id=ports,max_ports=2");
    line.option(
        "-device",
        format!("virtserialport,chardev=agent,name={AGENT_PORT},nr=1"),
    );
    line.option("-chardev", format!("socket,id=qmp,fd={}", inherited.qmp));
    line.option("-mon", "chardev=qmp,mode=control");
    if let Some(console) = inherited.boot_console {
        line.option("-add-fd", format!("fd={console},set=1"));
        line.option("-chardev", "file,id=console,path=/dev/fdset/1");
        line.option("-serial", "chardev:console");
    }
    Ok(line.arguments)
}

#[derive(Default)]
struct Line {
    arguments: Vec<String>,
}

impl Line {
    fn flags(&mut self, flags: &[&str]) {
        self.arguments
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    fn option(&mut self, name: &str, value: impl Into<String>) {
        self.arguments.extend([name.to_owned(), value.into()]);
    }

    /// A raw image as a virtio disk. QEMU locks a writable one for itself and
    /// refuses one that is in use; errors of the host's disk are the guest's
    /// errors, never a paused machine.
    fn disk(&mut self, name: &str, path: &str, read_only: bool) {
        let mut file = json!({ "driver": "file", "filename": path });
        let mut raw = json!({ "driver": "raw", "node-name": name, "read-only": read_only });
        if !read_only {
            file["locking"] = json!("on");
            file["discard"] = json!("unmap");
            raw["discard"] = json!("unmap");
        }
        raw["file"] = file;
        self.option("-blockdev", raw.to_string());
        let mut device = format!("virtio-blk-device,id={name}-device,drive={name},serial={name}");
        device.push_str(",werror=report,rerror=report");
        self.option("-device", device);
    }
}

/// The clock (RTC) stays: without it the kernel waits 2 s for it. The interval
/// timer and the old interrupt controller go where the guest is told how fast
/// its counter runs.
fn machine(accelerator: Accelerator, inherited: Inherited) -> String {
    let serial = if inherited.boot_console.is_some() {
        "on"
    } else {
        "off"
    };
    let timers = match accelerator {
        Accelerator::Tcg => ",pit=off,pic=off",
        Accelerator::Kvm | Accelerator::Hvf => "",
    };
    format!("microvm,memory-backend=memory,isa-serial={serial}{timers}")
}

fn accelerator(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Hvf => "hvf",
        Accelerator::Tcg => "tcg,thread=multi,tb-size=64",
    }
}

/// Under emulation: all that QEMU can translate (AVX2 since 7.2). The maker is
/// then AMD, for which the kernel isolates no page tables; with an Intel model
/// (`Nehalem`) every system call of the guest takes twenty times as long.
/// Five-level page tables only lengthen every walk.
fn cpu(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm | Accelerator::Hvf => "host",
        Accelerator::Tcg => "max,la57=off",
    }
}

fn kernel_command_line(host: &Host, spec: &MachineSpec) -> Result<String, SpecError> {
    let console = if spec.boot_console.is_some() {
        "console=ttyS0"
    } else {
        "console=none quiet"
    };
    // `panic=-1` restarts at once, which `-no-reboot` turns into an exit.
    let mut words = vec![
        console.to_owned(),
        "panic=-1 cryptomgr.notests=1".to_owned(),
    ];
    if host.accelerator.accelerator == Accelerator::Tcg {
        // Translated code is found by its address. Where each process has its libraries elsewhere,
        // each is translated anew: a process start then takes four times as long.
        words.push("norandmaps".to_owned());
        if let Some(khz) = host.tsc_khz {
            words.push(format!("tsc_early_khz={khz} tsc=reliable no_timer_check"));
        }
    }
    words.extend(spec.kernel_arguments.iter().cloned());
    let line = words.join(" ");
    if line.len() > COMMAND_LINE_MAXIMUM {
        return Err(SpecError::KernelCommandLine { length: line.len() });
    }
    Ok(line)
}

fn text(path: &Path) -> Result<&str, SpecError> {
    path.to_str().ok_or_else(|| SpecError::PathNotUtf8 {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests;
