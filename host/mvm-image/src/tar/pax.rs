//! PAX extended headers (POSIX.1-2001) and GNU long names: what they say about
//! the entry that follows.

use super::{TarError, printable};
use crate::limits::Limits;

/// Fields of the next entry that extensions replace.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub modified: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Records that say nothing the image keeps.
const WITHOUT_EFFECT: [&[u8]; 9] = [
    b"atime",
    b"ctime",
    b"comment",
    b"uname",
    b"gname",
    b"LIBARCHIVE.creationtime",
    b"SCHILY.dev",
    b"SCHILY.ino",
    b"SCHILY.nlink",
];

impl Overrides {
    /// Adds the records of one `x` header found at byte `offset`.
    pub(super) fn add_pax(
        &mut self,
        data: &[u8],
        offset: u64,
        limits: &Limits,
    ) -> Result<(), TarError> {
        for record in Records::new(data, offset) {
            let (key, value) = record?;
            let malformed = || TarError::PaxRecord {
                record: printable(key),
                offset,
            };
            let repeated = || TarError::RepeatedExtension {
                record: printable(key),
                offset,
            };
            match key {
                b"path" => set(&mut self.path, text(value).ok_or_else(malformed)?, repeated)?,
                b"linkpath" => set(&mut self.link, text(value).ok_or_else(malformed)?, repeated)?,
                b"size" => set(
                    &mut self.size,
                    number(value).ok_or_else(malformed)?,
                    repeated,
                )?,
                b"uid" => set(
                    &mut self.user,
                    number(value).ok_or_else(malformed)?,
                    repeated,
                )?,
                b"gid" => set(
                    &mut self.group,
                    number(value).ok_or_else(malformed)?,
                    repeated,
                )?,
                b"mtime" => set(
                    &mut self.modified,
                    time(value).ok_or_else(malformed)?,
                    repeated,
                )?,
                b"hdrcharset" => {
                    if value != b"BINARY" && value != b"ISO-IR 10646 2000 UTF-8" {
                        return Err(malformed());
                    }
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    let path = self.path.as_deref().unwrap_or_default();
                    return Err(TarError::Sparse {
                        path: printable(path),
                    });
                }
                key if WITHOUT_EFFECT.contains(&key) => {}
                key => {
                    let name = key
                        .strip_prefix(b"SCHILY.xattr.")
                        .filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(&0))
                        .ok_or_else(|| TarError::UnsupportedPaxRecord {
                            record: printable(key),
                            offset,
                        })?;
                    if self.xattrs.iter().any(|(present, _)| present == name) {
                        return Err(repeated());
                    }
                    // Keeps the search above short; the bytes are counted later.
                    if self.xattrs.len() >= limits.xattr_bytes / 16 {
                        return Err(malformed());
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }

    pub(super) fn set_gnu_path(&mut self, data: Vec<u8>, offset: u64) -> Result<(), TarError> {
        let repeated = || TarError::RepeatedExtension {
            record: "long name".into(),
            offset,
        };
        set(&mut self.path, until_nul(data), repeated)
    }

    pub(super) fn set_gnu_link(&mut self, data: Vec<u8>, offset: u64) -> Result<(), TarError> {
        let repeated = || TarError::RepeatedExtension {
            record: "long link".into(),
            offset,
        };
        set(&mut self.link, until_nul(data), repeated)
    }
}

/// A `g` header may carry a comment (as `git archive` does); anything else
/// would change entries in ways readers disagree about.
pub(super) fn check_global(data: &[u8], offset: u64) -> Result<(), TarError> {
    for record in Records::new(data, offset) {
        let (key, _) = record?;
        if key != b"comment" {
            let record = format!("global {}", printable(key));
            return Err(TarError::UnsupportedPaxRecord { record, offset });
        }
    }
    Ok(())
}

fn set<T>(
    slot: &mut Option<T>,
    value: T,
    repeated: impl FnOnce() -> TarError,
) -> Result<(), TarError> {
    match slot.replace(value) {
        Some(_) => Err(repeated()),
        None => Ok(()),
    }
}

fn until_nul(mut data: Vec<u8>) -> Vec<u8> {
    let end = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    data.truncate(end);
    data
}

fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

/// Plain decimal digits.
fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Seconds with an optional fraction, possibly negative; digits past the
/// nanosecond are cut.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = value.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    if whole.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds: i64 = number(whole)?;
    let mut nanoseconds: u32 = 0;
    for place in 0..9 {
        let digit = fraction.get(place).map_or(0, |byte| u32::from(byte - b'0'));
        nanoseconds = nanoseconds * 10 + digit;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => ((-seconds).checked_sub(1)?, 1_000_000_000 - nanoseconds),
    })
}

/// Iterates over `LENGTH KEY=VALUE\n` records.
struct Records<'a> {
    rest: &'a [u8],
    offset: u64,
}

impl<'a> Records<'a> {
    fn new(data: &'a [u8], offset: u64) -> Self {
        Self { rest: data, offset }
    }

    fn split(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        // The longest length a header may need has seven digits.
        let space = self.rest.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = number(&self.rest[..space]).filter(|_| space > 0)?;
        let record = self.rest.get(..length)?;
        let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = body
            .iter()
            .position(|byte| *byte == b'=')
            .filter(|at| *at > 0)?;
        self.rest = &self.rest[length..];
        Some((&body[..equals], &body[equals + 1..]))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), TarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.rest;
        Some(self.split().ok_or_else(|| {
            self.rest = &[];
            TarError::PaxRecord {
                record: printable(&start[..start.len().min(40)]),
                offset: self.offset,
            }
        }))
    }
}
