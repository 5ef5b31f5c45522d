//! Run code in local microVMs.
//!
//! ```no_run
//! use mvm::{Command, Sandbox};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), mvm::Error> {
//! let sandbox = Sandbox::builder().memory_mib(512).create().await?;
//! let result = sandbox.run(&Command::new(["python3", "-c", "print(6*7)"])).await?;
//! assert_eq!(result.stdout, b"42\n");
//! sandbox.destroy().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Sandbox`] is one microVM with its state. It lives as long as the value: dropping it, or the
//! death of this process, however it comes, destroys it, unless it is
//! [detached](Sandbox::detach). A command that exits with a non-zero code is a result, not an
//! error; [`Check::check`] makes it one.
//!
//! A sandbox is a fork of its image's template, made when the image is used for the first time, or
//! a spare that was forked beforehand. Sandboxes are saved, brought back and forked themselves with
//! [`cold`](Sandbox::cold), [`snapshot`](Sandbox::snapshot) and [`fork`](Sandbox::fork).
//!
//! With the feature `http`, the same works with a server, `mvmctl serve`: `mvm::http` has sandboxes
//! with the same methods.
//!
//! The host must have been prepared once with `mvmctl setup`, and `mvmctl` must be on the `PATH`
//! or named by the environment variable `MVM_SUPERVISOR`: each sandbox is owned by a supervisor
//! process of its own.

#![forbid(unsafe_code)]

mod builder;
mod error;
#[cfg(feature = "http")]
pub mod http;
mod logs;

pub use builder::{SandboxBuilder, ThisHost};
pub use error::{Check, CommandFailed, Error};
pub use logs::{LogError, LogReader};
pub use mvm_contract::plan::Profile;
pub use mvm_contract::receipt::{ReceiptFlaw, VerifiedReceipt};
pub use mvm_contract::{
    Coded, ErrorCode, KeyId, LifecycleState, Resources, RunId, SandboxId, SandboxName, SandboxSpec,
    SnapshotId,
};
pub use mvm_runtime::{
    Command, CommandResult, DEFAULT_OUTPUT_LIMIT, Ended, ExitStatus, FileEntry, FileKind,
    FileReader, FileStatus, Home, LogSource, OutputStream, Ownership, Phase, Process, ProcessEvent,
    ProcessExit, ProcessInput, ProcessSummary, Progress, RecordRunError, RestoreOptions,
    RunAccount, SandboxRecord, SnapshotOptions, SnapshotRecord, StartOrigin, TransferProgress,
    TransferSummary, Usage, WriteOptions,
};

use std::{ffi::OsStr, path::Path, time::Duration};

use mvm_runtime::{Runtime, SupervisorProgram};
use tokio::io::AsyncRead;

/// A sandbox: one microVM with its state.
#[derive(Debug)]
pub struct Sandbox(mvm_runtime::Sandbox);

impl Sandbox {
    /// Creates a sandbox from the default image, with the default resources.
    pub async fn create() -> Result<Self, Error> {
        Self::builder().create().await
    }

