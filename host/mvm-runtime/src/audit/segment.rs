//! The files of the log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use mvm_contract::{
    Digest,
    audit::{Chain, EventKind, SignedRecord},
};
use serde::{Deserialize, Serialize};

use super::AuditError;
use crate::{durable, home::Home};

/// A nonce that a record spends, and when its plan ends, in seconds since the Unix epoch.
pub(super) type Spent = (String, Option<u64>);

/// A part of a host's audit log: a log that goes on from the part before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its place, from 1.
    pub number: u32,
    /// Its records.
    pub log: PathBuf,
    /// Its newest checkpoint, if it was ever sealed.
    pub checkpoint: PathBuf,
}

/// The segments of this host's audit log that are there, in order.
pub fn segments(home: &Home) -> Result<Vec<Segment>, AuditError> {
    Files::new(home.audit()).segments()
}

/// A place in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The number of the segment; 0 where nothing is known of the log.
    pub(super) segment: u32,
    /// Bytes of that segment.
    pub(super) offset: u64,
    /// The segment as it stands there; nothing where it has no record yet.
    pub(super) chain: Option<Chain>,
    /// The last record of the segment before.
    pub(super) goes_on_from: Option<Digest>,
    /// The segment before, where it may not be sealed.
    #[serde(skip)]
    pub(super) closed: Option<Chain>,
}

impl Position {
    /// The beginning of the segment that comes after this one.
    pub(super) fn after(segment: u32, chain: &Chain) -> Self {
        Self {
            segment: segment + 1,
            goes_on_from: Some(chain.last()),
            ..Self::default()
        }
    }
}

#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn segment(&self, number: u32) -> Segment {
        Segment {
            number,
            log: self.folder.join(format!("log-{number:06}.jsonl")),
            checkpoint: self.folder.join(format!("log-{number:06}.checkpoint")),
        }
    }

    fn segments(&self) -> Result<Vec<Segment>, AuditError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed("list", &self.folder))? {
            let entry = entry.map_err(failed("list", &self.folder))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| {
                let number = name.strip_prefix("log-")?.strip_suffix(".jsonl")?;
                number.parse::<u32>().ok()
            });
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers.into_iter().map(|each| self.segment(each)).collect())
    }

    /// Appends to a segment, in one write: whoever dies leaves all of it, or a line that is cut
    /// off.
    pub(super) fn write(&self, segment: u32, bytes: &[u8]) -> Result<(), AuditError> {
        let path = self.segment(segment).log;
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let mut file = options.open(&path).map_err(failed("open", &path))?;
        file.write_all(bytes).map_err(failed("write", &path))
    }

    /// Makes what was written of a segment outlive a loss of power, with its name where it is new.
    pub(super) fn sync(&self, segment: u32, is_new: bool) -> Result<(), AuditError> {
        let path = self.segment(segment).log;
        let file = File::open(&path).map_err(failed("open", &path))?;
        file.sync_data().map_err(failed("sync", &path))?;
        if is_new {
            let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
            folder.map_err(failed("sync", &self.folder))?;
        }
        Ok(())
    }

    /// Replaces a segment's checkpoint.
    pub(super) fn seal(&self, segment: u32, note: &[u8]) -> Result<(), AuditError> {
        let path = self.segment(segment).checkpoint;
        durable::replace(&path, note).map_err(failed("write", &path))
    }

    /// Reads the log on from a position, to its end. The nonces on the way are added to `spent`.
    pub(super) fn catch_up(
        &self,
        from: &Position,
        spent: &mut Vec<Spent>,
    ) -> Result<Position, AuditError> {
        let mut position = from.clone();
        if position.segment == 0 {
            // Old segments may have been put away.
            position.segment = self.segments()?.first().map_or(1, |first| first.number);
        }
        loop {
            let path = self.segment(position.segment).log;
            let mut options = OpenOptions::new();
            let file = match options.read(true).write(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let is_last = |segment: &Segment| segment.number <= position.segment;
                    if position.offset > 0 || !self.segments()?.iter().all(is_last) {
                        return Err(AuditError::Shortened { path });
                    }
                    return Ok(position);
                }
                Err(error) => return Err(failed("open", &path)(error)),
            };
            match read_on(&file, &path, position, spent)? {
                Read::End(end) => return Ok(end),
                Read::Closed(next) => position = next,
            }
        }
    }
}

enum Read {
    /// This is the last segment.
    End(Position),
    /// It is closed: another goes on from it, or will.
    Closed(Position),
}

/// Reads a segment on from a position. A last line that is not whole was never told of to anybody,
/// and is cut off, with the zeroes that a loss of power may leave in its place.
fn read_on(
    file: &File,
    path: &Path,
    mut position: Position,
    spent: &mut Vec<Spent>,
) -> Result<Read, AuditError> {
    let length = file.metadata().map_err(failed("look at", path))?.len();
    if length < position.offset {
        let path = path.to_owned();
        return Err(AuditError::Shortened { path });
    }
    if length == position.offset {
        return Ok(Read::End(position));
    }
    let mut reader = BufReader::new(file);
    let start = SeekFrom::Start(position.offset);
    reader.seek(start).map_err(failed("read", path))?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        let read = read.map_err(failed("read", path))? as u64;
        let number = position.chain.as_ref().map_or(0, Chain::records) + 1;
        let broken = || AuditError::Broken {
            path: path.to_owned(),
            line: number,
        };
        let Some(text) = line.strip_suffix(b"\n") else {
            break;
        };
        let Some((chain, record)) = step(&position, text) else {
            if text.contains(&0) && !holds_record(reader).map_err(failed("read", path))? {
                break;
            }
            return Err(broken());
        };
        if let Some(nonce) = record.nonce {
            spent.push((nonce, record.nonce_expires));
        }
        position.offset += read;
        if record.kind == EventKind::LogClosed {
            let more = reader.read(&mut [0]).map_err(failed("read", path))?;
            if more > 0 {
                return Err(AuditError::Broken {
                    path: path.to_owned(),
                    line: number + 1,
                });
            }
            let next = Position::after(position.segment, &chain);
            let closed = Some(chain);
            return Ok(Read::Closed(Position { closed, ..next }));
        }
        position.chain = Some(chain);
    }
    if position.offset < length {
        let mended = file.set_len(position.offset);
        mended.map_err(failed("mend", path))?;
        file.sync_all().map_err(failed("sync", path))?;
    }
    Ok(Read::End(position))
}

/// Whether there is a record in what is left of a segment. A line with zeroes in it was never
/// written: without one, it is what a loss of power made of lines that were not synced.
fn holds_record(reader: BufReader<&File>) -> io::Result<bool> {
    for line in reader.split(b'\n') {
        if SignedRecord::read(&line?).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads one line that comes next in a segment.
fn step(position: &Position, line: &[u8]) -> Option<(Chain, mvm_contract::audit::Event)> {
    let record = SignedRecord::read(line)?.record;
    let chain = match &position.chain {
        Some(chain) => chain.clone(),
        None => {
            // What the first that is left goes on from is not there to be asked.
            let unknown = (position.segment > 1).then_some(record.previous);
            Chain::start(record.log.clone(), position.goes_on_from.or(unknown))
        }
    };
    Some((chain.follow(&record)?, record.event))
}

pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::File {
        doing,
        path,
        source,
    }
}
