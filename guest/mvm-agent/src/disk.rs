//! The file system of the sandbox's disk, which has no path once the overlay above it is the root.
//!
//! Where the guest has none (a test), all of this does nothing.

use std::sync::OnceLock;

use rustix::{
    fd::{AsRawFd as _, OwnedFd},
    fs,
    io::Errno,
    mount::{MountFlags, mount_remount},
};

use crate::kernel_calls;

static DISK: OnceLock<OwnedFd> = OnceLock::new();

/// Remembers the disk by its mounted root.
pub(crate) fn remember(root: OwnedFd) {
    let _ = DISK.set(root);
}

/// Writes out what is not on the disk yet.
pub(crate) fn sync() -> Result<(), Errno> {
    DISK.get().map_or(Ok(()), fs::syncfs)
}

/// Writes everything out and holds back whoever would write, in the kernel, until [`thaw`]. False
/// when there is nothing to hold back: no disk, or one in memory.
pub(crate) fn freeze() -> Result<bool, Errno> {
    match DISK.get().map(kernel_calls::freeze_file_system) {
        None | Some(Err(Errno::OPNOTSUPP)) => Ok(false),
        Some(Ok(())) => Ok(true),
        Some(Err(errno)) => Err(errno),
    }
}

/// Lets writers go on.
pub(crate) fn thaw() -> Result<(), Errno> {
    match DISK.get().map(kernel_calls::thaw_file_system) {
        // Somebody else has thawed it, which is all that is wanted.
        None | Some(Ok(()) | Err(Errno::INVAL)) => Ok(()),
        Some(Err(errno)) => Err(errno),
    }
}

/// Makes it read-only.
pub(crate) fn seal() -> Result<(), Errno> {
    DISK.get().map_or(Ok(()), |disk| {
        let path = format!("/proc/self/fd/{}", disk.as_raw_fd());
        mount_remount(path, MountFlags::RDONLY, c"")
    })
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "a test says why it was skipped")]
mod tests {
    use std::{process::Command, sync::mpsc, time::Duration};

    use rustix::fs::{Mode, OFlags};

    use super::*;

    #[test]
    fn a_frozen_disk_holds_writers_back() {
        let directory = tempfile::tempdir().unwrap();
        let (image, mounted) = (directory.path().join("disk"), directory.path().join("on"));
        std::fs::create_dir(&mounted).unwrap();
        let script = r#"truncate -s 8M "$1" && mkfs.ext4 -q "$1" && mount -o loop "$1" "$2""#;
        let script = ["-c", script, "sh"];
        let made = Command::new("sh")
            .args(script)
            .args([&image, &mounted])
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            println!("skipped: no disk can be mounted here");
            return;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        remember(fs::open(&mounted, flags, Mode::empty()).unwrap());
        let path = mounted.join("file");
        std::fs::write(&path, "before").unwrap();
        let frozen = sync().and_then(|()| freeze());
        let again = freeze();
        let (written, is_written) = mpsc::channel();
        let writer = std::thread::spawn({
            let path = path.clone();
            move || written.send(std::fs::write(path, "after"))
        });
        let early = is_written.recv_timeout(Duration::from_millis(200));
        let content = std::fs::read(&path).unwrap();
        let thawed = thaw();
        let late = is_written.recv_timeout(Duration::from_secs(20));
        let thawed_again = thaw();
        let _ = writer.join();
        let after = std::fs::read(&path).unwrap();
        // Lazily: the descriptor on it stays until the end.
        let _ = Command::new("umount").arg("-l").arg(&mounted).status();
        assert_eq!((frozen, again), (Ok(true), Err(Errno::BUSY)));
        assert!(early.is_err() && content == b"before");
        assert_eq!((thawed, thawed_again), (Ok(()), Ok(())));
        assert!(late.unwrap().is_ok() && after == b"after");
    }
}
