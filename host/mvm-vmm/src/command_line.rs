//! QEMU's command line.
//!
//! Options that carry a path are JSON or whole arguments, so no character in a
//! path is special. Files the supervisor opened are passed as descriptors.

use std::os::fd::RawFd;
use std::path::Path;

use serde_json::json;

use crate::accelerator::Accelerator;
use crate::host::Host;
use crate::machine_spec::{COMMAND_LINE_MAXIMUM, GuestMemory, KernelSpec, MachineSpec, SpecError};
use crate::qemu::Qemu;

/// The names of the agent's two ports in the guest:
/// `/sys/class/virtio-ports/*/name`.
pub const AGENT_PORTS: [&str; 2] = ["mvm.agent.0", "mvm.agent.1"];

/// Raised when a machine made by these arguments could not load the state that
/// one made by earlier ones saved, or when its kernel is told something else.
pub const MACHINE_GENERATION: u32 = 2;

/// Descriptors QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inherited {
    pub(crate) qmp: RawFd,
    /// Listening sockets, one for each port.
    pub(crate) agent: [RawFd; 2],
    pub(crate) boot_console: Option<RawFd>,
}

/// How the guest comes to run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// It boots a kernel.
    Kernel(&'a KernelSpec),
    /// It goes on where a saved one stopped.
    Saved,
}

/// The arguments after the program's name.
pub(crate) fn arguments(
    host: &Host,
    spec: &MachineSpec,
    origin: Origin<'_>,
    memory: GuestMemory<'_>,
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
    line.option("-object", memory_object(&host.qemu, spec, memory)?);
    line.option("-machine", machine(host.accelerator.accelerator, inherited));
    // State that is saved without memory has no section for the configuration, and QEMU loads a
    // stream only as it would write one.
    line.option("-global", "migration.send-configuration=off");
    line.option("-accel", accelerator(host.accelerator.accelerator));
    line.option("-cpu", cpu(host.accelerator.accelerator));
    line.option("-m", spec.memory_mib.to_string());
    line.option("-smp", spec.vcpus.to_string());

    line.option("-bios", text(host.qemu.firmware())?);
    match origin {
        Origin::Kernel(kernel) => {
            line.option("-kernel", text(&kernel.kernel)?);
            line.option("-initrd", text(&kernel.initramfs)?);
            line.option("-append", kernel_command_line(host, kernel)?);
        }
        Origin::Saved => line.option("-incoming", "defer"),
    }

    line.disk("root", text(&spec.root_image)?, true);
    if let Some(disk) = &spec.disk {
        line.disk("disk", text(disk)?, false);
    }

    // Port 0 is kept for a console.
    line.option("-device", "virtio-serial-device,id=ports,max_ports=3");
    for (number, (descriptor, name)) in inherited.agent.iter().zip(AGENT_PORTS).enumerate() {
        line.option(
            "-chardev",
            format!("socket,id=agent{number},fd={descriptor},server=on,wait=off"),
        );
        line.option(
            "-device",
            format!(
                "virtserialport,chardev=agent{number},name={name},nr={}",
                number + 1
            ),
        );
    }
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
            // What the guest has synced survives the guest and QEMU; whoever keeps the disk beyond
            // their end syncs it then. Waiting for the host's disk each time would be for a power
            // cut alone, which ends the sandbox.
            raw["cache"] = json!({ "no-flush": true });
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

fn memory_object(
    qemu: &Qemu,
    spec: &MachineSpec,
    memory: GuestMemory<'_>,
) -> Result<String, SpecError> {
    let size = spec.memory_bytes();
    let file = |path, share| -> Result<serde_json::Value, SpecError> {
        let path = text(path)?;
        Ok(json!({
            "qom-type": "memory-backend-file", "id": "memory", "size": size,
            "mem-path": path, "share": share,
        }))
    };
    let mut object = match memory {
        GuestMemory::Anonymous => {
            json!({ "qom-type": "memory-backend-ram", "id": "memory", "size": size })
        }
        GuestMemory::Shared(path) => file(path, true)?,
        GuestMemory::Private(path) => file(path, false)?,
    };
    if matches!(memory, GuestMemory::Private(_)) && qemu.maps_read_only_files() {
        object["readonly"] = json!(true);
        object["rom"] = json!("off");
    }
    Ok(object.to_string())
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
    // The description of the state's fields is for people who debug it.
    format!("microvm,memory-backend=memory,suppress-vmdesc=on,isa-serial={serial}{timers}")
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

fn kernel_command_line(host: &Host, kernel: &KernelSpec) -> Result<String, SpecError> {
    let console = if kernel.boot_console.is_some() {
        "console=ttyS0"
    } else {
        "console=none quiet"
    };
    // `panic=-1` restarts at once, which `-no-reboot` turns into an exit. Left to itself, the kernel
    // restarts this machine by a jump into the firmware, which a restored machine has not: a triple
    // fault always ends it. Grace periods of the kernel's locks (RCU) are hurried: freezing a file
    // system waits for three of them, which take 12 ms each in a guest with one processor.
    let mut words = vec![
        console.to_owned(),
        "panic=-1 reboot=triple rcupdate.rcu_expedited=1 cryptomgr.notests=1".to_owned(),
    ];
    if host.accelerator.accelerator == Accelerator::Tcg {
        // Translated code is found by its address. Where each process has its libraries elsewhere,
        // each is translated anew: a process start then takes four times as long.
        words.push("norandmaps".to_owned());
        if let Some(khz) = host.tsc_khz {
            words.push(format!("tsc_early_khz={khz} tsc=reliable no_timer_check"));
        }
    }
    words.extend(kernel.arguments.iter().cloned());
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
