//! From the kernel's hand-over to a guest that can run processes.
//!
//! The initramfs holds the agent and kernel modules. The root file system is an overlay: the image
//! (`/dev/vda`, EROFS, read-only) below, and above it the sandbox's disk (`/dev/vdb`, ext4) or,
//! where there is none, memory.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_wire::BootStep;
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags},
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, mount_move, mount_remount},
};

use crate::{clock, disk, kernel_calls, log::Log, names::NameFiles, whole_file};

const IMAGE_DEVICE: &str = "/dev/vda";
const DISK_DEVICE: &str = "/dev/vdb";
const NEW_ROOT: &str = "/new";
/// How long the image's device may take to appear.
const DEVICE_PATIENCE: Duration = Duration::from_secs(5);
const DEVICE_INTERVAL: Duration = Duration::from_millis(2);
/// The name of a guest that was given none.
const DEFAULT_HOSTNAME: &str = "sandbox";

/// Why the guest did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// A file system could not be mounted.
    #[error("failed to mount `{what}` on `{target}`")]
    Mount {
        what: &'static str,
        target: String,
        #[source]
        source: Errno,
    },
    /// The image's device did not appear.
    #[error("there is no `{IMAGE_DEVICE}`: no block device with the image")]
    NoImage,
    /// A directory could not be made.
    #[error("failed to make the directory `{path}`")]
    Directory {
        path: String,
        #[source]
        source: Errno,
    },
    /// The root file system could not be entered.
    #[error("failed to enter the root file system")]
    Enter {
        #[source]
        source: Errno,
    },
}

/// What the start gave.
pub(crate) struct Booted {
    pub(crate) steps: Vec<BootStep>,
    /// Where control groups of processes are made.
    pub(crate) control_groups: Option<PathBuf>,
    /// The files that carry the guest's names.
    pub(crate) names: NameFiles,
    /// What could not be done and was done without.
    pub(crate) notes: Vec<String>,
}

impl Booted {
    fn step(&mut self, name: &str) {
        self.steps.push(BootStep {
            name: name.to_owned(),
            uptime_microseconds: clock::uptime_microseconds(),
        });
    }
}

/// Brings the guest up; the agent's root is then the sandbox's.
pub(crate) fn boot() -> Result<Booted, BootError> {
    let mut booted = Booted {
        steps: Vec::new(),
        control_groups: None,
        names: NameFiles::default(),
        notes: Vec::new(),
    };
    booted.step("kernel");
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for (what, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        make_directory(target)?;
        attach(what, what, target, MountFlags::empty(), "")?;
    }
    load_modules(&mut booted.notes);
    booted.step("modules");
    mount_root()?;
    enter_root()?;
    furnish(&mut booted);
    booted.step("root");
    Ok(booted)
}

/// Loads what `/modules/order` lists. A module that does not load is noted: what needs it fails by
/// its own name.
fn load_modules(notes: &mut Vec<String>) {
    let order = whole_file::read(Path::new("/modules/order"), 64 * 1024).unwrap_or_default();
    for name in String::from_utf8_lossy(&order).lines() {
        let path = Path::new("/modules").join(name);
        let loaded = fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|module| rustix::system::finit_module(module, c"", 0));
        match loaded {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => notes.push(format!("module `{name}` not loaded: {errno}")),
        }
        // Not needed again, and the initramfs is memory.
        let _ = fs::unlink(&path);
    }
    let _ = fs::unlink("/modules/order");
    let _ = fs::rmdir("/modules");
}

