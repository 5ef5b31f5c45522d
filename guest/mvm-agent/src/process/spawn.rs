//! Makes a process: one `clone3(2)` and what the child does until `execve(2)`.
//!
//! The child shares the agent's memory (`CLONE_VM | CLONE_VFORK`): no page table is copied, the
//! agent stands still until the program runs, and a step that failed is read from memory instead
//! of a pipe. So the child must not allocate, lock or unwind, and touches only its own stack and
//! the [`Plan`] it was given.

#![allow(unsafe_code)]

use std::{
    cell::{Cell, UnsafeCell},
    ffi::{CStr, c_char},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
};

use rustix::io::Errno;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the child's entry is written for x86-64 Linux");

/// The child's stack.
const STACK_BYTES: usize = 64 * 1024;
/// `CLONE_CLEAR_SIGHAND` and `CLONE_INTO_CGROUP` of `linux/sched.h`.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Everything a new process is made from. Pointers are valid while the lists they came from are.
pub(super) struct Plan<'a> {
    pub(super) program: &'a CStr,
    /// Ends with null.
    pub(super) arguments: &'a [*const c_char],
    /// Ends with null.
    pub(super) environment: &'a [*const c_char],
    pub(super) working_directory: &'a CStr,
    pub(super) standard_input: BorrowedFd<'a>,
    pub(super) standard_output: BorrowedFd<'a>,
    pub(super) standard_error: BorrowedFd<'a>,
    /// Make standard input the controlling terminal.
    pub(super) terminal: bool,
    pub(super) user_id: u32,
    pub(super) group_id: u32,
    /// `None` leaves user and groups as they are: for an agent that is not root.
    pub(super) groups: Option<&'a [libc::gid_t]>,
    pub(super) limits: &'a [(u32, libc::rlimit64)],
    /// The control group's directory the process starts in.
    pub(super) control_group: Option<BorrowedFd<'a>>,
}

/// What the child was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// `clone3` itself.
    Clone,
    /// A new session, its terminal, standard input and output.
    Terminal,
    Limits,
    User,
    WorkingDirectory,
    Execute,
}

/// A process that runs.
pub(super) struct Spawned {
    pub(super) pid: i32,
    /// Readable when it has ended.
    pub(super) handle: OwnedFd,
}

/// Memory the children start on, one after the other.
pub(super) struct Spawner {
    stack: UnsafeCell<Box<[u8]>>,
}

struct Shared<'a> {
    plan: &'a Plan<'a>,
    failure: Cell<Option<(Step, i32)>>,
}

#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl Spawner {
    pub(super) fn new() -> Self {
        Self {
            stack: UnsafeCell::new(vec![0; STACK_BYTES].into_boxed_slice()),
        }
    }

    /// Makes the process; returns when its program runs or a step failed.
    pub(super) fn spawn(&self, plan: &Plan<'_>) -> Result<Spawned, (Step, Errno)> {
        debug_assert!(plan.arguments.last().is_some_and(|last| last.is_null()));
        debug_assert!(plan.environment.last().is_some_and(|last| last.is_null()));
        let shared = Shared {
            plan,
            failure: Cell::new(None),
        };
        let stack = self.stack.get();
        // SAFETY: `Spawner` is not `Sync` and the child of an earlier call has left this stack:
        // the kernel holds this thread until the child executes or exits.
        let start = unsafe { (*stack).as_mut_ptr() } as u64;
        let top = (start + STACK_BYTES as u64) & !15;
        let mut handle: libc::c_int = -1;
        let mut arguments = CloneArguments {
            flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64
                | CLONE_CLEAR_SIGHAND,
            pidfd: &raw mut handle as u64,
            exit_signal: libc::SIGCHLD as u64,
            stack: start,
            stack_size: top - start,
            ..CloneArguments::default()
        };
        if let Some(group) = plan.control_group {
            arguments.flags |= CLONE_INTO_CGROUP;
            arguments.cgroup = group.as_raw_fd() as u64;
        }
        let result: i64;
        // SAFETY: the arguments follow `struct clone_args`, and their stack is memory that nothing
        // else uses. With `CLONE_VM` parent and child share `shared`, which outlives the child's
        // use of it because of `CLONE_VFORK`. The child continues behind the system call with its
        // own stack pointer, takes the zero branch into `child_main` with the stack aligned as a
        // call wants it, and never returns from there; the parent's registers and stack are as
        // the constraints say. The signal mask is restored in both.
        unsafe {
            let mut every_signal = std::mem::zeroed::<libc::sigset_t>();
            let mut before = std::mem::zeroed::<libc::sigset_t>();
            libc::sigfillset(&mut every_signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &every_signal, &mut before);
            std::arch::asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "mov rdi, r12",
                "call r13",
                "ud2",
                "2:",
                inlateout("rax") libc::SYS_clone3 => result,
                in("rdi") &raw const arguments,
                in("rsi") size_of::<CloneArguments>(),
                in("r12") &raw const shared,
                in("r13") child_main as unsafe extern "C" fn(*const Shared<'_>) -> !,
                lateout("rcx") _,
                lateout("r11") _,
            );
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        }
        if result < 0 {
            return Err((Step::Clone, Errno::from_raw_os_error(-result as i32)));
        }
        // SAFETY: the kernel has put a new descriptor there, which nobody else owns.
        let handle = unsafe { OwnedFd::from_raw_fd(handle) };
        let pid = result as i32;
        match shared.failure.get() {
            None => Ok(Spawned { pid, handle }),
            Some((step, errno)) => {
                // It has exited already, so this does not wait for long.
                // SAFETY: a null status is allowed.
                unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
                Err((step, Errno::from_raw_os_error(errno)))
            }
        }
    }
}

