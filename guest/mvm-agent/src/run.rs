//! The life of PID 1: start, connections one after the other on each port, the end.

use std::{io, rc::Rc, time::Duration};

use futures::future::{Either, select};
use mvm_wire::{BootStep, PORT_NAMES, session};
use rustix::{
    fd::OwnedFd,
    fs::{self, Mode, OFlags},
    io::Errno,
    system::RebootCommand,
};
use tokio::{io::Interest, task::LocalSet};

use crate::{
    Agent, Channel, SessionEnd, Settings, boot,
    channel::wait_for_host,
    clock, kernel_calls,
    log::{Log, PREFIX},
    watched::watch,
};

/// How long the port may take to appear.
const PORT_PATIENCE: Duration = Duration::from_secs(5);
const PORT_INTERVAL: Duration = Duration::from_millis(2);
/// The second port is there with the first, or most likely not at all.
const SECOND_PORT_ATTEMPTS: u32 = 10;
/// Before a channel that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// Open files the agent may have.
const OPEN_FILES: u64 = 65536;

/// Why PID 1 cannot go on.
#[derive(Debug, thiserror::Error)]
enum RunError {
    /// The guest did not start.
    #[error("the guest did not start")]
    Boot(#[source] boot::BootError),
    /// The host's port is not there.
    #[error("there is no port named `{}`", PORT_NAMES[0])]
    Port(#[source] Errno),
    /// The event loop or a descriptor of it.
    #[error("failed to watch for events")]
    Events(#[source] io::Error),
}

/// Runs as PID 1. Never returns: the machine ends with it.
pub fn run() -> ! {
    if let Err(error) = live() {
        // Whoever reads the console learns why; the host sees the machine end.
        let mut text = format!("<2>{PREFIX}{error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        for target in ["/dev/kmsg", "/dev/console"] {
            if let Ok(log) = fs::open(target, flags, Mode::empty()) {
                let _ = rustix::io::write(&log, text.as_bytes());
            }
        }
        fs::sync();
    }
    end_machine()
}

/// A reset: with QEMU's `-no-reboot` it ends the machine.
fn end_machine() -> ! {
    loop {
        let _ = rustix::system::reboot(RebootCommand::Restart);
        let _ = rustix::system::reboot(RebootCommand::PowerOff);
        std::thread::sleep(RETRY_INTERVAL);
    }
}

fn live() -> Result<(), RunError> {
    let booted = boot::boot().map_err(RunError::Boot)?;
    let open_files = rustix::process::Rlimit {
        current: Some(OPEN_FILES),
        maximum: Some(OPEN_FILES),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, open_files);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(RunError::Events)?;
    let port = find_port().map_err(RunError::Port)?;
    let mut steps = booted.steps;
    steps.push(BootStep {
        name: "ready".to_owned(),
        uptime_microseconds: clock::uptime_microseconds(),
    });
    let agent = Agent::new(Settings {
        passwd: "/etc/passwd".into(),
        group: "/etc/group".into(),
        control_groups: booted.control_groups,
        names: booted.names,
        owns_machine: true,
        boot_steps: steps,
    });
    for note in &booted.notes {
        agent.log.line(note);
    }
    LocalSet::new().block_on(&runtime, async {
        reap_orphans(&agent)?;
        let served = serve_ports(&agent, port).await;
        // What is dropped with its task now removes what it has not finished.
        let _ = agent.freezer.thaw_disk();
        served.map_err(RunError::Events)
    })
}

/// Serves both ports, each by a task of its own, until a connection of either asks for the guest's
/// end.
async fn serve_ports(agent: &Rc<Agent>, port: OwnedFd) -> io::Result<()> {
    let first = Rc::clone(agent);
    let first = tokio::task::spawn_local(async move { serve_port(&first, &port).await });
    let second = Rc::clone(agent);
    let second = tokio::task::spawn_local(async move {
        let served = match find_second_port().await {
            Ok(port) => serve_port(&second, &port).await,
            Err(errno) => Err(errno.into()),
        };
        if let Err(error) = served {
            let note = format!("the port `{}` is not served: {error}", PORT_NAMES[1]);
            second.log.line(&note);
            std::future::pending::<()>().await;
        }
    });
    match select(first, second).await {
        Either::Left((served, _)) => served?,
        Either::Right((served, _)) => Ok(served?),
    }
}

fn find_port() -> Result<OwnedFd, Errno> {
    let mut waited = Duration::ZERO;
    loop {
        match boot::find_port(PORT_NAMES[0]) {
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) if waited < PORT_PATIENCE => {
                std::thread::sleep(PORT_INTERVAL);
                waited += PORT_INTERVAL;
            }
            result => return result,
        }
    }
}

/// Waits longer each time: this goes on while the first port's host waits for answers.
async fn find_second_port() -> Result<OwnedFd, Errno> {
    let mut interval = PORT_INTERVAL;
    for _ in 0..SECOND_PORT_ATTEMPTS {
        match boot::find_port(PORT_NAMES[1]) {
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => {}
            result => return result,
        }
        tokio::time::sleep(interval).await;
        interval *= 2;
    }
    boot::find_port(PORT_NAMES[1])
}

/// Serves one connection after the other until one asks for the guest's end.
async fn serve_port(agent: &Rc<Agent>, port: &OwnedFd) -> io::Result<()> {
    loop {
        wait_for_host(port, true).await?;
        match connect(agent, port).await {
            Ok(SessionEnd::Shutdown) => return Ok(()),
            Ok(SessionEnd::HungUp) => {}
            // The host's side is open and not to be spoken to: its next hang-up begins anew.
            Ok(SessionEnd::Refused) => wait_for_host(port, false).await?,
            Err(error) => {
                log_failure(&agent.log, &error);
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

async fn connect(agent: &Rc<Agent>, port: &OwnedFd) -> io::Result<SessionEnd> {
    let mut channel = Channel::new(port.try_clone()?)?;
    if !channel.discard_stale()? {
        return Ok(SessionEnd::HungUp);
    }
    if session::greet(&mut channel).await.is_err() {
        return Ok(SessionEnd::HungUp);
    }
    Ok(agent.serve(channel).await)
}

fn log_failure(log: &Log, error: &io::Error) {
    log.line(&format!("the port failed: {error}"));
}

/// Collects children that are nobody's any more, and tells the agent's own apart.
fn reap_orphans(agent: &Rc<Agent>) -> Result<(), RunError> {
    let signals = kernel_calls::child_signals()
        .map_err(io::Error::from)
        .and_then(|signals| watch(signals, Interest::READABLE))
        .map_err(RunError::Events)?;
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let mut pending = [0; 128];
        while let Ok(mut ready) = signals.readable().await {
            while rustix::io::read(signals.get_ref(), &mut pending).is_ok() {}
            ready.clear_ready();
            let mut orphans = false;
            while let Some(pid) = kernel_calls::peek_ended_child() {
                if !agent.processes.collect(pid) {
                    orphans = true;
                    if kernel_calls::collect_child(pid).is_err() {
                        break;
                    }
                }
            }
            if orphans {
                agent.processes.sweep_groups();
            }
        }
    });
    Ok(())
}
