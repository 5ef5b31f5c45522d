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
        root_image: "/images/a,b\"c.erofs".into(),
        disk: Some("/sandbox/disk.raw".into()),
        memory_mib: 256,
        vcpus: 2,
    }
}

fn kernel() -> KernelSpec {
    KernelSpec {
        kernel: "/images/vmlinux".into(),
        initramfs: "/images/init.cpio".into(),
        arguments: vec!["mvm.disk=vdb".into()],
        boot_console: None,
    }
}

const INHERITED: Inherited = Inherited {
    qmp: 7,
    agent: [8, 9],
    boot_console: None,
};

fn build(host: &Host, kernel: &KernelSpec, boot_console: Option<RawFd>) -> Vec<String> {
    let inherited = Inherited {
        boot_console,
        ..INHERITED
    };
    let origin = Origin::Kernel(kernel);
    arguments(host, &spec(), origin, GuestMemory::Anonymous, inherited).unwrap()
}

#[test]
fn an_emulated_machine() {
    let mut host = host();
    host.accelerator.accelerator = Accelerator::Tcg;
    let firmware = host.qemu.firmware().display().to_string();
    let share = host.qemu.firmware().parent().unwrap().display().to_string();
    let lines: Vec<String> = build(&host, &kernel(), None)
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
machine microvm,memory-backend=memory,suppress-vmdesc=on,isa-serial=off,pit=off,pic=off
global migration.send-configuration=off
accel tcg,thread=multi,tb-size=64
cpu max,la57=off
m 256
smp 2
bios FIRMWARE
kernel /images/vmlinux
initrd /images/init.cpio
append console=none quiet panic=-1 reboot=triple rcupdate.rcu_expedited=1 cryptomgr.notests=1 norandmaps tsc_early_khz=2596140 tsc=reliable no_timer_check mvm.disk=vdb
blockdev {"driver":"raw","file":{"driver":"file","filename":"/images/a,b\"c.erofs"},"node-name":"root","read-only":true}
device virtio-blk-device,id=root-device,drive=root,serial=root,werror=report,rerror=report
blockdev {"cache":{"no-flush":true},"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"file","filename":"/sandbox/disk.raw","locking":"on"},"node-name":"disk","read-only":false}
device virtio-blk-device,id=disk-device,drive=disk,serial=disk,werror=report,rerror=report
device virtio-serial-device,id=ports,max_ports=3
chardev socket,id=agent0,fd=8,server=on,wait=off
device virtserialport,chardev=agent0,name=mvm.agent.0,nr=1
chardev socket,id=agent1,fd=9,server=on,wait=off
device virtserialport,chardev=agent1,name=mvm.agent.1,nr=2
chardev socket,id=qmp,fd=7
mon chardev=qmp,mode=control"#;
    assert_eq!(lines.join("\n"), expected.trim_start());
}

#[test]
fn an_accelerated_machine_keeps_its_timers_and_measures_its_own_counter() {
    let mut host = host();
    host.accelerator.accelerator = Accelerator::Kvm;
    let kernel = KernelSpec {
        boot_console: Some("/console".into()),
        ..kernel()
    };
    let line = build(&host, &kernel, Some(10)).join(" ");
    assert!(line.contains("-accel kvm -cpu host"));
    assert!(!line.contains("pit=off") && !line.contains("tsc"));
    assert!(line.contains("isa-serial=on") && line.contains("console=ttyS0"));
    assert!(line.contains("-add-fd fd=10,set=1"));
}

#[test]
fn a_saved_machine_loads_no_kernel_and_maps_its_memory_copy_on_write() {
    let host = host();
    let build = |memory| {
        let line = arguments(&host, &spec(), Origin::Saved, memory, INHERITED);
        line.unwrap().join(" ")
    };
    let line = build(GuestMemory::Private("/template/memory".as_ref()));
    assert!(line.contains("-incoming defer") && !line.contains("-kernel"));
    assert!(line.contains(r#""mem-path":"/template/memory""#) && line.contains(r#""share":false"#));
    let read_only = host.qemu.maps_read_only_files();
    assert_eq!(line.contains(r#""readonly":true,"rom":"off""#), read_only);
    let line = build(GuestMemory::Shared("/template/memory".as_ref()));
    assert!(line.contains(r#""share":true"#) && !line.contains("readonly\":true"));
}

#[test]
fn what_cannot_be_said_is_refused() {
    let refused = |change: fn(&mut MachineSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec.check(GuestMemory::Anonymous).unwrap_err()
    };
    assert_eq!(
        refused(|spec| spec.memory_mib = 0),
        SpecError::Memory { mib: 0 }
    );
    assert_eq!(
        refused(|spec| spec.vcpus = 0),
        SpecError::Vcpus { vcpus: 0 }
    );
    let path = PathBuf::from("disk");
    let relative = SpecError::RelativePath { path: path.clone() };
    assert_eq!(refused(|spec| spec.disk = Some("disk".into())), relative);
    let memory = GuestMemory::Private(&path);
    assert_eq!(spec().check(memory), Err(relative));
    for argument in [
        "",
        "two words",
        "line\nbreak",
        "q\"uote",
        "zero\0byte",
        "ümlaut",
    ] {
        let mut kernel = kernel();
        kernel.arguments = vec![argument.to_owned()];
        assert!(
            matches!(kernel.check(), Err(SpecError::KernelArgument { .. })),
            "{argument:?}"
        );
    }
    let mut long = kernel();
    long.arguments = vec!["x".repeat(COMMAND_LINE_MAXIMUM)];
    long.check().unwrap();
    let origin = Origin::Kernel(&long);
    assert!(matches!(
        arguments(&host(), &spec(), origin, GuestMemory::Anonymous, INHERITED),
        Err(SpecError::KernelCommandLine { .. })
    ));
}
