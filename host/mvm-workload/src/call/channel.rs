//! The two ends of a function's process: lines of JSON in, lines of JSON out.

use std::time::Duration;

use mvm_runtime::{OutputStream, Process, ProcessEvent, ProcessInput, RunAccount};
use serde::Deserialize;
use serde_json::Value;

use super::{CallError, Raised};
use crate::{hook::tail, runner::MOST_MESSAGE_BYTES};

/// What is kept of what the function writes, in bytes.
const MOST_WRITTEN_BYTES: usize = 16 * 1024 * 1024;
/// How long a process may take to end that was told to.
const END_LIMIT: Duration = Duration::from_secs(5);

/// What a guest says.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Answer {
    /// The function is there.
    Ready,
    /// It is not.
    Failed {
        /// Why.
        error: Raised,
    },
    /// It returned.
    Returned {
        /// What.
        value: Value,
    },
    /// It raised.
    Raised {
        /// What.
        error: Raised,
    },
}

pub(super) struct Channel {
    process: Process,
    input: Option<ProcessInput>,
    /// What was read of the next answer.
    pending: Vec<u8>,
    written: Vec<u8>,
    /// How it ended, once it has.
    exit_code: Option<u8>,
}

impl Channel {
    pub(super) fn new(mut process: Process) -> Self {
        let input = process.take_input();
        Self {
            process,
            input,
            pending: Vec::new(),
            written: Vec::new(),
            exit_code: None,
        }
    }

    pub(super) async fn ask(&mut self, line: &[u8]) -> Result<(), CallError> {
        match &mut self.input {
            Some(input) => input.write(line).await.map_err(CallError::Connection),
            None => Err(CallError::OutOfTurn),
        }
    }

    /// Waits for the next answer.
    pub(super) async fn answer(&mut self, limit: Option<Duration>) -> Result<Answer, CallError> {
        let line = match limit {
            None => self.line().await?,
            Some(limit) => tokio::time::timeout(limit, self.line())
                .await
                .map_err(|_| CallError::TimedOut { limit })??,
        };
        serde_json::from_slice(&line).map_err(|_| CallError::NotAnAnswer)
    }

    async fn line(&mut self) -> Result<Vec<u8>, CallError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending[searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let rest = self.pending.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                return Ok(line);
            }
            searched = self.pending.len();
            if searched > MOST_MESSAGE_BYTES {
                return Err(CallError::AnswerTooLarge);
            }
            if let Some(exit_code) = self.exit_code {
                let tail = tail(&self.written);
                return Err(CallError::EndedEarly { exit_code, tail });
            }
            self.step().await?;
        }
    }

    /// Takes one event of the process.
    async fn step(&mut self) -> Result<(), CallError> {
        let event = self.process.next_event().await;
        match event.map_err(CallError::Connection)? {
            Some(ProcessEvent::Output {
                stream: OutputStream::Stdout,
                bytes,
                ..
            }) => {
                self.pending.extend_from_slice(bytes);
            }
            Some(ProcessEvent::Output {
                stream: OutputStream::Stderr,
                bytes,
                ..
            }) => {
                let room = MOST_WRITTEN_BYTES.saturating_sub(self.written.len());
                self.written
                    .extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            // Somebody follows from the beginning on: nothing is lost.
            Some(ProcessEvent::Gap { .. }) => return Err(CallError::NotAnAnswer),
            Some(ProcessEvent::Exited(exit)) => self.exit_code = Some(exit.exit_code()),
            None => self.exit_code = Some(self.exit_code.unwrap_or(0)),
        }
        Ok(())
    }

    /// Lets the process end, and gives what it wrote and what is kept of its run.
    pub(super) async fn end(mut self) -> Result<(Vec<u8>, RunAccount), CallError> {
        if let Some(mut input) = self.input.take() {
            // One that has ended reads nothing any more.
            let _ = input.close().await;
        }
        let ending = async {
            while self.exit_code.is_none() {
                self.step().await?;
                // It has nothing to say any more.
                self.pending.clear();
            }
            Ok::<(), CallError>(())
        };
        tokio::time::timeout(END_LIMIT, ending)
            .await
            .map_err(|_| CallError::TimedOut { limit: END_LIMIT })??;
        let run = self.process.take_account().ok_or(CallError::OutOfTurn)?;
        Ok((self.written, run))
    }
}
