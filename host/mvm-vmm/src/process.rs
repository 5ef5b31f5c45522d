//! A jailed child process, waited for through its pidfd.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::jail::Child;

/// Killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Takes the child over; ends it when that fails.
    pub(crate) fn watch(child: Child) -> io::Result<Process> {
        let pid = child.pid;
        // SAFETY: see `PidFd`.
        // SAFETY: an `OwnedFd` is open and stays the same until it is dropped,
        // and nothing takes it out of the `AsyncFd`.
        let watched = unsafe { AsyncFd::register_with_interest(child.pidfd, Interest::READABLE) };
        match watched {
            Ok(pidfd) => Ok(Process {
                pid,
                pidfd,
                status: None,
            }),
            Err(error) => {
                let (pidfd, error) = error.into_parts();
                end(pid, &pidfd);
                Err(error)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends `SIGKILL`; nothing happens when it has ended.
    pub(crate) fn kill(&self) -> io::Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until it has ended and reaps it. May be called again, and dropped.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            let mut ready = self.pidfd.readable().await?;
            match waitpid(Some(self.pid), WaitOptions::NOHANG)? {
                Some((_, status)) => self.status = Some(ExitStatus::from_raw(status.as_raw())),
                None => ready.clear_ready(),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            end(self.pid, self.pidfd.get_ref());
        }
    }
}

/// Both calls fail only when the process is gone already.
fn end(pid: Pid, pidfd: &OwnedFd) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    let _ = waitpid(Some(pid), WaitOptions::empty());
}
