//! From a request to a process that runs.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use mvm_wire::{FailureKind, StartProcess, TerminalSize};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{self, Mode, OFlags},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    pty::OpenptFlags,
    termios::{InputModes, OptionalActions, Winsize},
};
use tokio::{io::Interest, sync::Notify};

use super::{
    Process, Processes,
    command::{Command, pointers},
    spawn::{Plan, Spawned, Step},
    supervise::Outputs,
};
use crate::{
    accounts::AccountFiles,
    clock,
    failure::{Failed, Outcome},
    watched::{Watched, watch},
};

/// The ends the child gets.
struct ChildEnds {
    input: OwnedFd,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
}

/// The ends the agent keeps.
struct AgentEnds {
    input: Option<OwnedFd>,
    outputs: Option<(OwnedFd, OwnedFd)>,
    terminal: Option<OwnedFd>,
}

/// A process that has just started, with what its supervision needs.
pub(super) struct Started {
    pub(super) process: Rc<Process>,
    pub(super) outputs: Outputs,
    /// Readable when the main process has ended.
    pub(super) handle: Watched,
}

impl Processes {
    /// Starts a process and enters it into the table.
    pub(super) fn launch(
        &self,
        request: StartProcess,
        accounts: &AccountFiles<'_>,
    ) -> Outcome<Started> {
        let command = Command::resolve(&request, accounts)?;
        let (child, agent) = match request.terminal {
            Some(size) => terminal(size, command.account.user_id)?,
            None => pipes(request.standard_input)?,
        };
        // Everything that can fail on the agent's side comes before the process exists.
        let terminal = agent
            .terminal
            .map(|terminal| watch(terminal, Interest::READABLE | Interest::WRITABLE))
            .transpose()
            .map_err(watch_failed)?;
        let input = agent
            .input
            .map(|pipe| watch(pipe, Interest::WRITABLE))
            .transpose()
            .map_err(watch_failed)?;
        let outputs = match agent.outputs {
            Some((output, error)) => Outputs::Pipes(readable(output)?, readable(error)?),
            None => Outputs::Terminal,
        };
        let id = self.next_id.get();
        let group = self.take_group(id);
        let spawned = self.spawn(command, &child, request.terminal.is_some(), &group);
        let Spawned { pid, handle } = match spawned {
            Ok(spawned) => spawned,
            Err(failed) => {
                if let Some(group) = group {
                    self.next_group.replace(Some((id, group)));
                }
                return Err(failed);
            }
        };
        self.next_id.set(id + 1);
        let process = Rc::new(Process {
            id,
            pid,
            arguments: request.arguments,
            started_nanoseconds: clock::wall_nanoseconds(),
            detached: request.detached,
            terminal,
            input: RefCell::new(input.map(Rc::new)),
            group,
            output: RefCell::default(),
            error: RefCell::default(),
            collected: Cell::new(None),
            exited: RefCell::new(None),
            changed: Notify::new(),
            room: Notify::new(),
            clients: RefCell::default(),
        });
        let handle = readable(handle).inspect_err(|_| process.kill())?;
        self.known.borrow_mut().insert(id, Rc::clone(&process));
        Ok(Started {
            process,
            outputs,
            handle,
        })
    }

    fn spawn(
        &self,
        command: Command,
        child: &ChildEnds,
        terminal: bool,
        group: &Option<super::ControlGroup>,
    ) -> Outcome<Spawned> {
        let group_directory = group
            .as_ref()
            .map(|group| group.open())
            .transpose()
            .map_err(|errno| Failed::call("entering a control group", [], errno))?;
        let attempt = |command: &Command| {
            self.spawner.spawn(&Plan {
                program: &command.program,
                arguments: &pointers(&command.arguments),
                environment: &pointers(&command.environment),
                working_directory: &command.working_directory,
                standard_input: child.input.as_fd(),
                standard_output: child.output.as_ref().unwrap_or(&child.input).as_fd(),
                standard_error: child.error.as_ref().unwrap_or(&child.input).as_fd(),
                terminal,
                user_id: command.account.user_id,
                group_id: command.account.group_id,
                groups: rustix::process::geteuid()
                    .is_root()
                    .then_some(command.account.groups.as_slice()),
                limits: &command.limits,
                control_group: group_directory.as_ref().map(|directory| directory.as_fd()),
            })
        };
        match attempt(&command) {
            Ok(spawned) => Ok(spawned),
            Err((Step::Execute, Errno::NOEXEC)) => {
                let program = command.program.clone();
                let refused = || {
                    Failed::call("executing the program", program.as_bytes(), Errno::NOEXEC)
                        .with_kind(FailureKind::NotExecutable)
                };
                let command = command.through_shell().ok_or_else(refused)?;
                attempt(&command).map_err(|(step, errno)| match (step, errno) {
                    (Step::Execute, Errno::NOENT) => refused(),
                    (step, errno) => failed(step, errno, &command),
                })
            }
            Err((step, errno)) => Err(failed(step, errno, &command)),
        }
    }
}

