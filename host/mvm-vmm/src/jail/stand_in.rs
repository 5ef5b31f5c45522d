//! Opening one file in the jailed program's place.
//!
//! QEMU before 8.2 maps a memory file copy-on-write only after it has opened it for reading *and
//! writing*. To give it no way to write what other machines share, its `openat(2)` calls that ask
//! for both are put before the supervisor (`seccomp_unotify(2)`): the one of that file is answered
//! with a descriptor that is open for reading only, and all others are left to the kernel, which
//! judges them by the rest of the jail. The mapping asks for no more than reading.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::child::{Failed, check};
use super::step::JailStep;

/// The longest path looked at; a longer one is not the file's.
const PATH_BYTES: usize = 4096;
/// `seccomp(2)` stops a listener's requests with these (`linux/seccomp.h`).
const NOTIF_RECV: libc::c_ulong = request(3, 0, mem::size_of::<libc::seccomp_notif>());
const NOTIF_SEND: libc::c_ulong = request(3, 1, mem::size_of::<libc::seccomp_notif_resp>());
const NOTIF_ID_VALID: libc::c_ulong = request(1, 2, mem::size_of::<u64>());
const NOTIF_ADDFD: libc::c_ulong = request(1, 3, mem::size_of::<libc::seccomp_notif_addfd>());

/// `_IOC(direction, '!', number, size)` of `asm-generic/ioctl.h`.
const fn request(direction: u64, number: u64, size: usize) -> libc::c_ulong {
    direction << 30 | (size as u64) << 16 | (b'!' as u64) << 8 | number
}

/// Offsets in `struct seccomp_data`; of the argument's two halves the lower.
const ARCHITECTURE: u32 = 4;
const SYSTEM_CALL: u32 = 0;
const THIRD_ARGUMENT: u32 = 16 + 2 * 8;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// Puts the calls of this process, and of what it executes, before whoever holds the descriptor
/// that is returned. Called in the child: allocates nothing.
pub(super) fn filter_opens() -> Result<RawFd, Failed> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let unless = |k, jf| libc::sock_filter {
        code: EQUAL,
        jt: 0,
        jf,
        k,
    };
    let mut program = [
        step(LOAD, ARCHITECTURE),
        unless(AUDIT_ARCH_X86_64, 6),
        step(LOAD, SYSTEM_CALL),
        unless(libc::SYS_openat as u32, 4),
        step(LOAD, THIRD_ARGUMENT),
        step(AND, libc::O_ACCMODE as u32),
        unless(libc::O_RDWR as u32, 1),
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to a live array of its length, which the kernel copies.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    check(JailStep::FilterOpens, listener)
}

/// Answers a jailed program's calls.
#[derive(Debug)]
pub(crate) struct StandIn {
    listener: AsyncFd<OwnedFd>,
    path: PathBuf,
    file: File,
}

impl StandIn {
    /// Answers the opening of `path` with a descriptor for reading. Within a tokio runtime.
    pub(crate) fn new(listener: OwnedFd, path: &Path) -> io::Result<StandIn> {
        // SAFETY: an `OwnedFd` is open and stays the same until it is dropped, and nothing takes
        // it out of the `AsyncFd`.
        let listener = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
        Ok(StandIn {
            listener: listener.map_err(|error| error.into_parts().1)?,
            path: path.to_owned(),
            file: File::open(path)?,
        })
    }

    /// Answers until the program has ended. A call that nobody answers waits.
    pub(crate) async fn serve(self) {
        while let Ok(mut ready) = self.listener.readable().await {
            loop {
                let state = self.state();
                if state.contains(PollFlags::IN) {
                    // A caller that was killed meanwhile waits for no answer.
                    let _ = self.answer();
                } else if state.is_empty() {
                    break;
                } else {
                    // The program has ended.
                    return;
                }
            }
            ready.clear_ready();
        }
    }

    /// What there is to be done now: taking a call that is not there would wait for one.
    fn state(&self) -> PollFlags {
        let mut state = [PollFd::new(self.listener.get_ref(), PollFlags::IN)];
        match poll(&mut state, Some(&Timespec::default())) {
            Ok(_) => state[0].revents(),
            Err(_) => PollFlags::empty(),
        }
    }

    /// Answers one call.
    fn answer(&self) -> io::Result<()> {
        // SAFETY: a structure of integers, for which zero is valid and which must be zero.
        let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
        self.ask(NOTIF_RECV, (&raw mut call).cast())?;
        let is_it = self.asks_for_the_file(&call);
        // What was read belongs to the caller only if the caller still waits.
        let mut id = call.id;
        self.ask(NOTIF_ID_VALID, (&raw mut id).cast())?;
        if is_it {
            let mut given = libc::seccomp_notif_addfd {
                id,
                flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
                srcfd: self.file.as_raw_fd() as u32,
                newfd: 0,
                newfd_flags: libc::O_CLOEXEC as u32,
            };
            return self.ask(NOTIF_ADDFD, (&raw mut given).cast());
        }
        let mut answer = libc::seccomp_notif_resp {
            id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        self.ask(NOTIF_SEND, (&raw mut answer).cast())
    }

    fn asks_for_the_file(&self, call: &libc::seccomp_notif) -> bool {
        let memory = File::open(format!("/proc/{}/mem", call.pid));
        let mut path = [0; PATH_BYTES];
        let read = memory.and_then(|memory| memory.read_at(&mut path, call.data.args[1]));
        let Ok(length) = read else { return false };
        let wanted = self.path.as_os_str().as_bytes();
        path[..length]
            .strip_prefix(wanted)
            .and_then(|rest| rest.first())
            == Some(&0)
    }

    fn ask(&self, request: libc::c_ulong, argument: *mut libc::c_void) -> io::Result<()> {
        // SAFETY: each request is made with a pointer to a live structure of the type whose size
        // its number carries.
        match unsafe { libc::ioctl(self.listener.as_raw_fd(), request, argument) } {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What the child sends to its parent: a failed step, or the listener of its filter.
pub(super) const LISTENER: u8 = u8::MAX;

/// Sends a message of the child, with a descriptor when it is not negative. Allocates nothing.
pub(super) fn send(socket: RawFd, message: [u8; 5], descriptor: RawFd) -> Result<(), Failed> {
    const SPACE: usize = 24;
    #[repr(C, align(8))]
    struct Control([u8; SPACE]);
    let mut control = Control([0; SPACE]);
    let mut data = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: zero is valid for the header; its pointers are to live locals of the lengths given,
    // and `CMSG_SPACE` of one descriptor is 24 bytes.
    let sent = unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &raw mut data;
        header.msg_iovlen = 1;
        if descriptor >= 0 {
            header.msg_control = (&raw mut control).cast();
            header.msg_controllen = SPACE;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(mem::size_of::<RawFd>() as u32) as usize;
            libc::CMSG_DATA(first)
                .cast::<RawFd>()
                .write_unaligned(descriptor);
        }
        libc::sendmsg(socket, &raw const header, libc::MSG_NOSIGNAL)
    };
    check(JailStep::FilterOpens, sent as i64).map(drop)
}

/// Receives a message of the child; nothing when it has executed its program.
pub(super) fn receive(socket: &OwnedFd) -> io::Result<Option<([u8; 5], Option<OwnedFd>)>> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut message = [0; 5];
    let mut space = [mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut data = [io::IoSliceMut::new(&mut message)];
        match recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = descriptors.next().and_then(|mut one| one.next());
    Ok(Some((message, descriptor)))
}
