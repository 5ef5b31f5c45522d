//! From the start of a process to its exit: output, timeout, status.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use futures::future::{Either, join, select};
use mvm_wire::{ExitStatus, OutputStream, ProcessExited};
use rustix::{fd::OwnedFd, io::Errno};

use super::{Process, Processes, start::Started};
use crate::{clock, watched::Watched};

/// The most taken from a process with one call.
const READ_BYTES: usize = 64 * 1024;
/// How long the end of a terminal is waited for after its process has ended.
const TERMINAL_PATIENCE: Duration = Duration::from_secs(1);
/// How often a control group is looked at while it is given time to end.
const GROUP_INTERVAL: Duration = Duration::from_millis(5);
/// How long killed processes may take to go: one in the kernel's hands goes when it comes back.
const KILL_PATIENCE: Duration = Duration::from_secs(2);
const KILL_INTERVAL: Duration = Duration::from_millis(1);

thread_local! {
    static READ_BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Where a process's output comes from.
pub(super) enum Outputs {
    /// Standard output and standard error.
    Pipes(Watched, Watched),
    /// [`Process::terminal`].
    Terminal,
}

/// The time a process has.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit {
    /// `None` when it has no end.
    pub(super) timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

enum Taken {
    Some(usize),
    Nothing,
    End,
}

/// Follows a process until it has ended and all it said is in its rings.
pub(super) async fn supervise(processes: Rc<Processes>, started: Started, limit: TimeLimit) {
    let Started {
        process,
        outputs,
        handle,
    } = started;
    let began = clock::uptime_microseconds();
    let mut pumps_done = false;
    let (timed_out, ended_at) = {
        let mut pumps = pin!(pump_all(&process, &outputs));
        let mut end = pin!(end(&process, &handle, limit));
        poll_fn(|context| {
            if !pumps_done {
                pumps_done = pumps.as_mut().poll(context).is_ready();
            }
            end.as_mut().poll(context)
        })
        .await
    };
    drop(handle);
    if !pumps_done {
        drain_all(&process, &outputs).await;
    }
    drop(outputs);
    finish(&process, timed_out, ended_at.saturating_sub(began));
    // The client's answer goes out before the housekeeping.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    processes.settle(&process);
}

impl Processes {
    /// Housekeeping behind a process's exit.
    fn settle(&self, process: &Process) {
        process.output.borrow_mut().shrink();
        process.error.borrow_mut().shrink();
        if let Some(group) = process.group.as_ref()
            && !group.remove()
        {
            self.lingering.borrow_mut().push(group.clone());
        }
        self.sweep_groups();
        self.remember_ended(process.id);
        self.prepare_group();
    }
}

fn finish(process: &Process, timed_out: bool, duration_microseconds: u64) {
    let Some(ended) = process.collected.get() else {
        return;
    };
    let status = if libc::WIFSIGNALED(ended.status) {
        ExitStatus::Signal(libc::WTERMSIG(ended.status) as u32)
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(ended.status) as u32)
    };
    process.input.replace(None);
    process.exited.replace(Some(ProcessExited {
        status: Some(status),
        timed_out,
        duration_microseconds,
        cpu_microseconds: ended.cpu_microseconds,
        peak_memory_kib: ended.peak_memory_kib,
    }));
    process.changed.notify_waiters();
}

/// Waits for the main process, ending it when its time is over. Gives whether that was so and when
/// the process ended, in microseconds of uptime. When its time was over, nothing that it started
/// runs any more.
async fn end(process: &Process, handle: &Watched, limit: TimeLimit) -> (bool, u64) {
    let mut exit = pin!(exit(process, handle));
    let Some(timeout) = limit.timeout else {
        return (false, exit.await);
    };
    if let Either::Left((ended_at, _)) =
        select(exit.as_mut(), pin!(tokio::time::sleep(timeout))).await
    {
        return (false, ended_at);
    }
    process.terminate();
    let mut grace = pin!(tokio::time::sleep(limit.grace));
    match select(exit.as_mut(), grace.as_mut()).await {
        Either::Left((ended_at, _)) => {
            if let Some(group) = &process.group {
                while !group.members().is_empty() && !grace.is_elapsed() {
                    tokio::time::sleep(GROUP_INTERVAL).await;
                }
            }
            kill_all(process).await;
            (true, ended_at)
        }
        Either::Right(_) => {
            kill_all(process).await;
            (true, exit.await)
        }
    }
}

