//! Logs of a sandbox.

use std::io;

use mvm_contract::{Coded, ErrorCode};
use mvm_runtime::{LogSource, Sandbox};

/// A log that is being read.
#[derive(Debug)]
pub struct LogReader {
    reader: mvm_runtime::LogReader,
    follow: bool,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be opened.
    #[error("sandbox `{sandbox}` has no such log")]
    Open {
        /// The sandbox.
        sandbox: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It broke off.
    #[error("failed to read the log")]
    Read(#[source] io::Error),
}

impl Coded for LogError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Open { .. } => ErrorCode::NotFound,
            Self::Read(_) => ErrorCode::SandboxUnavailable,
        }
    }
}

impl LogReader {
    pub(crate) fn open(
        sandbox: &Sandbox,
        source: LogSource,
        follow: bool,
    ) -> Result<Self, LogError> {
        let opened = sandbox.open_log(source);
        let reader = opened.map_err(|source| LogError::Open {
            sandbox: sandbox.id().to_string(),
            source,
        })?;
        Ok(Self { reader, follow })
    }

    /// The next bytes; `None` at the end: that of the log as it is, or, where it is followed, that
    /// of the sandbox.
    pub async fn next_chunk(&mut self) -> Result<Option<&[u8]>, LogError> {
        if self.follow {
            return self.reader.follow().await.map_err(LogError::Read);
        }
        let bytes = self.reader.read().map_err(LogError::Read)?;
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}