fn mount_root() -> Result<(), BootError> {
    let mut waited = Duration::ZERO;
    while fs::access(IMAGE_DEVICE, fs::Access::EXISTS).is_err() {
        if waited >= DEVICE_PATIENCE {
            return Err(BootError::NoImage);
        }
        std::thread::sleep(DEVICE_INTERVAL);
        waited += DEVICE_INTERVAL;
    }
    for path in ["/image", "/disk", NEW_ROOT] {
        make_directory(path)?;
    }
    attach(IMAGE_DEVICE, "erofs", "/image", MountFlags::RDONLY, "")?;
    if fs::access(DISK_DEVICE, fs::Access::EXISTS).is_ok() {
        // Without zeroing inode tables in the background: an idle guest is idle.
        attach(
            DISK_DEVICE,
            "ext4",
            "/disk",
            MountFlags::NOATIME,
            "noinit_itable",
        )?;
    } else {
        attach("tmpfs", "tmpfs", "/disk", MountFlags::empty(), "mode=0755")?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if let Ok(disk) = fs::open("/disk", flags, Mode::empty()) {
        disk::remember(disk);
    }
    for path in ["/disk/upper", "/disk/work"] {
        make_directory(path)?;
    }
    // Directories of the image can be renamed only with redirections. Without numbers for inodes
    // over all layers, which some kernels give by default, to list a directory never writes: the
    // agent may do it while the disk is frozen.
    let layers = "lowerdir=/image,upperdir=/disk/upper,workdir=/disk/work,redirect_dir=on,xino=off";
    attach("overlay", "overlay", NEW_ROOT, MountFlags::empty(), layers)
}

/// Makes the new root the root, and takes the kernel's file systems along.
fn enter_root() -> Result<(), BootError> {
    for name in ["dev", "proc", "sys"] {
        let target = format!("{NEW_ROOT}/{name}");
        own_directory(&target)?;
        mount_move(format!("/{name}"), target.as_str()).map_err(|source| BootError::Mount {
            what: "the kernel's own file system",
            target,
            source,
        })?;
    }
    rustix::process::chdir(NEW_ROOT)
        .and_then(|()| mount_move(".", "/"))
        .and_then(|()| rustix::process::chroot("."))
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(|source| BootError::Enter { source })
}

/// What programs expect to find. Only conveniences fail here, and they are noted.
fn furnish(booted: &mut Booted) {
    let hidden = MountFlags::NOSUID | MountFlags::NODEV;
    let inert = hidden | MountFlags::NOEXEC;
    let mounts: [(&'static str, &str, MountFlags, &str); 6] = [
        (
            "devpts",
            "/dev/pts",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            "newinstance,ptmxmode=0666,mode=0620,gid=5",
        ),
        ("tmpfs", "/dev/shm", hidden, "mode=1777"),
        ("mqueue", "/dev/mqueue", inert, ""),
        ("tmpfs", "/run", hidden, "mode=0755"),
        ("cgroup2", "/sys/fs/cgroup", inert, ""),
        ("tmpfs", "/run/lock", inert, "mode=1777,size=5m"),
    ];
    for (what, target, flags, options) in mounts {
        let mounted =
            own_directory(target).and_then(|()| attach(what, what, target, flags, options));
        if let Err(error) = mounted {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            booted
                .notes
                .push(format!("{error}: {}", cause.unwrap_or_default()));
        } else if what == "cgroup2" {
            let groups = Path::new("/sys/fs/cgroup/mvm");
            match fs::mkdir(groups, Mode::from_raw_mode(0o755)) {
                Ok(()) => booted.control_groups = Some(groups.to_owned()),
                Err(errno) => booted.notes.push(format!("no control groups: {errno}")),
            }
        }
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        let _ = fs::symlink(target, link);
    }
    if fs::mkdir("/tmp", Mode::from_raw_mode(0o700)).is_ok() {
        let _ = fs::chmod("/tmp", Mode::from_raw_mode(0o1777));
    }
    if let Err(errno) = raise_loopback() {
        booted.notes.push(format!("loopback not up: {errno}"));
    }
    let _ = rustix::system::sethostname(DEFAULT_HOSTNAME.as_bytes());
    let _ = own_directory("/etc");
    booted.names = NameFiles::mount(&mut booted.notes);
    let resolver = Path::new("/etc/resolv.conf");
    if matches!(fs::lstat(resolver), Err(Errno::NOENT)) {
        let _ = whole_file::replace(
            resolver,
            b"nameserver 127.0.0.1\n",
            Mode::from_raw_mode(0o644),
        );
    }
}

fn raise_loopback() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let kind = SocketType::DGRAM;
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    kernel_calls::raise_loopback(socket)
}

/// Writes everything out and leaves the file systems such that nothing needs repair.
pub(crate) fn seal_file_systems(log: &Log) {
    fs::sync();
    let sealed = mount_remount("/", MountFlags::RDONLY, c"");
    if let Err(errno) = sealed {
        log.line(&format!("root not made read-only: {errno}"));
    }
    if let Err(errno) = disk::seal() {
        log.line(&format!("disk not made read-only: {errno}"));
    }
    for target in ["/run/lock", "/run", "/dev/shm"] {
        let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
    }
    fs::sync();
}

/// Finds the port of this name.
pub(crate) fn find_port(name: &str) -> Result<OwnedFd, Errno> {
    let class = fs::open(
        "/sys/class/virtio-ports",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for entry in fs::Dir::read_from(&class)? {
        let entry = entry?;
        let port = String::from_utf8_lossy(entry.file_name().to_bytes()).into_owned();
        let label = Path::new("/sys/class/virtio-ports")
            .join(&port)
            .join("name");
        let found = whole_file::read(&label, 256).unwrap_or_default();
        if found.trim_ascii_end() == name.as_bytes() {
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            return fs::open(Path::new("/dev").join(port), flags, Mode::empty());
        }
    }
    Err(Errno::NOENT)
}

/// Makes sure that a path is a directory of its own and not what an image put in its place.
fn own_directory(path: &str) -> Result<(), BootError> {
    match fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => return Ok(()),
        Ok(_) => {
            let _ = fs::unlink(path);
        }
        Err(_) => {}
    }
    make_directory(path)
}

fn make_directory(path: &str) -> Result<(), BootError> {
    match fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(source) => Err(BootError::Directory {
            path: path.to_owned(),
            source,
        }),
    }
}

fn attach(
    what: &'static str,
    kind: &str,
    target: &str,
    flags: MountFlags,
    options: &str,
) -> Result<(), BootError> {
    let failed = |source| BootError::Mount {
        what,
        target: target.to_owned(),
        source,
    };
    let options = std::ffi::CString::new(options).map_err(|_| failed(Errno::INVAL))?;
    mount(what, target, kind, flags, Some(options.as_c_str())).map_err(failed)
}
