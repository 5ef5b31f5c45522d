//! Files of a server's sandbox.

use std::{ffi::OsStr, io, path::Path};

use http_body_util::{
    BodyExt as _,
    channel::{Channel, Sender},
};
use hyper::{Method, body::Bytes};
use mvm_runtime::{FileEntry, FileKind, FileStatus, TransferSummary, WriteOptions};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    FileReader, HttpError, Sandbox,
    exchange::{Content, encoded},
    tree,
};
use crate::Error;

/// How much of a stream is read at once, bytes.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces on their way to a server that is slow.
const PIECES_AHEAD: usize = 4;

/// What a path is.
#[derive(Debug, Deserialize)]
struct EntryBody {
    name: String,
    kind: String,
    size: u64,
    mode: String,
    modified_at_ms: i64,
    user_id: u32,
    group_id: u32,
    target: Option<String>,
}

#[derive(Debug, Deserialize)]
struct EntryPage {
    items: Vec<EntryBody>,
}

#[derive(Debug, Deserialize)]
struct WrittenBody {
    bytes: u64,
}

impl TryFrom<EntryBody> for FileEntry {
    type Error = HttpError;

    fn try_from(body: EntryBody) -> Result<Self, HttpError> {
        let mode = u32::from_str_radix(&body.mode, 8).map_err(|_| HttpError::Answer {
            expected: "permission bits in octal",
        })?;
        let status = FileStatus {
            kind: match body.kind.as_str() {
                "file" => FileKind::File,
                "directory" => FileKind::Directory,
                "symlink" => FileKind::Symlink,
                _ => FileKind::Other,
            },
            mode,
            user_id: body.user_id,
            group_id: body.group_id,
            size: body.size,
            modified_ns: body.modified_at_ms.saturating_mul(1_000_000),
            link_target: body.target,
        };
        Ok(Self {
            name: body.name,
            status,
        })
    }
}