    /// Describes a sandbox before it is created.
    #[must_use]
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::at(ThisHost::default())
    }

    /// The sandbox of a name or identifier. Its owner and end stay what they are: dropping this
    /// value does not destroy it.
    pub fn connect(sandbox: &str) -> Result<Self, Error> {
        Ok(Self(local_runtime()?.connect(sandbox)?))
    }

    /// What is recorded of every sandbox whose record can be read, the oldest first.
    pub fn list() -> Result<Vec<SandboxRecord>, Error> {
        Ok(local_runtime()?
            .list()?
            .into_iter()
            .filter_map(Result::ok)
            .collect())
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        self.0.id()
    }

    /// What was recorded of it when this value was made.
    #[must_use]
    pub fn record(&self) -> &SandboxRecord {
        self.0.record()
    }

    /// What is recorded of it now.
    pub async fn info(&self) -> Result<SandboxRecord, Error> {
        let current = self.0.runtime().connect(self.id().as_str())?;
        Ok(current.record().clone())
    }

    /// What it takes of its host now. A sandbox that does not run takes its disk alone.
    pub async fn metrics(&self) -> Result<Usage, Error> {
        Ok(self.0.usage()?)
    }

    /// Opens one of its logs at the start; with `follow`, it goes on until the sandbox ends.
    pub async fn logs(&self, source: LogSource, follow: bool) -> Result<LogReader, Error> {
        Ok(LogReader::open(&self.0, source, follow)?)
    }

    /// Runs a command to its end and collects what it writes, up to 16 MiB of each stream.
    pub async fn run(&self, command: &Command) -> Result<CommandResult, Error> {
        Ok(self.0.run(command).await?)
    }

    /// Runs a command with these bytes on its standard input.
    pub async fn run_with_input(
        &self,
        command: &Command,
        input: &[u8],
    ) -> Result<CommandResult, Error> {
        Ok(self.0.run_with_input(command, input).await?)
    }

    /// Starts a command, to be followed by its events.
    pub async fn start(&self, command: &Command) -> Result<Process, Error> {
        Ok(self.0.start(command).await?)
    }

    /// Attaches to a process by its number and replays its output from its beginning, or from
    /// where it is still kept: what is lost comes as [`ProcessEvent::Gap`].
    pub async fn attach(&self, process_id: u64) -> Result<Process, Error> {
        Ok(self.0.attach(process_id, 0, 0, false).await?)
    }

    /// The processes that were started in it and are remembered.
    pub async fn processes(&self) -> Result<Vec<ProcessSummary>, Error> {
        Ok(self.0.processes().await?)
    }

    /// Signals a process by its number, with its whole group.
    pub async fn signal(&self, process_id: u64, signal: u8) -> Result<(), Error> {
        Ok(self.0.signal(process_id, signal, true).await?)
    }

    /// Reads a whole file into memory.
    pub async fn read_file(&self, path: impl AsRef<OsStr>) -> Result<Vec<u8>, Error> {
        Ok(self.0.read_file(path).await?)
    }

    /// Opens a file to read it piece by piece.
    pub async fn open_file(&self, path: impl AsRef<OsStr>) -> Result<FileReader, Error> {
        Ok(self.0.open_file(path).await?)
    }

    /// Writes a file, which appears as a whole or not at all.
    pub async fn write_file(
        &self,
        path: impl AsRef<OsStr>,
        content: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let mut content = content.as_ref();
        self.0
            .write_file(path, &mut content, &WriteOptions::default())
            .await?;
        Ok(())
    }

    /// Writes a file from a stream, and tells its size.
    pub async fn write_file_from(
        &self,
        path: impl AsRef<OsStr>,
        content: &mut (impl AsyncRead + Unpin),
        options: &WriteOptions,
    ) -> Result<u64, Error> {
        Ok(self.0.write_file(path, content, options).await?)
    }

    /// Lists a directory by name.
    pub async fn list_directory(&self, path: impl AsRef<OsStr>) -> Result<Vec<FileEntry>, Error> {
        Ok(self.0.list_directory(path).await?)
    }

    /// What a path is; a symlink itself, not what it leads to.
    pub async fn stat(&self, path: impl AsRef<OsStr>) -> Result<FileStatus, Error> {
        Ok(self.0.stat(path, false).await?)
    }

    /// Makes a directory with its missing parents; one that is there is no error.
    pub async fn make_directory(&self, path: impl AsRef<OsStr>) -> Result<(), Error> {
        Ok(self.0.make_directory(path, None, true).await?)
    }

    /// Removes a file, an empty directory, or with `recursive` a directory with all in it.
    pub async fn remove(&self, path: impl AsRef<OsStr>, recursive: bool) -> Result<(), Error> {
        Ok(self.0.remove(path, recursive).await?)
    }

    /// Renames a path; what is at `to` is replaced.
    pub async fn rename(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> Result<(), Error> {
        Ok(self.0.rename(from, to).await?)
    }

    /// Copies a file or directory of the host to exactly `path`; missing parents are made.
    pub async fn upload(
        &self,
        source: impl AsRef<Path>,
        path: impl AsRef<OsStr>,
    ) -> Result<TransferSummary, Error> {
        Ok(self.0.upload(source.as_ref(), path, &mut ()).await?)
    }

    /// Copies a file or directory of the sandbox to exactly `target` of the host. Nothing is
    /// written outside `target`, whatever the guest sends.
    pub async fn download(
        &self,
        path: impl AsRef<OsStr>,
        target: impl AsRef<Path>,
    ) -> Result<TransferSummary, Error> {
        Ok(self.0.download(path, target.as_ref(), &mut ()).await?)
    }

    /// What its start consisted of, in order; empty when this process did not create it.
    #[must_use]
    pub fn start_phases(&self) -> &[Phase] {
        self.0.start_phases()
    }

    /// Takes the guest's processors away; its memory stays.
    pub async fn pause(&self) -> Result<(), Error> {
        Ok(self.0.pause().await?)
    }

    /// Lets a paused or cold sandbox go on; returns when its agent answers.
    pub async fn resume(&self) -> Result<(), Error> {
        Ok(self.0.resume().await?)
    }

    /// Saves it to disk and frees its memory. Its processes go on at [`resume`](Self::resume), and
    /// can be [attached](Self::attach) to again.
    pub async fn cold(&self) -> Result<(), Error> {
        Ok(self.0.cool().await?)
    }

    /// Saves it, with its processes and files, while it goes on.
    pub async fn snapshot(&self, options: &SnapshotOptions) -> Result<SnapshotRecord, Error> {
        Ok(self.0.snapshot(options).await?)
    }

    /// Makes sandboxes that go on from this one as it is now; each has its own outcome, and lives
    /// as long as its value.
    pub async fn fork(&self, count: u32) -> Result<Vec<Result<Self, Error>>, Error> {
        fork_of(self.0.runtime(), self.id().as_str(), count).await
    }

    /// Makes a sandbox that goes on from a snapshot, by name or identifier. It lives as long as
    /// the value.
    pub async fn restore(snapshot: &str, options: &RestoreOptions) -> Result<Self, Error> {
        let runtime = local_runtime()?;
        let restored = runtime.restore(snapshot, options, &builder::Silent);
        Ok(Self(restored.await?))
    }

    /// Makes sandboxes that go on from a snapshot, by name or identifier; each has its own outcome.
    pub async fn fork_snapshot(
        snapshot: &str,
        count: u32,
    ) -> Result<Vec<Result<Self, Error>>, Error> {
        fork_of(&local_runtime()?, snapshot, count).await
    }

    /// Every snapshot whose record can be read, the oldest first.
    pub fn snapshots() -> Result<Vec<SnapshotRecord>, Error> {
        let listed = local_runtime()?.snapshots()?;
        Ok(listed
            .into_iter()
            .filter_map(|one| one.record.ok())
            .collect())
    }

    /// Removes a snapshot; sandboxes that go on from it stay.
    pub fn remove_snapshot(snapshot: &str) -> Result<SnapshotId, Error> {
        Ok(local_runtime()?.remove_snapshot(snapshot)?)
    }

    /// Lets it live for so many seconds from now, or, without them, until it is destroyed.
    pub async fn set_ttl(&self, seconds: Option<u64>) -> Result<(), Error> {
        Ok(self.0.set_ttl(seconds).await?)
    }

    /// Ends the guest in order; its disk and logs are kept until it is destroyed.
    pub async fn stop(&self, grace: Duration) -> Result<Ended, Error> {
        Ok(self.0.stop(grace).await?)
    }

    /// Destroys it with all it has; returns when it is gone.
    pub async fn destroy(self) -> Result<Ended, Error> {
        Ok(self.0.destroy().await?)
    }

    /// Lets it outlive this process; from then on only `destroy` or its time to live ends it.
    pub async fn detach(self) -> Result<SandboxId, Error> {
        Ok(self.0.detach().await?)
    }
}

