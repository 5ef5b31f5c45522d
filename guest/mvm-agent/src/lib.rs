//! The agent: PID 1 of the guest, which serves the host over byte channels.
//!
//! One thread does everything, so nothing here waits: descriptors do not block, file content moves
//! in bounded pieces, and the one call that holds the thread, making a process, ends when its
//! program runs. What the host sends is checked, what the image holds is hostile, and a panic of
//! PID 1 would be the guest's end: there is none.
//!
//! [`Agent`] serves a connection over any channel; [`run`](run::run) is PID 1's life around it.

mod accounts;
mod boot;
mod channel;
mod clock;
mod connection;
mod disk;
mod exchange;
mod failure;
mod file;
mod freeze;
mod gate;
mod guest_log;
mod identity;
mod kernel_calls;
mod log;
mod names;
mod process;
pub mod run;
mod watched;
mod whole_file;

use std::{cell::Cell, path::PathBuf, rc::Rc};

use mvm_wire::BootStep;

pub use channel::Channel;
pub use connection::SessionEnd;
pub use names::NameFiles;

use accounts::AccountFiles;
use freeze::Freezer;
use gate::Gate;
use identity::Identity;
use log::Log;
use process::Processes;

/// What an agent works with.
#[derive(Debug)]
pub struct Settings {
    /// The users it knows.
    pub passwd: PathBuf,
    /// The groups it knows.
    pub group: PathBuf,
    /// A directory of a version 2 control group hierarchy below which it makes one group per
    /// process. Without it, processes that leave their process group escape a timeout, and the
    /// guest cannot be frozen.
    pub control_groups: Option<PathBuf>,
    /// Whether it is PID 1 of a machine of its own, whose clock, names and end are its to decide.
    pub owns_machine: bool,
    /// The files that carry the guest's names.
    pub names: NameFiles,
    /// Steps of the start, to report.
    pub boot_steps: Vec<BootStep>,
}

/// The agent's state, which outlives connections.
pub struct Agent {
    settings: Settings,
    identity: Identity,
    processes: Rc<Processes>,
    log: Rc<Log>,
    /// Whoever writes to the disk passes it.
    gate: Rc<Gate>,
    freezer: Freezer,
    /// Whether the guest is ending: nothing new is begun.
    ending: Cell<bool>,
}

impl Agent {
    /// An agent that has been given no key yet.
    #[must_use]
    pub fn new(settings: Settings) -> Rc<Self> {
        let log = Rc::new(if settings.owns_machine {
            Log::to_kernel()
        } else {
            Log::default()
        });
        if settings.control_groups.is_none() {
            log.line("no control groups: processes that leave their group escape a timeout");
        }
        let gate = Rc::<Gate>::default();
        Rc::new(Self {
            processes: Rc::new(Processes::new(
                settings.control_groups.clone(),
                Rc::clone(&log),
            )),
            identity: Identity::default(),
            freezer: Freezer::new(
                settings.control_groups.clone(),
                Rc::clone(&gate),
                Rc::clone(&log),
            ),
            settings,
            log,
            gate,
            ending: Cell::new(false),
        })
    }

    fn account_files(&self) -> AccountFiles<'_> {
        AccountFiles {
            passwd: &self.settings.passwd,
            group: &self.settings.group,
        }
    }
}
