//! System calls that no safe wrapper offers.

#![allow(unsafe_code)]

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd as _},
};

use rustix::{fd::OwnedFd, io::Errno};

/// `_IOW('R', 0x03, int[2])` of `linux/random.h`.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
/// `_IO('R', 0x07)` of `linux/random.h`.
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
/// `_IOWR('X', 119, int)` and `_IOWR('X', 120, int)` of `linux/fs.h`.
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;
/// The most entropy taken at once, bytes.
pub(crate) const MAX_ENTROPY_BYTES: usize = 512;

/// How a child ended, and what it used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// The status as `wait(2)` gives it.
    pub(crate) status: i32,
    /// Processor time, user and system, microseconds.
    pub(crate) cpu_microseconds: u64,
    /// Largest resident set, KiB.
    pub(crate) peak_memory_kib: u64,
}

/// Collects the status of the child `pid` (any child when -1) if it has ended; never waits.
pub(crate) fn collect_child(pid: i32) -> Result<Option<(i32, Ended)>, Errno> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live locals of the right types.
    let child = unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    if child < 0 {
        return Err(last_errno());
    }
    if child == 0 {
        return Ok(None);
    }
    // SAFETY: `rusage` is plain integers, zeroed before and filled by the kernel.
    let usage = unsafe { usage.assume_init() };
    let microseconds =
        |time: libc::timeval| (time.tv_sec as u64).saturating_mul(1_000_000) + time.tv_usec as u64;
    Ok(Some((
        child,
        Ended {
            status,
            cpu_microseconds: microseconds(usage.ru_utime)
                .saturating_add(microseconds(usage.ru_stime)),
            peak_memory_kib: usage.ru_maxrss as u64,
        },
    )))
}

/// A child that has ended and was not collected yet, without collecting it.
pub(crate) fn peek_ended_child() -> Option<i32> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to a live, zeroed `siginfo_t`.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    if result != 0 {
        return None;
    }
    // SAFETY: `waitid` succeeded: the structure is zeroed or filled for a child's state change,
    // where the pid field is the valid one.
    let pid = unsafe { info.assume_init().si_pid() };
    (pid > 0).then_some(pid)
}

/// Blocks SIGCHLD for this thread and gives a descriptor that is readable when one is pending.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    use std::os::fd::FromRawFd as _;
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is initialized by `sigemptyset` before any other use; the descriptor returned
    // by `signalfd` is new and owned by nobody else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(last_errno());
        }
        let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
        match libc::signalfd(-1, set.as_ptr(), flags) {
            descriptor if descriptor >= 0 => Ok(OwnedFd::from_raw_fd(descriptor)),
            _ => Err(last_errno()),
        }
    }
}

/// Credits `bytes` (at most [`MAX_ENTROPY_BYTES`] of them) to the kernel's random source and
/// reseeds its generator from it. `random` is `/dev/urandom`, open for writing.
pub(crate) fn add_entropy(random: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    #[repr(C)]
    struct PoolInfo {
        entropy_bits: libc::c_int,
        byte_count: libc::c_int,
        bytes: [u8; MAX_ENTROPY_BYTES],
    }
    let bytes = &bytes[..bytes.len().min(MAX_ENTROPY_BYTES)];
    let mut info = PoolInfo {
        entropy_bits: (bytes.len() * 8) as libc::c_int,
        byte_count: bytes.len() as libc::c_int,
        bytes: [0; MAX_ENTROPY_BYTES],
    };
    info.bytes[..bytes.len()].copy_from_slice(bytes);
    let descriptor = random.as_fd().as_raw_fd();
    // SAFETY: `info` is laid out as `struct rand_pool_info` followed by its `buf_size` bytes.
    let added = unsafe { libc::ioctl(descriptor, RNDADDENTROPY, &info) };
    if added != 0 {
        return Err(last_errno());
    }
    // SAFETY: the request takes no argument.
    match unsafe { libc::ioctl(descriptor, RNDRESEEDCRNG) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Freezes a file system, by any descriptor on it: its content is on its device, and whoever would
/// write waits.
pub(crate) fn freeze_file_system(file: impl AsFd) -> Result<(), Errno> {
    // SAFETY: the kernel reads no argument.
    match unsafe { libc::ioctl(file.as_fd().as_raw_fd(), FIFREEZE, 0) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Thaws a frozen file system.
pub(crate) fn thaw_file_system(file: impl AsFd) -> Result<(), Errno> {
    // SAFETY: the kernel reads no argument.
    match unsafe { libc::ioctl(file.as_fd().as_raw_fd(), FITHAW, 0) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Sets the loopback interface up.
pub(crate) fn raise_loopback(socket: impl AsFd) -> Result<(), Errno> {
    let mut request = MaybeUninit::<libc::ifreq>::zeroed();
    // SAFETY: zeroed is a valid `ifreq`; the name keeps its terminating zero and the flags are the
    // union's member this request reads.
    let result = unsafe {
        let request = request.assume_init_mut();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, request)
    };
    match result {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Sends `signal` to one process, or to a process group when `group`.
pub(crate) fn send_signal(pid: i32, group: bool, signal: u32) -> Result<(), Errno> {
    // `kill(2)` means everything or the own group by numbers up to 1.
    if pid <= 1 {
        return Err(Errno::SRCH);
    }
    let target = if group { -pid } else { pid };
    // SAFETY: no memory is involved.
    match unsafe { libc::kill(target, signal as libc::c_int) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Sends `signal` to every process but this one; only PID 1 may mean that.
pub(crate) fn signal_everyone(signal: i32) {
    // SAFETY: no memory is involved.
    unsafe {
        libc::kill(-1, signal);
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