/// The child: prepares and executes.
///
/// # Safety
/// `shared` is valid until the process executes or exits.
unsafe extern "C" fn child_main(shared: *const Shared<'_>) -> ! {
    // SAFETY: the caller's promise.
    let shared = unsafe { &*shared };
    // SAFETY: the plan's pointers and descriptors are valid by its contract.
    let (step, errno) = unsafe { prepare_and_execute(shared.plan) };
    shared.failure.set(Some((step, errno)));
    // SAFETY: ends only this process and runs no handlers.
    unsafe { libc::_exit(127) }
}

/// Returns only the step that failed. Raw system calls throughout where the C library would keep
/// state (its `setuid` speaks to every thread).
///
/// # Safety
/// To be called in the child only; the plan's pointers are valid.
unsafe fn prepare_and_execute(plan: &Plan<'_>) -> (Step, i32) {
    macro_rules! attempt {
        ($step:expr, $call:expr) => {
            if ($call as i64) < 0 {
                return ($step, *libc::__errno_location());
            }
        };
    }
    // SAFETY: system calls on integers and on pointers that live as long as the plan; the errno
    // location is this thread's, whose parent stands still.
    unsafe {
        // The kernel has reset all handlers, but what is ignored stays so: Rust's runtime ignores
        // SIGPIPE, and whoever started this agent may have ignored what a terminal sends.
        for ignored in [
            libc::SIGPIPE,
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGTERM,
        ] {
            libc::signal(ignored, libc::SIG_DFL);
        }
        attempt!(Step::Terminal, libc::setsid());
        if plan.terminal {
            let terminal = plan.standard_input.as_raw_fd();
            attempt!(Step::Terminal, libc::ioctl(terminal, libc::TIOCSCTTY, 0));
        }
        attempt!(
            Step::Terminal,
            libc::dup2(plan.standard_input.as_raw_fd(), 0)
        );
        attempt!(
            Step::Terminal,
            libc::dup2(plan.standard_output.as_raw_fd(), 1)
        );
        attempt!(
            Step::Terminal,
            libc::dup2(plan.standard_error.as_raw_fd(), 2)
        );
        for (resource, limit) in plan.limits {
            let none = ptr::null_mut::<libc::rlimit64>();
            attempt!(
                Step::Limits,
                libc::syscall(libc::SYS_prlimit64, 0, *resource, limit, none)
            );
        }
        libc::umask(0o022);
        if let Some(groups) = plan.groups {
            let (user, group) = (plan.user_id, plan.group_id);
            attempt!(
                Step::User,
                libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr())
            );
            attempt!(
                Step::User,
                libc::syscall(libc::SYS_setresgid, group, group, group)
            );
            attempt!(
                Step::User,
                libc::syscall(libc::SYS_setresuid, user, user, user)
            );
        }
        attempt!(
            Step::WorkingDirectory,
            libc::chdir(plan.working_directory.as_ptr())
        );
        let mut no_signal = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut no_signal);
        libc::sigprocmask(libc::SIG_SETMASK, &no_signal, ptr::null_mut());
        libc::execve(
            plan.program.as_ptr(),
            plan.arguments.as_ptr(),
            plan.environment.as_ptr(),
        );
        (Step::Execute, *libc::__errno_location())
    }
}
