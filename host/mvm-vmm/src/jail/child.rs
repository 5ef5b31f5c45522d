//! Creating the jailed process: `clone3`, everything the child does to itself,
//! and `execve`.
//!
//! The child of a program with threads may only call async-signal-safe
//! functions until it executes another program: whatever allocates, locks or
//! formats is done beforehand, in [`Launch`], and the child walks over it with
//! plain system calls. A step that fails is sent to the parent as one byte for
//! the step and four for `errno`; a socket that closes without means that the
//! program was executed.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::above_standard_streams;
use super::private_root::{PrivateRoot, enter_private_root};
use super::stand_in;
use super::step::{ChildError, JailStep};

/// The user namespace and the lines written into its maps.
pub(super) struct UserMap {
    pub(super) uid_map: Vec<u8>,
    pub(super) gid_map: Vec<u8>,
}

/// All the child needs, made before it exists.
pub(super) struct Launch<'a> {
    /// Program and arguments; without a program the child exits with 0 once it
    /// is confined, which proves that it can be.
    pub(super) program: Option<(&'a CStr, &'a [CString])>,
    pub(super) user_map: Option<UserMap>,
    pub(super) own_namespaces: bool,
    pub(super) root: Option<PrivateRoot>,
    pub(super) landlock: Option<OwnedFd>,
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    pub(super) file_size_limit: Option<u64>,
    /// Whether the files that the program opens for reading and writing are put
    /// before the supervisor.
    pub(super) filter_opens: bool,
    /// The line for `/proc/self/oom_score_adj`.
    pub(super) oom_score: Vec<u8>,
    /// Standard output and error.
    pub(super) output: BorrowedFd<'a>,
    /// Standard input.
    pub(super) input: BorrowedFd<'a>,
    /// Descriptors the program inherits under the numbers they have here.
    pub(super) inherited: &'a [BorrowedFd<'a>],
}

/// A process that was created and executed its program.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// Where its calls are to be answered, when they are filtered.
    pub(crate) listener: Option<OwnedFd>,
}

const OPEN_FILES: u64 = 256;
/// The constant of this name in `libc` is too narrow for its value.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Creates the process. Returns when it has executed its program (or, without
/// one, was confined); every failure of the child arrives here.
pub(super) fn spawn(launch: &Launch<'_>) -> Result<Child, ChildError> {
    let before = |source: io::Error| ChildError {
        step: JailStep::Create,
        source,
    };
    let (reports, report) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| before(errno.into()))?;
    let supervisor = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map_err(|errno| before(errno.into()))?;
    // The child uses both after it has set up its standard streams.
    let report = above_standard_streams(report).map_err(before)?;
    let supervisor = above_standard_streams(supervisor).map_err(before)?;
    let (program, arguments) = match launch.program {
        Some((program, arguments)) => {
            let mut pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
            pointers.push(std::ptr::null());
            (Some(program), pointers)
        }
        None => (None, vec![std::ptr::null()]),
    };

    let mut flags = libc::CLONE_PIDFD as u64;
    if launch.user_map.is_some() {
        flags |= libc::CLONE_NEWUSER as u64;
    }
    if launch.own_namespaces {
        flags |= (libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC) as u64;
        flags |= (libc::CLONE_NEWUTS | libc::CLONE_NEWNS) as u64;
    }
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is a struct of integers, for which zero is valid.
    let mut arguments_of_clone: libc::clone_args = unsafe { mem::zeroed() };
    arguments_of_clone.pidfd = &raw mut pidfd as u64;
    arguments_of_clone.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = launch.cgroup {
        flags |= CLONE_INTO_CGROUP;
        arguments_of_clone.cgroup = cgroup.as_raw_fd() as u64;
    }
    arguments_of_clone.flags = flags;

    // SAFETY: without CLONE_VM the child gets a copy of this address space, as
    // with `fork`; it calls only async-signal-safe functions (`become_program`
    // never returns, allocates or unwinds). `arguments_of_clone` and `pidfd`
    // outlive the call.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments_of_clone,
            mem::size_of::<libc::clone_args>(),
        )
    };
    if pid < 0 {
        return Err(before(io::Error::last_os_error()));
    }
    if pid == 0 {
        let report = report.as_raw_fd();
        let failed = confine(launch, &supervisor, report, program, &arguments);
        let mut status = 0;
        if let Err((step, errno)) = failed {
            let errno = errno.to_ne_bytes();
            let message = [step as u8, errno[0], errno[1], errno[2], errno[3]];
            let _ = stand_in::send(report, message, -1);
            status = 126;
        }
        // SAFETY: `_exit` may be called at any time and does not return.
        unsafe { libc::_exit(status) }
    }
    drop(report);
    // SAFETY: the kernel stored a new descriptor, owned by nobody else, there.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = Pid::from_raw(pid as i32).expect("clone3 returned a positive process id");
    let mut listener = None;
    while let Ok(Some((message, descriptor))) = stand_in::receive(&reports) {
        if message[0] == stand_in::LISTENER {
            listener = descriptor;
            continue;
        }
        let errno = i32::from_ne_bytes([message[1], message[2], message[3], message[4]]);
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        return Err(ChildError {
            step: JailStep::from_byte(message[0]),
            source: io::Error::from_raw_os_error(errno),
        });
    }
    Ok(Child {
        pid,
        pidfd,
        listener,
    })
}

/// A step and its `errno`.
pub(super) type Failed = (JailStep, i32);

pub(super) fn errno() -> i32 {
    // SAFETY: the location is valid for the calling thread.
    unsafe { *libc::__errno_location() }
}

