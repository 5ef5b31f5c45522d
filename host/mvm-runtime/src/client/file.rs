//! Files of a sandbox, from the outside.

use std::path::Path;

use mvm_wire::{
    EndOfData, Frame, FrameKind, Input, ListDirectory, MakeDirectory, Metadata, Operation,
    ReadFile, RemovePath, RenamePath, StatPath, WriteFile, frame::MAX_DATA_BYTES, reply,
};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    AgentStream, ClientError,
    process::{decode, done, one_reply},
};

/// Kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device.
    Device,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// None of the others.
    Other,
}

/// What a path of a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileStatus {
    /// Its kind.
    pub kind: FileKind,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner.
    pub user_id: u32,
    /// Group.
    pub group_id: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    pub modified_ns: i64,
    /// What a symlink holds; bytes that are not UTF-8 are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
}

/// An entry of a directory of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// What it is, itself.
    #[serde(flatten)]
    pub status: FileStatus,
}

/// How a file is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Permission bits; `None` keeps those of a file that is there and means 0644 for a new one.
    pub mode: Option<u32>,
    /// Make missing parent directories.
    pub make_parents: bool,
    /// Owner (`name`, `uid`, `name:group`, `uid:gid`); `None` keeps that of a file that is there
    /// and means root for a new one.
    pub owner: Option<String>,
}

/// A file that is being read.
#[derive(Debug)]
pub struct FileReader {
    stream: AgentStream,
    status: FileStatus,
    received: u64,
    finished: bool,
}

impl FileReader {
    /// What the file was when reading began.
    #[must_use]
    pub fn status(&self) -> &FileStatus {
        &self.status
    }

    /// The next bytes, at most 128 KiB; `None` at the end. A file whose end was not reached is
    /// an error, never a short read.
    pub async fn next_chunk(&mut self) -> Result<Option<&[u8]>, ClientError> {
        if self.finished {
            return Ok(None);
        }
        let frame = self
            .stream
            .reader
            .next()
            .await
            .map_err(ClientError::Receive)?;
        let Frame { kind, payload } = frame.ok_or(ClientError::HungUp)?;
        match kind {
            FrameKind::Data => {
                self.received += payload.len() as u64;
                Ok(Some(payload))
            }
            FrameKind::Message => match decode(payload)? {
                reply::Kind::Done(done) if done.bytes == self.received => {
                    self.finished = true;
                    Ok(None)
                }
                _ => Err(ClientError::UnexpectedReply {
                    expected: "the end of the file",
                }),
            },
            FrameKind::ErrorData => Err(ClientError::UnexpectedReply {
                expected: "the file's content",
            }),
        }
    }

    /// The rest of the file in memory.
    pub async fn read_to_end(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut content = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            content.extend_from_slice(chunk);
        }
        Ok(content)
    }
}

impl From<Metadata> for FileStatus {
    fn from(metadata: Metadata) -> Self {
        use mvm_wire::FileKind as Wire;
        let kind = match metadata.kind() {
            Wire::Regular => FileKind::File,
            Wire::Directory => FileKind::Directory,
            Wire::Symlink => FileKind::Symlink,
            Wire::Device => FileKind::Device,
            Wire::Pipe => FileKind::Pipe,
            Wire::Socket => FileKind::Socket,
            Wire::Other => FileKind::Other,
        };
        Self {
            kind,
            mode: metadata.mode & 0o7777,
            user_id: metadata.user_id,
            group_id: metadata.group_id,
            size: metadata.size,
            modified_ns: metadata.modified_nanoseconds,
            link_target: (kind == FileKind::Symlink)
                .then(|| String::from_utf8_lossy(&metadata.link_target).into_owned()),
        }
    }
}

pub(crate) async fn open_read(
    folder: &Path,
    id: &str,
    request: ReadFile,
) -> Result<FileReader, ClientError> {
    let mut stream = AgentStream::open(folder, id, Operation::ReadFile(request)).await?;
    match one_reply(&mut stream).await? {
        reply::Kind::Metadata(metadata) => Ok(FileReader {
            stream,
            status: metadata.into(),
            received: 0,
            finished: false,
        }),
        _ => Err(ClientError::UnexpectedReply {
            expected: "the file's metadata",
        }),
    }
}

