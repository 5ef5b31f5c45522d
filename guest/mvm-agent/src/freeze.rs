//! Standing still for a snapshot.
//!
//! Everything thaws when the host says so, and with an accepted hello: a guest restored from the
//! snapshot, whose connection is lost, waits for its new identity and runs nothing before.

use std::{cell::Cell, path::PathBuf, rc::Rc, time::Duration};

use mvm_wire::{FailureKind, Frozen, input};
use rustix::io::Errno;

use crate::{
    Agent, disk,
    exchange::{Content, Exchange, Gone},
    failure::{Failed, Outcome},
    file::{attempt, done},
    gate::Gate,
    log::Log,
    whole_file,
};

/// How long processes may take to freeze: one in the kernel's hands freezes when it comes back.
const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(1);

/// What stands still, and since which freeze.
#[derive(Debug)]
pub(crate) struct Freezer {
    /// Closed from before the first process is frozen until after the last one is thawed.
    gate: Rc<Gate>,
    log: Rc<Log>,
    /// The group above those of all processes; `None` when the guest has none.
    groups: Option<PathBuf>,
    current: Cell<Option<Freeze>>,
    count: Cell<u64>,
    /// Whether the disk's file system is frozen.
    disk: Cell<bool>,
}

/// One freeze, by its number: who began it must not end a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Freeze(u64);

impl Freezer {
    pub(crate) fn new(groups: Option<PathBuf>, gate: Rc<Gate>, log: Rc<Log>) -> Self {
        Self {
            gate,
            log,
            groups,
            current: Cell::new(None),
            count: Cell::new(0),
            disk: Cell::new(false),
        }
    }

    /// Freezes everything, or leaves everything as it was.
    async fn freeze(&self) -> Outcome<Freeze> {
        if self.current.get().is_some() {
            return Err(Failed::invalid("freezing a guest that is frozen", []));
        }
        if self.groups.is_none() {
            let doing = "freezing processes without control groups";
            return Err(Failed::new(FailureKind::Unsupported, doing, []));
        }
        // Takes the longest, so it comes while everything runs.
        disk::sync().map_err(|errno| Failed::call("syncing the disk", [], errno))?;
        self.tell_processes(b"1").map_err(|errno| {
            let failed = Failed::call("freezing processes", [], errno);
            match errno {
                // A kernel before 5.2.
                Errno::NOENT => failed.with_kind(FailureKind::Unsupported),
                _ => failed,
            }
        })?;
        // A process that is made in a frozen group never executes, and the agent waits for that.
        self.gate.close();
        let freeze = Freeze(self.count.get());
        self.count.set(freeze.0 + 1);
        self.current.set(Some(freeze));
        let frozen = self.wait_for_processes(freeze).await;
        let frozen = frozen.and_then(|()| {
            disk::freeze().map_err(|errno| Failed::call("freezing the disk", [], errno))
        });
        match frozen {
            Ok(disk) => {
                self.disk.set(disk);
                Ok(freeze)
            }
            Err(failed) => {
                self.end(freeze)?;
                Err(failed)
            }
        }
    }

    async fn wait_for_processes(&self, freeze: Freeze) -> Outcome<()> {
        const DOING: &str = "waiting for processes to freeze";
        let events = self.groups.clone().unwrap_or_default();
        let events = events.join("cgroup.events");
        let mut waited = Duration::ZERO;
        loop {
            if self.current.get() != Some(freeze) {
                let doing = "freezing processes that were thawed meanwhile";
                return Err(Failed::new(FailureKind::Io, doing, []));
            }
            let text =
                whole_file::read(&events, 4096).map_err(|errno| Failed::call(DOING, [], errno))?;
            if text
                .split(|byte| *byte == b'\n')
                .any(|line| line == b"frozen 1")
            {
                return Ok(());
            }
            if waited >= PATIENCE {
                return Err(Failed::new(FailureKind::Io, DOING, []));
            }
            tokio::time::sleep(INTERVAL).await;
            waited += INTERVAL;
        }
    }

    /// Ends this freeze, unless something else has ended it.
    fn end(&self, freeze: Freeze) -> Outcome<()> {
        if self.current.get() == Some(freeze) {
            self.thaw()
        } else {
            Ok(())
        }
    }

    /// Thaws whatever is frozen.
    pub(crate) fn thaw(&self) -> Outcome<()> {
        self.thaw_disk()?;
        self.thaw_processes().map(drop)
    }

    /// The agent may write to the disk from here on; processes may not run yet.
    pub(crate) fn thaw_disk(&self) -> Outcome<()> {
        if self.disk.get() {
            disk::thaw().map_err(|errno| Failed::call("thawing the disk", [], errno))?;
            self.disk.set(false);
        }
        Ok(())
    }

    /// Lets processes run, and what waits at the gate. Gives whether they were frozen.
    pub(crate) fn thaw_processes(&self) -> Outcome<bool> {
        if self.current.get().is_none() {
            return Ok(false);
        }
        match self.tell_processes(b"0") {
            // Where the group is gone, so is all that was in it.
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(Failed::call("thawing processes", [], errno)),
        }
        self.current.set(None);
        self.gate.open();
        Ok(true)
    }

    fn tell_processes(&self, frozen: &[u8]) -> Result<(), Errno> {
        let groups = self.groups.as_ref().ok_or(Errno::NOENT)?;
        whole_file::write_to(&groups.join("cgroup.freeze"), frozen)
    }
}

/// Freezes the guest until the host thaws it.
pub(crate) async fn freeze(agent: &Agent, exchange: &mut Exchange) -> Result<Outcome<()>, Gone> {
    if agent.processes.any_outside_groups() {
        let doing = "freezing a process without a control group";
        return Ok(Err(Failed::new(FailureKind::Unsupported, doing, [])));
    }
    let freezer = &agent.freezer;
    let freeze = attempt!(freezer.freeze().await);
    let said = match exchange.reply(Frozen {}).await {
        Ok(()) => thaw_said(exchange).await,
        Err(gone) => Err(gone),
    };
    if said.is_err() && exchange.link.is_lost() {
        return Err(Gone);
    }
    if let Err(failed) = freezer.end(freeze) {
        freezer.log.line("a frozen guest could not be thawed");
        return Ok(Err(failed));
    }
    attempt!(said?);
    done(exchange, 0, 0).await
}

async fn thaw_said(exchange: &mut Exchange) -> Result<Outcome<()>, Gone> {
    match attempt!(exchange.content().await?) {
        Content::Message(input::Kind::Thaw(_)) => Ok(Ok(())),
        Content::Data(_) | Content::Message(_) => {
            Ok(Err(Failed::invalid("reading the word that thaws", [])))
        }
    }
}
