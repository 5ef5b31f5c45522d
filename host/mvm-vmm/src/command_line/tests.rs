use std::path::PathBuf;

use super::*;

fn host() -> Host {
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::detect(directory.path(), None).unwrap();
    host.tsc_khz = std::num::NonZeroU64::new(2_596_140);
    host
}

fn spec() -> MachineSpec {
    MachineSpec {
        kernel: "/images/vmlinux".into(),
        initramfs: "/images/init.cpio".into(),
        root_image: "/images/a,b\"c.erofs".into(),
        disk: Some("/sandbox/disk.raw".into()),
        memory_mib: 256,
        vcpus: 2,
        kernel_arguments: vec!["mvm.disk=vdb".into()],
        boot_console: None,
    }
}

fn build(host: &Host, spec: &MachineSpec, boot_console: Option<RawFd>) -> Vec<String> {
    let inherited = Inherited {
        qmp: 7,
        agent: 8,
        boot_console,
    };
    arguments(host, spec, GuestMemory::Anonymous, inherited).unwrap()
}

#[test]
fn an_emulated_machine() {
    let mut host = host();
    host.accelerator.accelerator = Accelerator::Tcg;
    let firmware = host.qemu.firmware().display().to_string();
    let share = host.qemu.firmware().parent().unwrap().display().to_string();
    let lines: Vec<String> = build(&host, &spec(), None)
        .join(" ")
        .replace(&firmware, "FIRMWARE")
        .replace(&share, "SHARE")
        .split(" -")
        .map(str::to_owned)
        .collect();
    let expected = r#"
-nodefaults
no-user-config
nographic
no-reboot
S
sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
L SHARE
object {"id":"memory","qom-type":"memory-backend-ram","size":268435456}
machine microvm,memory-backend=memory,isa-serial=off,pit=off,pic=off
accel tcg,thread=multi,tb-size=64
cpu max,la57=off
m 256
smp 2
bios FIRMWARE
kernel /images/vmlinux
initrd /images/init.cpio
append console=none quiet panic=-1 cryptomgr.notests=1 norandmaps tsc_early_khz=2596140 tsc=reliable no_timer_check mvm.disk=vdb
blockdev {"driver":"raw","file":{"driver":"file","filename":"/images/a,b\"c.erofs"},"node-name":"root","read-only":true}
device virtio-blk-device,id=root-device,drive=root,serial=root,werror=report,rerror=report
blockdev {"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"file","filename":"/sandbox/disk.raw","locking":"on"},"node-name":"disk","read-only":false}
device virtio-blk-device,id=disk-device,drive=disk,serial=disk,werror=report,rerror=report
chardev socket,id=agent,fd=8,server=on,wait=off
device virtio-serial-device,id=ports,max_ports=2
device virtserialport,chardev=agent,name=mvm.agent,nr=1
chardev socket,id=qmp,fd=7
mon chardev=qmp,mode=control"#;
    assert_eq!(lines.join("\n"), expected.trim_start());
}

#[test]
fn an_accelerated_machine_keeps_its_timers_and_measures_its_own_counter() {
    let mut host = host();
    host.accelerator.accelerator = Accelerator::Kvm;
    let spec = MachineSpec {
        boot_console: Some("/console".into()),
        ..spec()
    };
    let line = build(&host, &spec, Some(9)).join(" ");
    assert!(line.contains("-accel kvm -cpu host"));
    assert!(!line.contains("pit=off") && !line.contains("tsc"));
    assert!(line.contains("isa-serial=on") && line.contains("console=ttyS0"));
    assert!(line.contains("-add-fd fd=9,set=1"));
}

#[test]
fn what_cannot_be_said_is_refused() {
    let refused = |change: fn(&mut MachineSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec.check().unwrap_err()
    };
    assert_eq!(
        refused(|spec| spec.memory_mib = 0),
        SpecError::Memory { mib: 0 }
    );
    assert_eq!(
        refused(|spec| spec.vcpus = 0),
        SpecError::Vcpus { vcpus: 0 }
    );
    let path = PathBuf::from("vmlinux");
    assert_eq!(
        refused(|spec| spec.kernel = "vmlinux".into()),
        SpecError::RelativePath { path }
    );
    for argument in [
        "",
        "two words",
        "line\nbreak",
        "q\"uote",
        "zero\0byte",
        "ümlaut",
    ] {
        let mut spec = spec();
        spec.kernel_arguments = vec![argument.to_owned()];
        assert!(
            matches!(spec.check(), Err(SpecError::KernelArgument { .. })),
            "{argument:?}"
        );
    }
    let mut long = spec();
    long.kernel_arguments = vec!["x".repeat(COMMAND_LINE_MAXIMUM)];
    long.check().unwrap();
    let inherited = Inherited {
        qmp: 7,
        agent: 8,
        boot_console: None,
    };
    assert!(matches!(
        arguments(&host(), &long, GuestMemory::Anonymous, inherited),
        Err(SpecError::KernelCommandLine { .. })
    ));
}