fn failed(step: Step, errno: Errno, command: &Command) -> Failed {
    let program = command.program.as_bytes();
    match step {
        Step::Clone => Failed::call("making a process", program, errno),
        Step::Terminal => Failed::call("giving the process its terminal", program, errno),
        Step::Limits => Failed::call("setting resource limits", program, errno),
        Step::User => Failed::call("becoming the user", &command.account.name, errno),
        Step::WorkingDirectory => Failed::call(
            "entering the working directory",
            command.working_directory.as_bytes(),
            errno,
        )
        .with_kind(FailureKind::WorkingDirectory),
        Step::Execute => {
            let failed = Failed::call("executing the program", program, errno);
            match errno {
                Errno::ACCESS | Errno::PERM | Errno::NOEXEC | Errno::ISDIR | Errno::LIBBAD => {
                    failed.with_kind(FailureKind::NotExecutable)
                }
                _ => failed,
            }
        }
    }
}

fn readable(descriptor: OwnedFd) -> Outcome<Watched> {
    watch(descriptor, Interest::READABLE).map_err(watch_failed)
}

fn watch_failed(error: std::io::Error) -> Failed {
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
    Failed::call("watching a process", [], errno)
}

fn pipes(standard_input: bool) -> Outcome<(ChildEnds, AgentEnds)> {
    let failed = |errno| Failed::call("making a pipe", [], errno);
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(failed);
    let nonblocking =
        |descriptor: &OwnedFd| fs::fcntl_setfl(descriptor, OFlags::NONBLOCK).map_err(failed);
    let (input_read, input_write) = if standard_input {
        let (read, write) = pipe()?;
        nonblocking(&write)?;
        (read, Some(write))
    } else {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let null = fs::open(c"/dev/null", flags, Mode::empty())
            .map_err(|errno| Failed::call("opening", b"/dev/null", errno))?;
        (null, None)
    };
    let (output_read, output_write) = pipe()?;
    let (error_read, error_write) = pipe()?;
    nonblocking(&output_read)?;
    nonblocking(&error_read)?;
    Ok((
        ChildEnds {
            input: input_read,
            output: Some(output_write),
            error: Some(error_write),
        },
        AgentEnds {
            input: input_write,
            outputs: Some((output_read, error_read)),
            terminal: None,
        },
    ))
}

fn terminal(size: TerminalSize, user_id: u32) -> Outcome<(ChildEnds, AgentEnds)> {
    let failed = |errno| Failed::call("opening a terminal", [], errno);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = rustix::pty::openpt(flags).map_err(failed)?;
    rustix::pty::unlockpt(&controller).map_err(failed)?;
    let peer = rustix::pty::ioctl_tiocgptpeer(&controller, flags).map_err(failed)?;
    fs::fcntl_setfl(&controller, OFlags::RDWR | OFlags::NONBLOCK).map_err(failed)?;
    resize(&controller, size)?;
    let mut modes = rustix::termios::tcgetattr(&peer).map_err(failed)?;
    modes.input_modes |= InputModes::IUTF8;
    rustix::termios::tcsetattr(&peer, OptionalActions::Now, &modes).map_err(failed)?;
    if rustix::process::geteuid().is_root() {
        let owner = Some(rustix::fs::Uid::from_raw(user_id));
        fs::fchown(&peer, owner, None).map_err(failed)?;
    }
    Ok((
        ChildEnds {
            input: peer,
            output: None,
            error: None,
        },
        AgentEnds {
            input: None,
            outputs: None,
            terminal: Some(controller),
        },
    ))
}

/// Sets a terminal's size.
pub(super) fn resize(controller: &OwnedFd, size: TerminalSize) -> Outcome<()> {
    const DOING: &str = "resizing the terminal";
    let cells = |count: u32| u16::try_from(count).map_err(|_| Failed::invalid(DOING, []));
    let size = Winsize {
        ws_row: cells(size.rows)?,
        ws_col: cells(size.columns)?,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(controller, size).map_err(|errno| Failed::call(DOING, [], errno))
}