pub(super) fn check(step: JailStep, result: i64) -> Result<i32, Failed> {
    if result < 0 {
        Err((step, errno()))
    } else {
        Ok(result as i32)
    }
}

/// Everything between `clone3` and `execve`. Runs in the child.
fn confine(
    launch: &Launch<'_>,
    supervisor: &OwnedFd,
    report: RawFd,
    program: Option<&CStr>,
    arguments: &[*const libc::c_char],
) -> Result<(), Failed> {
    reset_signals();
    if let Some(map) = &launch.user_map {
        write_file(JailStep::MapUser, c"/proc/self/setgroups", b"deny")?;
        write_file(JailStep::MapUser, c"/proc/self/uid_map", &map.uid_map)?;
        write_file(JailStep::MapUser, c"/proc/self/gid_map", &map.gid_map)?;
    }
    write_file(
        JailStep::OomScore,
        c"/proc/self/oom_score_adj",
        &launch.oom_score,
    )?;
    if let Some(root) = &launch.root {
        enter_private_root(root)?;
    }
    pass_descriptors(launch)?;
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_NOFILE, OPEN_FILES)?;
    if let Some(bytes) = launch.file_size_limit {
        limit(libc::RLIMIT_FSIZE, bytes)?;
    }
    drop_capability_bounds()?;
    // SAFETY: these `prctl` operations take integers only.
    unsafe {
        check(
            JailStep::NoNewPrivileges,
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) as i64,
        )?;
    }
    if let Some(ruleset) = &launch.landlock {
        // SAFETY: the descriptor is a Landlock ruleset; no flag is given.
        let result =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
        check(JailStep::Landlock, result)?;
    }
    if launch.filter_opens {
        let listener = stand_in::filter_opens()?;
        stand_in::send(report, [stand_in::LISTENER, 0, 0, 0, 0], listener)?;
    }
    die_with(supervisor)?;
    let Some(program) = program else {
        return Ok(());
    };
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: both arrays end with a null pointer and every other pointer is to
    // a C string that lives in `launch`.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Err((JailStep::Execute, errno()))
}

/// The program starts with no signal blocked, and `SIGPIPE` not ignored. A
/// write beyond the file size limit is to fail, and not to end the program.
fn reset_signals() {
    // SAFETY: the set is initialised by `sigemptyset`; both calls change only
    // this process.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

fn write_file(step: JailStep, path: &CStr, content: &[u8]) -> Result<(), Failed> {
    // SAFETY: the path is a C string, and `write` reads within `content`.
    unsafe {
        let file = check(
            step,
            libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) as i64,
        )?;
        let written = libc::write(file, content.as_ptr().cast(), content.len());
        let failed = check(step, written as i64);
        libc::close(file);
        failed.map(drop)
    }
}

/// Marks every descriptor close-on-exec, then takes the mark off those that are
/// meant to be inherited, so that a descriptor leaked by any library stays out.
fn pass_descriptors(launch: &Launch<'_>) -> Result<(), Failed> {
    let step = JailStep::Descriptors;
    let output = launch.output.as_raw_fd();
    // SAFETY: these calls take descriptors and integers only, and change only
    // this process's own copy of the descriptor table.
    unsafe {
        check(step, libc::dup2(launch.input.as_raw_fd(), 0) as i64)?;
        check(step, libc::dup2(output, 1) as i64)?;
        check(step, libc::dup2(output, 2) as i64)?;
        let all = libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        check(step, all)?;
        for descriptor in launch.inherited {
            check(
                step,
                libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, 0) as i64,
            )?;
        }
    }
    Ok(())
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: libc::__rlimit_resource_t, value: u64) -> Result<(), Failed> {
    let mut limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: both structures live through the calls.
    unsafe {
        let mut present = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        check(
            JailStep::ResourceLimits,
            libc::getrlimit(resource, &raw mut present) as i64,
        )?;
        limit.rlim_max = value.min(present.rlim_max);
        limit.rlim_cur = limit.rlim_max;
        check(
            JailStep::ResourceLimits,
            libc::setrlimit(resource, &raw const limit) as i64,
        )?;
    }
    Ok(())
}

/// With an empty bounding set `execve` gives no capability, not even to root.
/// Who may not lower the set (no `CAP_SETPCAP`) is not root and has none.
fn drop_capability_bounds() -> Result<(), Failed> {
    for capability in 0..=63 {
        // SAFETY: this `prctl` operation takes integers only.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if result < 0 {
            match errno() {
                // Past the last capability this kernel knows.
                libc::EINVAL => break,
                // SAFETY: takes no argument and cannot fail.
                libc::EPERM if unsafe { libc::geteuid() } != 0 => break,
                other => return Err((JailStep::Capabilities, other)),
            }
        }
    }
    Ok(())
}

/// Asks for `SIGKILL` when the supervisor's thread ends, and makes sure that it
/// had not ended before that was asked.
fn die_with(supervisor: &OwnedFd) -> Result<(), Failed> {
    let mut dead = libc::pollfd {
        fd: supervisor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `prctl` takes integers here, `poll` one live structure.
    unsafe {
        let signal = libc::SIGKILL as libc::c_ulong;
        check(
            JailStep::ParentDeath,
            libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) as i64,
        )?;
        if libc::poll(&raw mut dead, 1, 0) != 0 {
            return Err((JailStep::ParentDeath, libc::ESRCH));
        }
    }
    Ok(())
}

/// The Landlock version of the running kernel; an error when it has none.
pub(super) fn landlock_abi() -> io::Result<i32> {
    const VERSION: u32 = 1;
    // SAFETY: with the version flag the call takes no ruleset and makes none.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            VERSION,
        )
    };
    if version < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(version as i32)
    }
}