/// Writes all of `content` and tells how many bytes that were.
pub(crate) async fn write(
    folder: &Path,
    id: &str,
    path: Vec<u8>,
    options: &WriteOptions,
    content: &mut (impl AsyncRead + Unpin),
) -> Result<u64, ClientError> {
    let request = WriteFile {
        path,
        mode: options.mode,
        make_parents: options.make_parents,
        owner: options.owner.clone().unwrap_or_default(),
    };
    let mut stream = AgentStream::open(folder, id, Operation::WriteFile(request)).await?;
    let mut buffer = vec![0; MAX_DATA_BYTES];
    let sent = loop {
        let count = content
            .read(&mut buffer)
            .await
            .map_err(|source| ClientError::HostFile {
                doing: "read the content for",
                path: "standard input".into(),
                source,
            })?;
        if count == 0 {
            break stream.writer.message(&Input::from(EndOfData {})).await;
        }
        let sent = stream.writer.data(FrameKind::Data, &buffer[..count]).await;
        if sent.is_err() {
            break sent;
        }
    };
    finish(stream, sent).await.map(|summary| summary.bytes)
}

/// Takes the answer to what was sent. When sending failed the agent has closed its side, and what
/// it said before that is the better reason.
pub(super) async fn finish(
    mut stream: AgentStream,
    sent: Result<(), mvm_wire::session::WriteError>,
) -> Result<mvm_wire::Done, ClientError> {
    match (one_reply(&mut stream).await, sent) {
        (Ok(reply::Kind::Done(done)), Ok(())) => Ok(done),
        (Err(ClientError::Agent(failure)), _) => Err(ClientError::Agent(failure)),
        (_, Err(error)) => Err(ClientError::Send(error)),
        (Ok(_), Ok(())) => Err(ClientError::UnexpectedReply {
            expected: "an acknowledgement",
        }),
        (Err(error), Ok(())) => Err(error),
    }
}

pub(crate) async fn list(
    folder: &Path,
    id: &str,
    path: Vec<u8>,
) -> Result<Vec<FileEntry>, ClientError> {
    let operation = Operation::ListDirectory(ListDirectory { path });
    let mut stream = AgentStream::open(folder, id, operation).await?;
    let mut entries = Vec::new();
    loop {
        match one_reply(&mut stream).await? {
            reply::Kind::DirectoryBatch(batch) => {
                entries.extend(batch.entries.into_iter().map(|entry| FileEntry {
                    name: String::from_utf8_lossy(&entry.name).into_owned(),
                    status: entry.metadata.into(),
                }));
            }
            reply::Kind::Done(_) => return Ok(entries),
            _ => {
                return Err(ClientError::UnexpectedReply {
                    expected: "directory entries",
                });
            }
        }
    }
}

pub(crate) async fn stat(
    folder: &Path,
    id: &str,
    request: StatPath,
) -> Result<FileStatus, ClientError> {
    let mut stream = AgentStream::open(folder, id, Operation::StatPath(request)).await?;
    match one_reply(&mut stream).await? {
        reply::Kind::Metadata(metadata) => Ok(metadata.into()),
        _ => Err(ClientError::UnexpectedReply {
            expected: "metadata",
        }),
    }
}

pub(crate) async fn make_directory(
    folder: &Path,
    id: &str,
    request: MakeDirectory,
) -> Result<(), ClientError> {
    done(folder, id, Operation::MakeDirectory(request)).await
}

pub(crate) async fn remove(
    folder: &Path,
    id: &str,
    request: RemovePath,
) -> Result<(), ClientError> {
    done(folder, id, Operation::RemovePath(request)).await
}

pub(crate) async fn rename(
    folder: &Path,
    id: &str,
    request: RenamePath,
) -> Result<(), ClientError> {
    done(folder, id, Operation::RenamePath(request)).await
}
