//! Logs of a sandbox, running or ended.

use std::{
    fs::File,
    io::{self, Read as _},
    time::Duration,
};

use mvm_contract::SandboxId;

use crate::{
    Sandbox,
    home::Home,
    registry,
    supervisor::{GUEST_LOG, MACHINE_LOG},
};

/// How often a followed log is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// Whose words a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// The guest's kernel and agent.
    Guest,
    /// The hypervisor.
    Machine,
}

/// A log that is being read.
#[derive(Debug)]
pub struct LogReader {
    file: File,
    home: Home,
    id: SandboxId,
    buffer: Vec<u8>,
}

impl Sandbox {
    /// Opens one of its logs at the start.
    pub fn open_log(&self, source: LogSource) -> io::Result<LogReader> {
        let name = match source {
            LogSource::Guest => GUEST_LOG,
            LogSource::Machine => MACHINE_LOG,
        };
        Ok(LogReader {
            file: File::open(self.folder().join(name))?,
            home: self.home().clone(),
            id: self.id().clone(),
            buffer: vec![0; 64 * 1024],
        })
    }
}

impl LogReader {
    /// What there is more of the log now; empty at its present end.
    pub fn read(&mut self) -> io::Result<&[u8]> {
        let count = self.file.read(&mut self.buffer)?;
        Ok(&self.buffer[..count])
    }

    /// Waits for more of the log; `None` when the sandbox has ended and all was read.
    pub async fn follow(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            // Looked at before the log, so that nothing written before the end is missed.
            let live = registry::find(&self.home, self.id.as_str())
                .is_ok_and(|record| record.state.is_live());
            let count = self.file.read(&mut self.buffer)?;
            if count > 0 {
                return Ok(Some(&self.buffer[..count]));
            }
            if !live {
                return Ok(None);
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}