/// Whether a key that this host believes signed a receipt, and what that says.
pub fn verify_receipt(receipt: &[u8]) -> Result<Result<VerifiedReceipt, ReceiptFlaw>, Error> {
    let roots = mvm_runtime::keys::trust_roots(local_runtime()?.home())?;
    Ok(mvm_contract::receipt::verify(receipt, &roots))
}

async fn fork_of(
    runtime: &Runtime,
    source: &str,
    count: u32,
) -> Result<Vec<Result<Sandbox, Error>>, Error> {
    let options = RestoreOptions::default();
    let children = runtime.fork(source, count, &options, &builder::Silent);
    Ok(children
        .await?
        .into_iter()
        .map(|child| Ok(Sandbox(child?)))
        .collect())
}

fn local_runtime() -> Result<Runtime, Error> {
    Ok(Runtime::from_environment(SupervisorProgram::installed())?)
}

/// The examples in Rust of the pages below `docs/sdk`, compiled.
#[cfg(doctest)]
mod pages {
    // Not without the feature: it has an example over HTTP.
    #[cfg(feature = "http")]
    #[doc = include_str!("../../../docs/sdk/runtime-sdk.md")]
    mod runtime_sdk {}
    #[doc = include_str!("../../../docs/sdk/security-model.md")]
    mod security_model {}
    #[doc = include_str!("../../../docs/sdk/operations-cookbook.md")]
    mod operations_cookbook {}
    #[doc = include_str!("../../../docs/sdk/errors-and-metrics.md")]
    mod errors_and_metrics {}
}
