//! Processes: what runs, what has ended, and what they said.

mod client;
mod command;
mod control_group;
mod ring;
mod spawn;
mod start;
mod supervise;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::PathBuf,
    rc::Rc,
};

use mvm_wire::{FailureKind, OutputStream, ProcessExited, ProcessSummary};
use tokio::sync::Notify;

use crate::{
    failure::{Failed, Outcome},
    kernel_calls,
    log::Log,
    watched::Watched,
};
use control_group::ControlGroup;
use ring::Ring;
use spawn::Spawner;

pub(crate) use client::{attach, start};
pub(crate) use ring::RING_BYTES;

/// Ended processes that are remembered.
const MAX_ENDED: usize = 64;
/// Output kept of all ended processes together, bytes.
const MAX_ENDED_BYTES: usize = 8 * 1024 * 1024;

/// A process the agent started.
pub(crate) struct Process {
    id: u64,
    pid: i32,
    arguments: Vec<Vec<u8>>,
    started_nanoseconds: u64,
    detached: bool,
    /// The terminal it runs on.
    terminal: Option<Watched>,
    /// Its standard input, until it is closed.
    input: RefCell<Option<Rc<Watched>>>,
    group: Option<ControlGroup>,
    output: RefCell<Ring>,
    error: RefCell<Ring>,
    /// How its main process ended, as soon as that is collected.
    collected: Cell<Option<kernel_calls::Ended>>,
    /// How it ended, when all its output is in the rings.
    exited: RefCell<Option<ProcessExited>>,
    /// There is more output, or it has exited.
    changed: Notify,
    /// A client has taken output, or gone.
    room: Notify,
    clients: RefCell<Vec<Rc<Cursors>>>,
}

/// How far a client has been sent a process's output.
#[derive(Debug, Default)]
struct Cursors {
    output: Cell<u64>,
    error: Cell<u64>,
}

impl Cursors {
    fn of(&self, stream: OutputStream) -> &Cell<u64> {
        match stream {
            OutputStream::Output => &self.output,
            OutputStream::Error => &self.error,
        }
    }
}

impl Process {
    fn ring(&self, stream: OutputStream) -> &RefCell<Ring> {
        match stream {
            OutputStream::Output => &self.output,
            OutputStream::Error => &self.error,
        }
    }

    /// How much output may be taken from the process without losing any that a client waits for.
    fn room(&self, stream: OutputStream) -> usize {
        let slowest = self
            .clients
            .borrow()
            .iter()
            .map(|cursors| cursors.of(stream).get())
            .min();
        slowest.map_or(RING_BYTES, |offset| {
            self.ring(stream).borrow().room_behind(offset)
        })
    }

    fn has_ended(&self) -> bool {
        self.collected.get().is_some()
    }

    /// Collects the main process's status if it has ended.
    fn collect(&self) {
        if self.collected.get().is_none() {
            match kernel_calls::collect_child(self.pid) {
                Ok(Some((_, ended))) => self.collected.set(Some(ended)),
                Ok(None) => {}
                // Nobody else collects it; should it be gone all the same, it must not be waited
                // for without end.
                Err(_) => self.collected.set(Some(kernel_calls::Ended {
                    status: libc::SIGKILL,
                    cpu_microseconds: 0,
                    peak_memory_kib: 0,
                })),
            }
        }
    }

    /// Signals the process's group, or on a terminal the foreground group.
    fn signal_group(&self, signal: u32) -> Outcome<()> {
        let foreground = self
            .terminal
            .as_ref()
            .and_then(|terminal| rustix::termios::tcgetpgrp(terminal.get_ref()).ok())
            .map(|group| group.as_raw_nonzero().get());
        self.signal(foreground.unwrap_or(self.pid), true, signal)
    }

    fn signal(&self, pid: i32, group: bool, signal: u32) -> Outcome<()> {
        const DOING: &str = "signalling a process";
        if !(1..=64).contains(&signal) {
            return Err(Failed::invalid(DOING, signal.to_string()));
        }
        if self.has_ended() {
            return Err(Failed::new(
                FailureKind::NotFound,
                "signalling a process that has ended",
                self.id.to_string(),
            ));
        }
        kernel_calls::send_signal(pid, group, signal)
            .map_err(|errno| Failed::call(DOING, self.id.to_string(), errno))
    }

    /// Asks the process and everything it started to end.
    fn terminate(&self) {
        let terminate = libc::SIGTERM as u32;
        if !self.has_ended() {
            let _ = kernel_calls::send_signal(self.pid, true, terminate);
        }
        if let Some(group) = &self.group {
            for pid in group.members() {
                // The process group has it already.
                let in_group = rustix::process::Pid::from_raw(pid)
                    .and_then(|pid| rustix::process::getpgid(Some(pid)).ok())
                    .is_some_and(|group| group.as_raw_nonzero().get() == self.pid);
                if !in_group || self.has_ended() {
                    let _ = kernel_calls::send_signal(pid, false, terminate);
                }
            }
            group.signal(libc::SIGCONT as u32);
        }
    }

    /// Kills the process and everything it started.
    fn kill(&self) {
        match &self.group {
            Some(group) => group.kill(),
            None if !self.has_ended() => {
                let _ = kernel_calls::send_signal(self.pid, true, libc::SIGKILL as u32);
            }
            None => {}
        }
    }

    fn summary(&self) -> ProcessSummary {
        ProcessSummary {
            process_id: self.id,
            pid: self.pid as u32,
            arguments: self.arguments.clone(),
            started_nanoseconds: self.started_nanoseconds,
            exited: self.exited.borrow().clone(),
            terminal: self.terminal.is_some(),
            detached: self.detached,
        }
    }
}

