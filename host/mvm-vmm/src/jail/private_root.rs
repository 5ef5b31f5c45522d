//! A root directory in memory that holds the granted paths and nothing else.
//! Runs in the child, under the rules of [`super::child`].
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::mem;

use super::child::{Failed, check, errno};
use super::step::JailStep;

/// A granted path as the child mounts it into its private root.
pub(super) struct Bind {
    /// Where it is found from inside, below the old root (`/.old/...`).
    pub(super) source: CString,
    /// Its own path.
    pub(super) target: CString,
    /// Directories to make above `target`, outermost first; empty when the
    /// target already exists inside another granted directory.
    pub(super) parents: Vec<CString>,
    pub(super) create: Create,
    pub(super) writable: bool,
    pub(super) device: bool,
}

/// What to make for a mount to land on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Create {
    Nothing,
    Directory,
    File,
}

/// A root directory of its own, holding granted paths and nothing else.
pub(super) struct PrivateRoot {
    /// Any existing directory; it only lends its place for a moment.
    pub(super) base: CString,
    pub(super) binds: Vec<Bind>,
}

/// Replaces the root directory by an empty one in memory, with the granted
/// paths bound at the places they have on the host.
///
/// The new root first takes the place of `base`; `pivot_root` then moves it
/// away from there, so that below `/.old` the whole host is visible, `base`
/// included, until it is detached.
pub(super) fn enter_private_root(root: &PrivateRoot) -> Result<(), Failed> {
    let step = JailStep::PrivateRoot;
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: all pointers are C strings that outlive the calls, or null where
    // the call allows it.
    unsafe {
        let propagation = libc::MS_REC | libc::MS_PRIVATE;
        check(
            step,
            mount(
                std::ptr::null(),
                c"/".as_ptr(),
                propagation,
                std::ptr::null(),
            ),
        )?;
        let options = c"mode=0755,size=1m,nr_inodes=4096".as_ptr();
        check(
            step,
            mount(c"tmpfs".as_ptr(), root.base.as_ptr(), flags, options),
        )?;
        check(step, libc::chdir(root.base.as_ptr()) as i64)?;
        check(step, libc::mkdir(c".old".as_ptr(), 0o755) as i64)?;
        check(
            step,
            libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".old".as_ptr()),
        )?;
        check(step, libc::chdir(c"/".as_ptr()) as i64)?;
        for bind in &root.binds {
            bind_path(bind)?;
        }
        check(
            step,
            libc::umount2(c"/.old".as_ptr(), libc::MNT_DETACH) as i64,
        )?;
        check(step, libc::rmdir(c"/.old".as_ptr()) as i64)?;
        set_mount_flags(c"/", 0, libc::MOUNT_ATTR_RDONLY)
    }
}

/// # Safety
/// Every pointer must be a C string, or null.
unsafe fn mount(
    source: *const libc::c_char,
    target: *const libc::c_char,
    flags: libc::c_ulong,
    options: *const libc::c_char,
) -> i64 {
    // SAFETY: promised by the caller; "tmpfs" is ignored when `flags` asks for
    // a bind or a change of propagation.
    unsafe { libc::mount(source, target, c"tmpfs".as_ptr(), flags, options.cast()) as i64 }
}

fn bind_path(bind: &Bind) -> Result<(), Failed> {
    let step = JailStep::PrivateRoot;
    for parent in &bind.parents {
        make_directory(parent)?;
    }
    match bind.create {
        Create::Nothing => {}
        Create::Directory => make_directory(&bind.target)?,
        Create::File => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC;
            // SAFETY: the path is a C string; the descriptor is closed at once.
            unsafe {
                let file = check(step, libc::open(bind.target.as_ptr(), flags, 0o600) as i64)?;
                libc::close(file);
            }
        }
    }
    // SAFETY: source and target are C strings owned by `bind`.
    let bound = unsafe {
        let flags = libc::MS_BIND | libc::MS_REC;
        mount(
            bind.source.as_ptr(),
            bind.target.as_ptr(),
            flags,
            std::ptr::null(),
        )
    };
    check(step, bound)?;
    let mut attributes = libc::MOUNT_ATTR_NOSUID;
    if !bind.writable {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    if !bind.device {
        attributes |= libc::MOUNT_ATTR_NODEV;
    }
    set_mount_flags(&bind.target, libc::AT_RECURSIVE, attributes)
}

fn make_directory(path: &CStr) -> Result<(), Failed> {
    // SAFETY: the path is a C string.
    let made = unsafe { libc::mkdir(path.as_ptr(), 0o755) };
    if made < 0 && errno() != libc::EEXIST {
        return Err((JailStep::PrivateRoot, errno()));
    }
    Ok(())
}

/// Adds attributes and takes none away: those that the host set stay locked.
fn set_mount_flags(path: &CStr, recursive: i32, attributes: u64) -> Result<(), Failed> {
    let change = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a C string and `change` lives through the call, which
    // is told its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            recursive,
            &raw const change,
            mem::size_of::<libc::mount_attr>(),
        )
    };
    check(JailStep::PrivateRoot, result).map(drop)
}