/// Kills everything the process started and waits until it has gone.
async fn kill_all(process: &Process) {
    process.kill();
    let Some(group) = &process.group else {
        return;
    };
    let mut waited = Duration::ZERO;
    while !group.members().is_empty() && waited < KILL_PATIENCE {
        tokio::time::sleep(KILL_INTERVAL).await;
        waited += KILL_INTERVAL;
    }
}

/// Waits for the main process and collects its status. Gives the uptime then.
async fn exit(process: &Process, handle: &Watched) -> u64 {
    loop {
        process.collect();
        if process.has_ended() {
            return clock::uptime_microseconds();
        }
        match handle.readable().await {
            Ok(mut ready) => {
                process.collect();
                if !process.has_ended() {
                    ready.clear_ready();
                }
            }
            // The event loop ends: nobody will ask.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn pump_all(process: &Process, outputs: &Outputs) {
    match outputs {
        Outputs::Pipes(output, error) => {
            join(
                pump(process, OutputStream::Output, output),
                pump(process, OutputStream::Error, error),
            )
            .await;
        }
        Outputs::Terminal => {
            if let Some(terminal) = &process.terminal {
                pump(process, OutputStream::Output, terminal).await;
            }
        }
    }
}

/// Takes output until its end, waiting while clients have to catch up.
async fn pump(process: &Process, stream: OutputStream, source: &Watched) {
    loop {
        wait_for_room(process, stream).await;
        let Ok(mut ready) = source.readable().await else {
            return;
        };
        match take(process, stream, source.get_ref(), READ_BYTES) {
            Taken::Some(_) => {}
            Taken::Nothing => ready.clear_ready(),
            Taken::End => return,
        }
    }
}

/// Takes what an ended process has left behind, but waits for nobody who still holds its output.
async fn drain_all(process: &Process, outputs: &Outputs) {
    match outputs {
        Outputs::Pipes(output, error) => {
            drain(process, OutputStream::Output, output.get_ref()).await;
            drain(process, OutputStream::Error, error.get_ref()).await;
        }
        Outputs::Terminal => {
            // The kernel hangs the terminal up with its session: its end comes, behind output that
            // may still be on its way through the line discipline.
            let Some(terminal) = &process.terminal else {
                return;
            };
            loop {
                wait_for_room(process, OutputStream::Output).await;
                let ready = tokio::time::timeout(TERMINAL_PATIENCE, terminal.readable()).await;
                let Ok(Ok(mut ready)) = ready else { return };
                let source = terminal.get_ref();
                match take(process, OutputStream::Output, source, READ_BYTES) {
                    Taken::Some(_) => {}
                    Taken::Nothing => ready.clear_ready(),
                    Taken::End => return,
                }
            }
        }
    }
}

async fn drain(process: &Process, stream: OutputStream, pipe: &OwnedFd) {
    // What is there now is all the ended process wrote; another who holds the pipe could go on
    // for ever.
    let mut left = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
    while left > 0 {
        wait_for_room(process, stream).await;
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
        match take(process, stream, pipe, limit) {
            Taken::Some(count) => left = left.saturating_sub(count as u64),
            Taken::Nothing | Taken::End => return,
        }
    }
}

async fn wait_for_room(process: &Process, stream: OutputStream) {
    while process.room(stream) == 0 {
        process.room.notified().await;
    }
}

/// Moves up to `limit` bytes, and no more than there is room for, into the ring.
fn take(process: &Process, stream: OutputStream, source: &OwnedFd, limit: usize) -> Taken {
    let limit = limit.min(process.room(stream)).min(READ_BYTES);
    if limit == 0 {
        // A client has come since there was room.
        return Taken::Some(0);
    }
    READ_BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(READ_BYTES, 0);
        match rustix::io::read(source, &mut buffer[..limit]) {
            Ok(0) => Taken::End,
            Ok(count) => {
                process.ring(stream).borrow_mut().append(&buffer[..count]);
                process.changed.notify_waiters();
                Taken::Some(count)
            }
            Err(Errno::AGAIN) => Taken::Nothing,
            Err(Errno::INTR) => Taken::Some(0),
            // A terminal ends with EIO.
            Err(_) => Taken::End,
        }
    })
}