/// All processes the agent started and remembers.
pub(crate) struct Processes {
    known: RefCell<BTreeMap<u64, Rc<Process>>>,
    /// Those of `known` that have ended, oldest first.
    ended: RefCell<Vec<u64>>,
    next_id: Cell<u64>,
    /// Where control groups are made; `None` when the guest has none.
    groups: Option<PathBuf>,
    /// Groups whose main process has ended while others live on.
    lingering: RefCell<Vec<ControlGroup>>,
    /// Made in advance for the next process.
    next_group: RefCell<Option<(u64, ControlGroup)>>,
    spawner: Spawner,
    pub(crate) log: Rc<Log>,
}

impl Processes {
    pub(crate) fn new(groups: Option<PathBuf>, log: Rc<Log>) -> Self {
        let processes = Self {
            known: RefCell::default(),
            ended: RefCell::default(),
            next_id: Cell::new(1),
            groups,
            lingering: RefCell::default(),
            next_group: RefCell::default(),
            spawner: Spawner::new(),
            log,
        };
        processes.prepare_group();
        processes
    }

    pub(crate) fn list(&self) -> Vec<ProcessSummary> {
        self.known
            .borrow()
            .values()
            .map(|process| process.summary())
            .collect()
    }

    fn find(&self, id: u64) -> Outcome<Rc<Process>> {
        self.known.borrow().get(&id).cloned().ok_or_else(|| {
            Failed::new(
                FailureKind::NotFound,
                "looking up a process",
                id.to_string(),
            )
        })
    }

    pub(crate) fn signal(&self, id: u64, signal: u32, group: bool) -> Outcome<()> {
        let process = self.find(id)?;
        process.signal(process.pid, group, signal)
    }

    pub(crate) fn forget(&self, id: u64) -> Outcome<()> {
        let process = self.find(id)?;
        if process.exited.borrow().is_none() {
            return Err(Failed::invalid(
                "forgetting a process that runs",
                id.to_string(),
            ));
        }
        self.known.borrow_mut().remove(&id);
        self.ended.borrow_mut().retain(|ended| *ended != id);
        Ok(())
    }

    /// Notes that a process has ended; forgets the oldest ones over the limits.
    fn remember_ended(&self, id: u64) {
        let mut known = self.known.borrow_mut();
        let mut ended = self.ended.borrow_mut();
        ended.push(id);
        let size = |id: &u64| {
            known.get(id).map_or(0, |process| {
                process.output.borrow().len() + process.error.borrow().len()
            })
        };
        let mut total: usize = ended.iter().map(size).sum();
        let mut forgotten = 0;
        while ended.len() - forgotten > MAX_ENDED
            || (total > MAX_ENDED_BYTES && ended.len() - forgotten > 1)
        {
            total -= size(&ended[forgotten]);
            forgotten += 1;
        }
        for id in ended.drain(..forgotten) {
            known.remove(&id);
        }
    }

    /// A process that runs by its number in the guest, to give it the status found for it.
    pub(crate) fn collect(&self, pid: i32) -> bool {
        let known = self.known.borrow();
        let Some(process) = known
            .values()
            .rev()
            .find(|process| process.pid == pid && !process.has_ended())
        else {
            return false;
        };
        process.collect();
        true
    }

    /// Ends everything: SIGTERM, and SIGKILL for what is left after `grace`.
    pub(crate) async fn end_all(&self, grace: std::time::Duration, everyone: bool) {
        if everyone {
            kernel_calls::signal_everyone(libc::SIGTERM);
            kernel_calls::signal_everyone(libc::SIGCONT);
        }
        let running = || -> Vec<Rc<Process>> {
            self.known
                .borrow()
                .values()
                .filter(|process| !process.has_ended())
                .cloned()
                .collect()
        };
        for process in running() {
            process.terminate();
        }
        let mut waited = std::time::Duration::ZERO;
        let step = std::time::Duration::from_millis(5);
        while waited < grace && !running().is_empty() {
            tokio::time::sleep(step).await;
            waited += step;
        }
        for process in running() {
            process.kill();
        }
        for group in self.lingering.borrow().iter() {
            group.kill();
        }
        if everyone {
            kernel_calls::signal_everyone(libc::SIGKILL);
        }
        self.sweep_groups();
    }

    /// Takes the group for process `id`.
    fn take_group(&self, id: u64) -> Option<ControlGroup> {
        if let Some((prepared, group)) = self.next_group.borrow_mut().take()
            && prepared == id
        {
            return Some(group);
        }
        let parent = self.groups.as_ref()?;
        ControlGroup::create(parent, &id.to_string())
            .inspect_err(|_| self.log.line("no control group could be made"))
            .ok()
    }

    /// Makes the next process's group while nobody waits for it.
    fn prepare_group(&self) {
        let id = self.next_id.get();
        if self.next_group.borrow().is_none()
            && let Some(parent) = &self.groups
            && let Ok(group) = ControlGroup::create(parent, &id.to_string())
        {
            self.next_group.replace(Some((id, group)));
        }
    }

    /// Whether a process runs in no group of its own, because none could be made.
    pub(crate) fn any_outside_groups(&self) -> bool {
        let known = self.known.borrow();
        known
            .values()
            .any(|process| process.group.is_none() && !process.has_ended())
    }

    /// Removes groups that have become empty.
    pub(crate) fn sweep_groups(&self) {
        self.lingering.borrow_mut().retain(|group| !group.remove());
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Some((_, group)) = self.next_group.borrow_mut().take() {
            group.remove();
        }
    }
}
