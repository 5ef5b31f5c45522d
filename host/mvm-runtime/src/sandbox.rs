//! A sandbox, as those see it who use it.

use std::{
    convert::Infallible, ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, time::Duration,
};

use mvm_contract::SandboxId;
use mvm_wire::{
    AttachProcess, MakeDirectory, ReadFile, RemovePath, RenamePath, SignalProcess, StatPath,
    UploadTree,
};
use serde::Serialize;
use tokio::io::AsyncRead;

use crate::{
    Runtime,
    client::{
        self, AgentStream, ClientError, FileEntry, FileReader, FileStatus, Process, ProcessExit,
        ProcessInput, ProcessSummary, TransferProgress, TransferSummary, WriteOptions,
    },
    collected_output::CollectedOutput,
    command::{Command, milliseconds},
    control::{ControlOperation, Destroy, Stop},
    home::Home,
    launch::{CreateError, Launched, LeaseHolder},
    lease::Phase,
    record::SandboxRecord,
    registry::{self, RegistryError},
    run::{RunAccount, RunRecorder},
};

/// What a collected command keeps of each output stream, if nothing else is asked: 16 MiB.
pub const DEFAULT_OUTPUT_LIMIT: usize = 16 * 1024 * 1024;
/// How long a destroyed sandbox may take to be gone.
const DESTROY_LIMIT: Duration = Duration::from_secs(30);
const DESTROY_PAUSE: Duration = Duration::from_millis(100);
const DESTROY_ATTEMPTS: u32 = 100;

/// A sandbox. When this process created it and did not detach it, it lives as long as this value:
/// dropping the value, or the death of the process, destroys the sandbox.
#[derive(Debug)]
pub struct Sandbox {
    runtime: Runtime,
    record: SandboxRecord,
    lease: Option<LeaseHolder>,
    phases: Vec<Phase>,
}

/// A command that has ended, with what it wrote.
#[derive(Debug, Clone)]
pub struct CommandResult {
    /// How it ended.
    pub exit: ProcessExit,
    /// What it wrote to standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether either was cut off.
    pub truncated: bool,
    /// What is kept of the run.
    pub run: RunAccount,
}

impl CommandResult {
    /// The exit code to pass on (see [`ProcessExit::exit_code`]).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit.exit_code()
    }

    /// Whether it exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit_code() == 0
    }
}

/// How a stop or destroy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It ran until now.
    Now,
    /// It had ended before.
    Before,
}

