//! The peer of a cold start: QEMU by itself, with the same kernel, initramfs, image and disk, from
//! its start until the agent's first word on the channel.

use std::{
    error::Error,
    io::Read as _,
    os::unix::net::UnixListener,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use mvm_runtime::Home;
use mvm_wire::session::GREETING;

/// What QEMU boots.
pub(crate) struct QemuAlone {
    directory: tempfile::TempDir,
    program: PathBuf,
    arguments: Vec<String>,
}

impl QemuAlone {
    pub(crate) fn new(home: &Home, root_image: &str) -> Result<Self, Box<dyn Error>> {
        let host = mvm_vmm::Host::detect(&home.cache(), None)?;
        let boot = mvm_image::boot::current(&home.boot())?.ok_or("run `mvmctl setup` first")?;
        let directory = tempfile::tempdir()?;
        let disk = directory.path().join("disk.img");
        let empty = home.disks().join("ext4-4096.img");
        let copied = Command::new("cp")
            .arg("--sparse=always")
            .arg(&empty)
            .arg(&disk)
            .status()?;
        if !copied.success() {
            return Err("failed to copy the empty disk".into());
        }
        let tsc = host
            .tsc_khz()
            .map(|khz| format!("tsc_early_khz={khz} tsc=reliable "));
        let append = format!(
            "console=none quiet panic=-1 reboot=triple rcupdate.rcu_expedited=1 cryptomgr.notests=1 norandmaps {}no_timer_check",
            tsc.unwrap_or_default()
        );
        let socket = directory.path().join("channel");
        let words = [
            "-nodefaults -no-user-config -nographic -no-reboot -m 256 -smp 1",
            "-M microvm,isa-serial=off,pit=off,pic=off -cpu max,la57=off",
            "-accel tcg,thread=multi,tb-size=64",
            "-device virtio-serial-device,max_ports=3",
        ];
        let mut arguments: Vec<String> = words
            .iter()
            .flat_map(|line| line.split(' '))
            .map(str::to_owned)
            .collect();
        for (name, value) in [
            ("-bios", host.qemu().firmware().display().to_string()),
            ("-kernel", boot.kernel.display().to_string()),
            ("-initrd", boot.initramfs.display().to_string()),
            ("-append", append),
            (
                "-drive",
                format!("file={root_image},if=none,id=root,format=raw,readonly=on"),
            ),
            ("-device", "virtio-blk-device,drive=root".to_owned()),
            (
                "-drive",
                format!("file={},if=none,id=disk,format=raw", disk.display()),
            ),
            ("-device", "virtio-blk-device,drive=disk".to_owned()),
            (
                "-chardev",
                format!("socket,id=agent,path={}", socket.display()),
            ),
            (
                "-device",
                format!(
                    "virtserialport,chardev=agent,name={},nr=1",
                    mvm_wire::PORT_NAMES[0]
                ),
            ),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        Ok(Self {
            directory,
            program: host.qemu().program().to_owned(),
            arguments,
        })
    }

    /// Boots once, until the agent's first word.
    pub(crate) fn boot(&self) -> Result<(), Box<dyn Error>> {
        let socket = self.directory.path().join("channel");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let mut qemu = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .spawn()?;
        let greeted = (|| {
            let (mut channel, _) = listener.accept()?;
            channel.set_read_timeout(Some(Duration::from_secs(60)))?;
            let mut greeting = [0; GREETING.len()];
            channel.read_exact(&mut greeting)
        })();
        let _ = qemu.kill();
        qemu.wait()?;
        Ok(greeted?)
    }
}
