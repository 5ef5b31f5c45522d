//! Copying files and directories between host and guest.

mod host_target;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use mvm_wire::{
    DownloadTree, EndOfData, EndOfFile, FileKind, Frame, FrameKind, Input, Operation, TreeEntry,
    UploadTree, frame::MAX_DATA_BYTES, reply,
};
use serde::Serialize;

pub use self::host_target::HostTarget;
use super::{AgentStream, ClientError, failure::display, file::finish, process::decode};

/// What a transfer moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TransferSummary {
    /// Files, directories and symlinks.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// Is told how a transfer goes on.
pub trait TransferProgress {
    /// So many more bytes of content have moved.
    fn advance(&mut self, bytes: u64);
}

impl TransferProgress for () {
    fn advance(&mut self, _bytes: u64) {}
}

/// Copies `source` of the host, which a symlink may name, to exactly `path` in the guest.
pub(crate) async fn upload(
    folder: &Path,
    id: &str,
    source: &Path,
    request: UploadTree,
    progress: &mut dyn TransferProgress,
) -> Result<TransferSummary, ClientError> {
    // Whether the root can be sent is known before anything is sent.
    let root = host_metadata(fs::metadata(source), source)?;
    let mut stream = AgentStream::open(folder, id, Operation::UploadTree(request)).await?;
    let sent = match send_tree(&mut stream, source, &root, progress).await {
        Ok(()) => stream.writer.message(&Input::from(EndOfData {})).await,
        Err(ClientError::Send(error)) => Err(error),
        Err(error) => return Err(error),
    };
    let done = finish(stream, sent).await?;
    Ok(TransferSummary {
        entries: done.entries,
        bytes: done.bytes,
    })
}

async fn send_tree(
    stream: &mut AgentStream,
    source: &Path,
    root: &fs::Metadata,
    progress: &mut dyn TransferProgress,
) -> Result<(), ClientError> {
    // Depth first, each directory's entries by name: (path on the host, path in the tree).
    let mut waiting = vec![(source.to_owned(), Vec::new())];
    while let Some((path, relative)) = waiting.pop() {
        let metadata = if relative.is_empty() {
            root.clone()
        } else {
            host_metadata(fs::symlink_metadata(&path), &path)?
        };
        let kind = kind_of(&metadata, &path)?;
        let link_target = match kind {
            FileKind::Symlink => {
                let target = fs::read_link(&path).map_err(host_file("read symlink", &path))?;
                target.into_os_string().as_bytes().to_vec()
            }
            _ => Vec::new(),
        };
        let entry = TreeEntry {
            path: relative.clone(),
            kind: kind as i32,
            mode: metadata.mode() & 0o7777,
            modified_nanoseconds: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
            link_target,
            size: metadata.len(),
        };
        stream
            .writer
            .message(&Input::from(entry))
            .await
            .map_err(ClientError::Send)?;
        match kind {
            FileKind::Regular => send_content(stream, &path, progress).await?,
            FileKind::Directory => {
                let mut names = Vec::new();
                for entry in fs::read_dir(&path).map_err(host_file("list directory", &path))? {
                    names.push(
                        entry
                            .map_err(host_file("list directory", &path))?
                            .file_name(),
                    );
                }
                names.sort_unstable_by(|a, b| b.cmp(a));
                waiting.extend(names.into_iter().map(|name| {
                    let mut below = relative.clone();
                    if !below.is_empty() {
                        below.push(b'/');
                    }
                    below.extend_from_slice(name.as_bytes());
                    (path.join(name), below)
                }));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn send_content(
    stream: &mut AgentStream,
    path: &Path,
    progress: &mut dyn TransferProgress,
) -> Result<(), ClientError> {
    let mut file = File::open(path).map_err(host_file("open", path))?;
    let mut buffer = vec![0; MAX_DATA_BYTES];
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(host_file("read", path)(error)),
        };
        let sent = stream.writer.data(FrameKind::Data, &buffer[..count]).await;
        sent.map_err(ClientError::Send)?;
        progress.advance(count as u64);
    }
    stream
        .writer
        .message(&Input::from(EndOfFile {}))
        .await
        .map_err(ClientError::Send)
}

/// Copies `path` of the guest to exactly `target` of the host. The target's parent must exist.
/// Directories that are there are kept and filled, files are replaced, each as a whole, and
/// nothing is written outside `target`, whatever the guest sends.
pub(crate) async fn download(
    folder: &Path,
    id: &str,
    path: Vec<u8>,
    target: &Path,
    progress: &mut dyn TransferProgress,
) -> Result<TransferSummary, ClientError> {
    let operation = Operation::DownloadTree(DownloadTree { path });
    let mut stream = AgentStream::open(folder, id, operation).await?;
    let mut target = HostTarget::new(target)?;
    let mut summary = TransferSummary::default();
    loop {
        let frame = stream.reader.next().await.map_err(ClientError::Receive)?;
        let Frame { kind, payload } = frame.ok_or(ClientError::HungUp)?;
        match kind {
            FrameKind::Data => {
                target.write(payload)?;
                summary.bytes += payload.len() as u64;
                progress.advance(payload.len() as u64);
            }
            FrameKind::Message => match decode(payload)? {
                reply::Kind::TreeEntry(entry) => {
                    target.begin(&entry)?;
                    summary.entries += 1;
                }
                reply::Kind::EndOfFile(_) => target.end_file()?,
                reply::Kind::Done(_) if summary.entries > 0 => {
                    target.finish()?;
                    return Ok(summary);
                }
                _ => return Err(ClientError::UnexpectedReply { expected: "a tree" }),
            },
            FrameKind::ErrorData => {
                return Err(ClientError::UnexpectedReply { expected: "a tree" });
            }
        }
    }
}

fn kind_of(metadata: &fs::Metadata, path: &Path) -> Result<FileKind, ClientError> {
    use std::os::unix::fs::FileTypeExt as _;
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_file() => return Ok(FileKind::Regular),
        () if file_type.is_dir() => return Ok(FileKind::Directory),
        () if file_type.is_symlink() => return Ok(FileKind::Symlink),
        () if file_type.is_socket() => "a socket",
        () if file_type.is_fifo() => "a named pipe",
        () => "a device",
    };
    Err(ClientError::HostFileKind {
        path: path.to_owned(),
        kind,
    })
}

fn host_metadata(
    metadata: io::Result<fs::Metadata>,
    path: &Path,
) -> Result<fs::Metadata, ClientError> {
    metadata.map_err(host_file("read the metadata of", path))
}

fn host_file<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> ClientError + use<'a> {
    move |source| ClientError::HostFile {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Splits the path of a received entry into components that stay inside the tree.
fn components(path: &[u8]) -> Result<Vec<PathBuf>, ClientError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split(|&byte| byte == b'/')
        .map(|component| match component {
            b"" | b"." | b".." => Err(ClientError::EscapingEntry {
                entry: display(path),
            }),
            _ if component.contains(&0) => Err(ClientError::EscapingEntry {
                entry: display(path),
            }),
            _ => Ok(PathBuf::from(std::ffi::OsStr::from_bytes(component))),
        })
        .collect()
}
