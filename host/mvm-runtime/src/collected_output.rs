//! What is kept of a command's output while it runs.

use crate::{
    client::{OutputStream, ProcessEvent, ProcessExit},
    run::RunAccount,
    sandbox::{CommandResult, DEFAULT_OUTPUT_LIMIT},
};

/// What is kept of a process's output: up to [`DEFAULT_OUTPUT_LIMIT`] bytes of each stream.
#[derive(Debug, Default)]
pub struct CollectedOutput {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl CollectedOutput {
    /// Takes an event, and gives the end where it is that.
    pub fn take(&mut self, event: ProcessEvent<'_>) -> Option<ProcessExit> {
        match event {
            ProcessEvent::Output { stream, bytes, .. } => {
                let kept = match stream {
                    OutputStream::Stdout => &mut self.stdout,
                    OutputStream::Stderr => &mut self.stderr,
                };
                let room = DEFAULT_OUTPUT_LIMIT.saturating_sub(kept.len());
                self.truncated |= bytes.len() > room;
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            ProcessEvent::Gap { .. } => self.truncated = true,
            ProcessEvent::Exited(exit) => return Some(exit),
        }
        None
    }

    /// The result of a command that ended so.
    #[must_use]
    pub fn result(self, exit: ProcessExit, run: RunAccount) -> CommandResult {
        CommandResult {
            exit,
            stdout: self.stdout,
            stderr: self.stderr,
            truncated: self.truncated,
            run,
        }
    }
}
