//! Saving a machine that is paused.
//!
//! A machine's state is what its devices and processors hold, some kilobytes,
//! and its memory. A machine over a memory file is saved as the state alone and
//! the pages it changed since it was made; any other as one stream of both.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Machine;
use crate::page_delta::PageCount;
use crate::private_pages::{PrivateMemory, PrivatePagesError};
use crate::qmp::QmpError;

/// Between looks at a migration.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The most state taken from QEMU, in bytes; a machine has some kilobytes.
const STATE_LIMIT: u64 = 64 << 20;

/// A machine that was not saved. It is paused as before.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// QEMU refused, or the connection broke.
    #[error("QEMU did not save the machine")]
    Qmp(#[source] QmpError),
    /// What QEMU wrote was not copied.
    #[error("cannot copy the machine's state")]
    State(#[source] io::Error),
    /// QEMU could not write the stream.
    #[error("QEMU could not write the machine's state: {reason}")]
    Failed {
        /// QEMU's own words.
        reason: String,
    },
    /// The machine's own pages were not read or written.
    #[error("cannot save the pages the machine changed")]
    Pages(#[source] PrivatePagesError),
}

impl Machine {
    /// Saves devices and processors, without memory, to a file that is empty.
    /// The machine must be paused and stays so.
    ///
    /// # Errors
    /// The file then holds a part.
    pub async fn save_devices(&mut self, mut state: &File) -> Result<(), SaveError> {
        let place = &self.state_file.path;
        // `live: false`: the machine keeps its disks and may go on.
        let arguments = json!({ "filename": place, "live": false });
        let saved = self.qmp.execute("xen-save-devices-state", arguments).await;
        saved.map_err(SaveError::Qmp)?;
        // Through the descriptor: the directory may have been renamed since.
        let mut written = &self.state_file.file;
        let copied = written
            .rewind()
            .and_then(|()| io::copy(&mut written.take(STATE_LIMIT), &mut state))
            .and_then(|_| written.set_len(0));
        copied.map_err(SaveError::State)
    }

    /// Saves the pages that the machine changed over its memory file, as a
    /// [page delta](crate::page_delta). The machine must be paused.
    ///
    /// # Errors
    /// `out` then holds a part.
    pub fn save_private_pages(
        &self,
        memory_file: &Path,
        out: &mut impl Write,
    ) -> Result<PageCount, SaveError> {
        let memory = PrivateMemory::open(self.pid(), memory_file).map_err(SaveError::Pages)?;
        memory.save(out).map_err(SaveError::Pages)
    }

    /// Whether [`save_private_pages`](Machine::save_private_pages) can work on
    /// this host: its kernel may keep a process's memory from its parent.
    ///
    /// # Errors
    /// Why not.
    pub fn probe_private_pages(&self, memory_file: &Path) -> Result<(), SaveError> {
        PrivateMemory::open(self.pid(), memory_file)
            .and_then(|memory| memory.probe())
            .map_err(SaveError::Pages)
    }

    /// Saves everything, memory included, to a file that is empty. The machine
    /// must be paused and stays so.
    ///
    /// # Errors
    /// The file then holds a part.
    pub async fn save_stream(&mut self, state: &File) -> Result<(), SaveError> {
        self.give_file("saved", state)
            .await
            .map_err(SaveError::Qmp)?;
        self.qmp
            .execute("migrate", json!({ "uri": "fd:saved" }))
            .await
            .map_err(SaveError::Qmp)?;
        self.migrated()
            .await
            .map_err(SaveError::Qmp)?
            .map_err(|reason| SaveError::Failed { reason })
    }

    /// Gives QEMU a descriptor by name.
    pub(super) async fn give_file(&mut self, name: &str, file: &File) -> Result<(), QmpError> {
        let name = json!({ "fdname": name });
        let given = self.qmp.execute_with_fd("getfd", name, file.as_fd());
        given.await.map(drop)
    }

    /// Waits for the end of a migration; QEMU's reason when it failed.
    pub(super) async fn migrated(&mut self) -> Result<Result<(), String>, QmpError> {
        loop {
            let answer = self.qmp.execute("query-migrate", Value::Null).await?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(Ok(())),
                Some("failed" | "cancelled") => {
                    let reason = answer["error-desc"].as_str();
                    return Ok(Err(reason.unwrap_or("it did not say why").to_owned()));
                }
                _ => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }
}
