//! What an app wrote, one JSON line for each of its lines: when, and the text.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::state::now_ms;

/// A log that is longer is put aside as `.1`, and the one before it goes.
const MOST_BYTES: u64 = 16 << 20;
/// A line that is longer is cut into several.
const MOST_LINE_BYTES: usize = 64 << 10;
/// How often a followed log is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// When it was read, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What it says; what was not UTF-8 is replaced.
    pub text: String,
}

pub(super) struct LogWriter {
    path: PathBuf,
    file: File,
    bytes: u64,
    pending: Vec<u8>,
}

impl LogWriter {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = appended(path)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: file.metadata()?.len(),
            file,
            pending: Vec::new(),
        })
    }

    /// Takes what was written and gives the lines that are whole.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.pending.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.end_of_line() {
            let rest = self.pending.split_off(end);
            let mut line = std::mem::replace(&mut self.pending, rest);
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            // What cannot be kept is still shown.
            let _ = self.keep(&line);
            lines.push(line);
        }
        lines
    }

    fn end_of_line(&self) -> Option<usize> {
        let end = self
            .pending
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| at + 1);
        end.or((self.pending.len() >= MOST_LINE_BYTES).then_some(MOST_LINE_BYTES))
    }

    fn keep(&mut self, line: &[u8]) -> io::Result<()> {
        let line = LogLine {
            at_ms: now_ms(),
            text: String::from_utf8_lossy(line).into_owned(),
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        if self.bytes + text.len() as u64 > MOST_BYTES {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = appended(&self.path)?;
            self.bytes = 0;
        }
        self.bytes += text.len() as u64;
        self.file.write_all(&text)
    }
}

fn appended(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Gives the lines of a log, and with `follow` those that come until `tell` says `false`. A line
/// that a keeper did not finish is left out.
///
/// # Errors
///
/// Of reading the file.
pub async fn follow(
    path: &Path,
    follow: bool,
    mut tell: impl FnMut(LogLine) -> bool,
) -> io::Result<()> {
    let mut log = BufReader::new(File::open(path)?);
    let mut text = Vec::new();
    loop {
        let count = log.read_until(b'\n', &mut text)?;
        if text.last() == Some(&b'\n') {
            if let Ok(line) = serde_json::from_slice(&text)
                && !tell(line)
            {
                return Ok(());
            }
            text.clear();
            continue;
        }
        if count == 0 && !follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        if count == 0 && was_put_aside(&log, path) {
            log = BufReader::new(File::open(path)?);
            text.clear();
        }
    }
}

fn was_put_aside(log: &BufReader<File>, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (log.get_ref().metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(now)) => ours.ino() != now.ino(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_kept_whole_and_long_logs_are_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let mut log = LogWriter::open(&path).unwrap();
        assert_eq!(log.write(b"one\ntw"), [b"one".to_vec()]);
        assert_eq!(log.write(b"o\n\xff\n"), [b"two".to_vec(), vec![0xff]]);
        assert_eq!(
            log.write(&vec![b'x'; MOST_LINE_BYTES]).len(),
            1,
            "a line without an end"
        );
        let mut texts = Vec::new();
        follow(&path, false, |line| {
            texts.push(line.text);
            true
        })
        .await
        .unwrap();
        assert_eq!(texts[..3], ["one", "two", "\u{fffd}"]);
        log.bytes = MOST_BYTES;
        log.write(b"after\n");
        assert!(path.with_extension("log.1").exists());
        assert!(fs::read_to_string(&path).unwrap().contains("after"));
    }
}