/// Why a sandbox could not be stopped or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Its supervisor refused or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What is left of it cannot be removed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It did not go away.
    #[error("sandbox `{id}` did not end within {limit:?}")]
    Slow {
        /// The sandbox.
        id: SandboxId,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl mvm_contract::Coded for EndError {
    fn code(&self) -> mvm_contract::ErrorCode {
        match self {
            Self::Client(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Slow { .. } => mvm_contract::ErrorCode::CleanupFailed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Slow { id, .. } => Some(format!("try again: `mvmctl destroy {id}`")),
        }
    }
}

impl Sandbox {
    pub(crate) fn launched(runtime: Runtime, launched: Launched) -> Self {
        Self {
            runtime,
            record: launched.record,
            lease: Some(launched.lease),
            phases: launched.phases,
        }
    }

    pub(crate) fn found(runtime: Runtime, record: SandboxRecord) -> Self {
        Self {
            runtime,
            record,
            lease: None,
            phases: Vec::new(),
        }
    }

    /// What its start consisted of, in order; empty when this process did not create it.
    #[must_use]
    pub fn start_phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The runtime it is of.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.record.id
    }

    /// What was recorded of it when this value was made.
    #[must_use]
    pub fn record(&self) -> &SandboxRecord {
        &self.record
    }

    pub(crate) fn home(&self) -> &Home {
        &self.runtime.home
    }

    pub(crate) fn folder(&self) -> std::path::PathBuf {
        self.runtime.home.sandbox(&self.record.id)
    }

    /// Starts a command.
    pub async fn start(&self, command: &Command) -> Result<Process, ClientError> {
        let request = command.to_request(&self.record.defaults)?;
        let recorder = self.recorder(command.wants_receipt())?;
        client::start(&self.folder(), self.record.id.as_str(), request, recorder).await
    }

    /// What records a run in it.
    fn recorder(&self, with_receipt: bool) -> Result<RunRecorder, ClientError> {
        let begun = if with_receipt {
            // It may have been admitted again since this value was made.
            let current = registry::find(self.home(), self.id().as_str())?;
            RunRecorder::begin(self.home(), current, true)
        } else {
            RunRecorder::begin(self.home(), self.record.clone(), false)
        };
        Ok(begun?)
    }

    /// Runs a command to its end and collects what it writes, up to [`DEFAULT_OUTPUT_LIMIT`]
    /// bytes of each stream.
    pub async fn run(&self, command: &Command) -> Result<CommandResult, ClientError> {
        self.run_with_input(command, &[]).await
    }

    /// Runs a command with these bytes on its standard input.
    pub async fn run_with_input(
        &self,
        command: &Command,
        input: &[u8],
    ) -> Result<CommandResult, ClientError> {
        let command = command.clone().standard_input(!input.is_empty());
        let mut process = self.start(&command).await?;
        let sender = process.take_input();
        tokio::select! {
            result = collect(&mut process) => result,
            never = send_all(sender, input) => match never {},
        }
    }

    /// Attaches to a process by its number, replaying its output from these offsets of standard
    /// output and standard error.
    pub async fn attach(
        &self,
        process_id: u64,
        output_offset: u64,
        error_offset: u64,
        standard_input: bool,
    ) -> Result<Process, ClientError> {
        let request = AttachProcess {
            process_id,
            output_offset,
            error_offset,
            standard_input,
        };
        let recorder = self.recorder(false)?;
        client::attach(&self.folder(), self.record.id.as_str(), request, recorder).await
    }

    /// The processes that were started in it and are remembered.
    pub async fn processes(&self) -> Result<Vec<ProcessSummary>, ClientError> {
        client::list_processes(&self.folder(), self.record.id.as_str()).await
    }

    /// Signals a process by its number; its whole group when `group` is set.
    pub async fn signal(
        &self,
        process_id: u64,
        signal: u8,
        group: bool,
    ) -> Result<(), ClientError> {
        let request = SignalProcess {
            process_id,
            signal: u32::from(signal),
            group,
        };
        client::signal(&self.folder(), self.record.id.as_str(), request).await
    }

    /// Drops what is remembered of an ended process.
    pub async fn forget(&self, process_id: u64) -> Result<(), ClientError> {
        client::forget(&self.folder(), self.record.id.as_str(), process_id).await
    }

    /// Opens a file for reading, whole.
    pub async fn open_file(&self, path: impl AsRef<OsStr>) -> Result<FileReader, ClientError> {
        self.open_file_range(path, 0, None).await
    }

    /// Opens a part of a file for reading.
    pub async fn open_file_range(
        &self,
        path: impl AsRef<OsStr>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<FileReader, ClientError> {
        let request = ReadFile {
            path: bytes(path),
            offset,
            length,
        };
        client::open_read(&self.folder(), self.record.id.as_str(), request).await
    }

    /// Reads a whole file into memory.
    pub async fn read_file(&self, path: impl AsRef<OsStr>) -> Result<Vec<u8>, ClientError> {
        self.open_file(path).await?.read_to_end().await
    }

    /// Writes a file, which appears as a whole or not at all, and tells its size.
    pub async fn write_file(
        &self,
        path: impl AsRef<OsStr>,
        content: &mut (impl AsyncRead + Unpin),
        options: &WriteOptions,
    ) -> Result<u64, ClientError> {
        client::write(
            &self.folder(),
            self.record.id.as_str(),
            bytes(path),
            options,
            content,
        )
        .await
    }

    /// Lists a directory by name.
    pub async fn list_directory(
        &self,
        path: impl AsRef<OsStr>,
    ) -> Result<Vec<FileEntry>, ClientError> {
        client::list(&self.folder(), self.record.id.as_str(), bytes(path)).await
    }

    /// What a path is; what a symlink leads to when `follow_symlink` is set.
    pub async fn stat(
        &self,
        path: impl AsRef<OsStr>,
        follow_symlink: bool,
    ) -> Result<FileStatus, ClientError> {
        let request = StatPath {
            path: bytes(path),
            follow_symlink,
        };
        client::stat(&self.folder(), self.record.id.as_str(), request).await
    }

    /// Makes a directory (0755 when no mode is given); with `make_parents`, missing parents too,
    /// and one that is there is no error.
    pub async fn make_directory(
        &self,
        path: impl AsRef<OsStr>,
        mode: Option<u32>,
        make_parents: bool,
    ) -> Result<(), ClientError> {
        let request = MakeDirectory {
            path: bytes(path),
            mode,
            make_parents,
        };
        client::make_directory(&self.folder(), self.record.id.as_str(), request).await
    }

    /// Removes a file, an empty directory, or with `recursive` a directory with all in it.
    pub async fn remove(
        &self,
        path: impl AsRef<OsStr>,
        recursive: bool,
    ) -> Result<(), ClientError> {
        let request = RemovePath {
            path: bytes(path),
            recursive,
        };
        client::remove(&self.folder(), self.record.id.as_str(), request).await
    }

    /// Renames a path; what is at `to` is replaced.
    pub async fn rename(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> Result<(), ClientError> {
        let request = RenamePath {
            from: bytes(from),
            to: bytes(to),
        };
        client::rename(&self.folder(), self.record.id.as_str(), request).await
    }

    /// Copies a file or directory of the host to exactly `path`; missing parents are made.
    pub async fn upload(
        &self,
        source: &Path,
        path: impl AsRef<OsStr>,
        progress: &mut dyn TransferProgress,
    ) -> Result<TransferSummary, ClientError> {
        let request = UploadTree {
            path: bytes(path),
            make_parents: true,
            owner: String::new(),
        };
        client::upload(
            &self.folder(),
            self.record.id.as_str(),
            source,
            request,
            progress,
        )
        .await
    }

    /// Copies a file or directory of the sandbox to exactly `target` of the host, whose parent
    /// must exist. Nothing is written outside `target`, whatever the guest sends; set-user-id
    /// bits and owners are not taken over.
    pub async fn download(
        &self,
        path: impl AsRef<OsStr>,
        target: &Path,
        progress: &mut dyn TransferProgress,
    ) -> Result<TransferSummary, ClientError> {
        let id = self.record.id.as_str();
        client::download(&self.folder(), id, bytes(path), target, progress).await
    }

    /// Lets the sandbox outlive this process. From then on only `destroy` or its time to live
    /// ends it.
    pub async fn detach(mut self) -> Result<SandboxId, CreateError> {
        if let Some(lease) = self.lease.take() {
            lease.detach().await?;
        }
        Ok(self.record.id)
    }

    /// Ends the guest in order: its processes get SIGTERM and `grace` to end, its disks are
    /// synced. The sandbox's disk and logs are kept.
    pub async fn stop(&self, grace: Duration) -> Result<Ended, EndError> {
        let current = registry::find(&self.runtime.home, self.record.id.as_str())?;
        if !current.state.is_live() {
            return Ok(Ended::Before);
        }
        let stop = ControlOperation::Stop(Stop {
            grace_milliseconds: milliseconds(grace),
        });
        AgentStream::control(&self.folder(), self.record.id.as_str(), stop).await?;
        Ok(Ended::Now)
    }

    /// Ends the guest at once and removes all the sandbox had; returns when it is gone.
    pub async fn destroy(mut self) -> Result<Ended, EndError> {
        if let Some(lease) = self.lease.take() {
            return if lease.release(DESTROY_LIMIT).await {
                Ok(Ended::Now)
            } else {
                Err(EndError::Slow {
                    id: self.record.id.clone(),
                    limit: DESTROY_LIMIT,
                })
            };
        }
        let id = &self.record.id;
        for _ in 0..DESTROY_ATTEMPTS {
            if registry::remove_dead(&self.runtime.home, id)? {
                return Ok(Ended::Before);
            }
            let destroy = ControlOperation::Destroy(Destroy {});
            match AgentStream::control(&self.folder(), id.as_str(), destroy).await {
                Ok(()) => return Ok(Ended::Now),
                Err(_) if !self.folder().exists() => return Ok(Ended::Before),
                // Its supervisor ends right now, or another process looks at what is left of it.
                Err(ClientError::NotRunning { .. } | ClientError::HungUp) => {
                    tokio::time::sleep(DESTROY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(EndError::Slow {
            id: id.clone(),
            limit: DESTROY_PAUSE * DESTROY_ATTEMPTS,
        })
    }
}

fn bytes(path: impl AsRef<OsStr>) -> Vec<u8> {
    path.as_ref().as_bytes().to_vec()
}

/// Sends all input and closes it. A process that does not read its input ends the sending; its
/// result tells what it made of that.
async fn send_all(sender: Option<ProcessInput>, input: &[u8]) -> Infallible {
    if let Some(mut sender) = sender
        && !input.is_empty()
        && sender.write(input).await.is_ok()
    {
        let _ = sender.close().await;
    }
    std::future::pending().await
}

async fn collect(process: &mut Process) -> Result<CommandResult, ClientError> {
    let mut output = CollectedOutput::default();
    while let Some(event) = process.next_event().await? {
        if let Some(exit) = output.take(event) {
            let run = process.take_account().ok_or(ClientError::HungUp)?;
            return Ok(output.result(exit, run));
        }
    }
    Err(ClientError::HungUp)
}
