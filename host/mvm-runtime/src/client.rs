//! Talking to a sandbox through its supervisor.

mod failure;
mod file;
mod process;
mod tree;

use std::{io, path::Path};

use mvm_contract::{Coded, ErrorCode, LifecycleState};
use mvm_wire::{
    Operation, Request,
    session::{FrameReader, FrameWriter, ReadError, WriteError},
};
use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

use crate::{
    control::{
        CONTROL_GENERATION, ControlOperation, ControlOutcome, ControlReply, ControlRequest,
        OpenStream, RefusalKind, Refused, SOCKET_NAME,
    },
    record::SandboxRecord,
    registry::RegistryError,
    run::RecordRunError,
    socket,
};

pub use failure::AgentFailure;
pub use file::{FileEntry, FileKind, FileReader, FileStatus, WriteOptions};
pub use process::{
    ExitStatus, OutputStream, Process, ProcessEvent, ProcessExit, ProcessInput, ProcessSummary,
};
pub use tree::{HostTarget, TransferProgress, TransferSummary};

pub(crate) use file::{list, make_directory, open_read, remove, rename, stat, write};
pub(crate) use process::{attach, forget, list_processes, signal, start};
pub(crate) use tree::{download, upload};

/// Why an operation on a running sandbox failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no supervisor to talk to.
    #[error("sandbox `{id}` is not running")]
    NotRunning {
        /// The sandbox.
        id: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The guest is paused or cold.
    #[error("sandbox `{id}` does not answer: {reason}")]
    StandsStill {
        /// The sandbox.
        id: String,
        /// Why.
        reason: String,
    },
    /// The supervisor refused, or what it was asked for failed.
    #[error("the supervisor of sandbox `{id}` refused: {message}")]
    Refused {
        /// The sandbox.
        id: String,
        /// The supervisor's own words.
        message: String,
        /// Its code.
        code: ErrorCode,
        /// Its way out.
        hint: Option<String>,
    },
    /// The guest refused or failed.
    #[error(transparent)]
    Agent(#[from] AgentFailure),
    /// Nothing can be sent any more.
    #[error("failed to send to the sandbox")]
    Send(#[source] WriteError),
    /// What came back cannot be read.
    #[error("failed to read the sandbox's answer")]
    Receive(#[source] ReadError),
    /// The connection ended before the answer did.
    #[error("the sandbox hung up before it answered")]
    HungUp,
    /// The connection to a process ended before the process did.
    #[error("the connection to process {process_id} of sandbox `{id}` ended before the process")]
    Interrupted {
        /// The sandbox.
        id: String,
        /// The process's number.
        process_id: u64,
    },
    /// The agent answered something else than was asked.
    #[error("the agent answered out of order (expected {expected})")]
    UnexpectedReply {
        /// What should have come.
        expected: &'static str,
    },
    /// A host file failed while it was copied.
    #[error("failed to {doing} `{}`", path.display())]
    HostFile {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A host file cannot be copied into a guest.
    #[error("cannot copy `{}`: it is {kind}", path.display())]
    HostFileKind {
        /// The file.
        path: std::path::PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The guest named a path that leads out of the tree it sends.
    #[error("the sandbox sent an entry that leads out of its tree: `{entry}`")]
    EscapingEntry {
        /// The entry, escaped for display.
        entry: String,
    },
    /// The request breaks a rule before it is sent.
    #[error(transparent)]
    Spec(#[from] mvm_contract::SpecError),
    /// The guest did not end a command whose time was up.
    #[error("the sandbox did not end the command within {limit:?}")]
    Unresponsive {
        /// Timeout, grace and a margin.
        limit: std::time::Duration,
    },
    /// The sandbox's record cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A receipt was asked for, and none can be made.
    #[error("no receipt can be made of the run")]
    Receipt(#[from] RecordRunError),
    /// There is nothing to run.
    #[error("no command is given and the image names none")]
    NoCommand,
}

impl Coded for ClientError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotRunning { .. } | Self::StandsStill { .. } => ErrorCode::SandboxUnavailable,
            Self::Refused { code, .. } => *code,
            Self::Agent(failure) => failure.code(),
            Self::Send(_) | Self::Receive(_) | Self::HungUp | Self::Interrupted { .. } => {
                ErrorCode::TransportError
            }
            Self::UnexpectedReply { .. } | Self::EscapingEntry { .. } => ErrorCode::TransportError,
            Self::HostFile { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            Self::HostFile { .. } | Self::HostFileKind { .. } | Self::NoCommand => {
                ErrorCode::InvalidArgument
            }
            Self::Spec(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Receipt(error) => error.code(),
            Self::Unresponsive { .. } => ErrorCode::Timeout,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { id, .. } => Some(format!(
                "see why with `mvmctl inspect {id}` and `mvmctl logs {id}`"
            )),
            Self::Interrupted { id, process_id } => Some(format!(
                "where the sandbox is cold, bring it back with `mvmctl resume {id}`; then \
                 `mvmctl exec {id} --attach {process_id}`"
            )),
            Self::StandsStill { id, .. } => {
                Some(format!("let it go on first: `mvmctl resume {id}`"))
            }
            Self::Refused { hint, .. } => hint.clone(),
            Self::Agent(failure) => failure.hint(),
            Self::HostFileKind { .. } => {
                Some("only regular files, directories and symlinks are copied".to_owned())
            }
            Self::Spec(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Receipt(error) => error.hint(),
            Self::NoCommand => Some("name the program to run".to_owned()),
            _ => None,
        }
    }
}

/// One operation's stream to the agent.
#[derive(Debug)]
pub(crate) struct AgentStream {
    pub(crate) reader: FrameReader<Compat<OwnedReadHalf>>,
    pub(crate) writer: FrameWriter<Compat<OwnedWriteHalf>>,
}

impl AgentStream {
    /// Opens a stream through the supervisor of the sandbox in `folder` and sends the request.
    pub(crate) async fn open(
        folder: &Path,
        id: &str,
        operation: Operation,
    ) -> Result<Self, ClientError> {
        let mut stream = Self::connect(folder, id).await?;
        let open = ControlRequest {
            generation: CONTROL_GENERATION,
            operation: Some(ControlOperation::OpenStream(OpenStream {})),
        };
        // Both go out before the first answer is awaited: one round trip, not two.
        stream
            .writer
            .message(&open)
            .await
            .map_err(ClientError::Send)?;
        let sent = stream.writer.message(&Request::from(operation)).await;
        stream.accept(id).await?;
        sent.map_err(ClientError::Send)?;
        Ok(stream)
    }

    /// Asks the supervisor itself and waits for its answer.
    pub(crate) async fn control(
        folder: &Path,
        id: &str,
        operation: ControlOperation,
    ) -> Result<(), ClientError> {
        let mut stream = Self::connect(folder, id).await?;
        let request = ControlRequest {
            generation: CONTROL_GENERATION,
            operation: Some(operation),
        };
        stream
            .writer
            .message(&request)
            .await
            .map_err(ClientError::Send)?;
        stream.accept(id).await
    }

    async fn connect(folder: &Path, id: &str) -> Result<Self, ClientError> {
        let connection = socket::connect(folder, SOCKET_NAME)
            .await
            .map_err(|source| without_supervisor(folder, id, source))?;
        Ok(Self::over(connection))
    }

    fn over(connection: UnixStream) -> Self {
        let (read, write) = connection.into_split();
        Self {
            reader: FrameReader::new(read.compat()),
            writer: FrameWriter::new(write.compat_write()),
        }
    }

    async fn accept(&mut self, id: &str) -> Result<(), ClientError> {
        let reply: Option<ControlReply> = self
            .reader
            .next_message()
            .await
            .map_err(ClientError::Receive)?;
        match reply.ok_or(ClientError::HungUp)?.outcome {
            Some(ControlOutcome::Accepted(_)) => Ok(()),
            Some(ControlOutcome::Refused(refused)) => Err(refusal(id, refused)),
            None => Err(ClientError::UnexpectedReply {
                expected: "an outcome",
            }),
        }
    }
}

/// Why nobody answers for a sandbox: one that is cold has no supervisor, and is well.
fn without_supervisor(folder: &Path, id: &str, source: io::Error) -> ClientError {
    let id = id.to_owned();
    match SandboxRecord::read(folder) {
        Ok(record) if record.state == LifecycleState::Cold => ClientError::StandsStill {
            id,
            reason: "it is cold".to_owned(),
        },
        _ => ClientError::NotRunning { id, source },
    }
}

fn refusal(id: &str, refused: Refused) -> ClientError {
    let kind = RefusalKind::try_from(refused.kind).unwrap_or(RefusalKind::Unspecified);
    let message = refused.causes.join(": ");
    if kind == RefusalKind::StandsStill {
        return ClientError::StandsStill {
            id: id.to_owned(),
            reason: message,
        };
    }
    let named = ErrorCode::ALL
        .into_iter()
        .find(|code| code.as_str() == refused.code);
    ClientError::Refused {
        id: id.to_owned(),
        message,
        code: named.unwrap_or_else(|| kind.code()),
        hint: Some(refused.hint).filter(|hint| !hint.is_empty()),
    }
}