/// What is being sent. Let go of before its end, the request breaks off, and nothing is written.
struct Sending(Option<Sender<Bytes, io::Error>>);

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            sender.abort(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Sending {
    /// Sends all of it. Where nobody takes it, the answer tells why.
    async fn all(mut self, content: &mut (impl AsyncRead + Unpin)) -> Result<(), HttpError> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = content.read(&mut piece).await.map_err(HttpError::Content)?;
            if count == 0 {
                // This is the end of the body.
                self.0 = None;
                return Ok(());
            }
            let bytes = Bytes::copy_from_slice(&piece[..count]);
            let Some(sender) = &mut self.0 else {
                return Ok(());
            };
            if sender.send_data(bytes).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// A path of the guest, as text.
fn text(path: &OsStr) -> Result<&str, HttpError> {
    path.to_str().ok_or_else(|| HttpError::NotUtf8 {
        what: "path",
        text: path.to_string_lossy().into_owned(),
    })
}

impl Sandbox {
    fn of_file(&self, what: &str, path: impl AsRef<OsStr>) -> Result<String, HttpError> {
        let path = encoded(text(path.as_ref())?);
        Ok(format!("{}/files{what}?path={path}", self.path))
    }

    /// Reads a whole file into memory.
    pub async fn read_file(&self, path: impl AsRef<OsStr>) -> Result<Vec<u8>, Error> {
        Ok(self.open_file(path).await?.read_to_end().await?)
    }

    /// Opens a file to read it piece by piece.
    pub async fn open_file(&self, path: impl AsRef<OsStr>) -> Result<FileReader, Error> {
        let path = self.of_file("", path)?;
        Ok(FileReader::new(self.server().open_soon(&path).await?))
    }

    /// Writes a file, which appears as a whole or not at all.
    pub async fn write_file(
        &self,
        path: impl AsRef<OsStr>,
        content: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let mut content = content.as_ref();
        self.write_file_from(path, &mut content, &WriteOptions::default())
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
        if options.owner.is_some() {
            let what = "the owner of a written file";
            return Err(HttpError::Unsupported { what }.into());
        }
        let mut path = self.of_file("", path)?;
        path.push_str(&format!("&make_parents={}", options.make_parents));
        if let Some(mode) = options.mode {
            path.push_str(&format!("&mode={mode:o}"));
        }
        let (sender, body) = Channel::<Bytes, io::Error>::new(PIECES_AHEAD);
        let body = Content::Stream(body.boxed_unsync());
        let writing = self.server().work::<WrittenBody>(Method::PUT, &path, body);
        tokio::pin!(writing);
        let sending = Sending(Some(sender)).all(content);
        let written = tokio::select! {
            written = &mut writing => written?,
            sent = sending => {
                sent?;
                writing.await?
            }
        };
        Ok(written.bytes)
    }

    /// Lists a directory by name.
    pub async fn list_directory(&self, path: impl AsRef<OsStr>) -> Result<Vec<FileEntry>, Error> {
        let path = self.of_file("/list", path)?;
        let page: EntryPage = self
            .server()
            .json(Method::GET, &path, Content::None)
            .await?;
        let entries = page.items.into_iter().map(FileEntry::try_from);
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// What a path is; a symlink itself, not what it leads to.
    pub async fn stat(&self, path: impl AsRef<OsStr>) -> Result<FileStatus, Error> {
        let path = self.of_file("/stat", path)?;
        let entry: EntryBody = self
            .server()
            .json(Method::GET, &path, Content::None)
            .await?;
        Ok(FileEntry::try_from(entry)?.status)
    }

    /// Makes a directory with its missing parents; one that is there is no error.
    pub async fn make_directory(&self, path: impl AsRef<OsStr>) -> Result<(), Error> {
        self.make_directory_of(path.as_ref(), None).await
    }

    pub(super) async fn make_directory_of(
        &self,
        path: &OsStr,
        mode: Option<u32>,
    ) -> Result<(), Error> {
        let mode = mode.map(|mode| format!("{mode:o}"));
        let content = Content::json(&json!({
            "path": text(path)?, "mode": mode, "parents": true,
        }))?;
        let path = format!("{}/files/mkdir", self.path);
        Ok(self.server().tell(Method::POST, &path, content).await?)
    }

    /// Removes a file, an empty directory, or with `recursive` a directory with all in it.
    pub async fn remove(&self, path: impl AsRef<OsStr>, recursive: bool) -> Result<(), Error> {
        let path = format!("{}&recursive={recursive}", self.of_file("", path)?);
        let server = self.server();
        Ok(server
            .tell_work(Method::DELETE, &path, Content::None)
            .await?)
    }

    /// Renames a path; what is at `to` is replaced.
    pub async fn rename(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> Result<(), Error> {
        let (from, to) = (text(from.as_ref())?, text(to.as_ref())?);
        let content = Content::json(&json!({ "from": from, "to": to }))?;
        let path = format!("{}/files/rename", self.path);
        Ok(self.server().tell(Method::POST, &path, content).await?)
    }

    /// Copies a file or directory of this host to exactly `path`; missing parents are made. A
    /// symlink below it is refused before anything is sent, and modification times are not kept:
    /// the HTTP API has neither.
    pub async fn upload(
        &self,
        source: impl AsRef<Path>,
        path: impl AsRef<OsStr>,
    ) -> Result<TransferSummary, Error> {
        tree::upload(self, source.as_ref(), path.as_ref()).await
    }

    /// Copies a file or directory of the sandbox to exactly `target` of this host. Nothing is
    /// written outside `target`, whatever the guest sends.
    pub async fn download(
        &self,
        path: impl AsRef<OsStr>,
        target: impl AsRef<Path>,
    ) -> Result<TransferSummary, Error> {
        tree::download(self, text(path.as_ref())?, target.as_ref()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_ends_where_its_content_does() {
        let (sender, body) = Channel::new(PIECES_AHEAD);
        let sending = Sending(Some(sender));
        sending.all(&mut &b"content"[..]).await.unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "content");
    }

    #[tokio::test]
    async fn a_body_that_is_given_up_is_broken_and_not_ended() {
        let (sender, mut body) = Channel::new(PIECES_AHEAD);
        drop(Sending(Some(sender)));
        assert!(body.frame().await.unwrap().is_err());
    }
}
