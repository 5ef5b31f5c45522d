//! Bodies of answers: documents into memory, blobs into files, neither longer than it should be.

use std::io::{self, Seek as _, Write as _};

use http::HeaderMap;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use mvm_contract::Digest;

use super::PullError;
use super::client::{Answer, Client, text_of};
use super::options::Patience;
use super::worker::Teller;
use crate::oci::DOCUMENT_TYPES;
use crate::store::Staging;

/// Bytes after which a blob that breaks off again has got on.
const HEADWAY: u64 = 1 << 20;

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A document as it came.
pub(super) struct Received {
    pub place: String,
    pub bytes: Vec<u8>,
    /// What the registry says it is.
    pub stated_type: Option<String>,
}

/// The chunks of one answer, which must get on.
struct Chunks<'a> {
    place: &'a str,
    body: Incoming,
    patience: Patience,
    /// By when so many bytes must be there.
    deadline: Instant,
    wanted: u64,
    received: u64,
}

impl<'a> Chunks<'a> {
    fn new(place: &'a str, body: Incoming, patience: Patience) -> Self {
        Self {
            place,
            body,
            patience,
            deadline: Instant::now() + patience.stall,
            wanted: Patience::MIN_PROGRESS,
            received: 0,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PullError> {
        loop {
            let frame = tokio::time::timeout_at(self.deadline, self.body.frame()).await;
            let frame = frame.map_err(|_| PullError::Stalled {
                place: self.place.into(),
                limit: self.patience.stall,
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|source| PullError::Broken {
                place: self.place.into(),
                source,
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.received += data.len() as u64;
            if self.received >= self.wanted {
                self.wanted = self.received + Patience::MIN_PROGRESS;
                self.deadline = Instant::now() + self.patience.stall;
            }
            return Ok(Some(data));
        }
    }
}

impl Client {
    /// A manifest or an index, of a tag or a digest. Its digest is compared with the one that is
    /// asked for and with the one that the registry states.
    pub(super) async fn manifest(
        &self,
        name: &str,
        expected: Option<Digest>,
        limit: u64,
    ) -> Result<Received, PullError> {
        self.document("manifests", name, DOCUMENT_TYPES, expected, limit)
            .await
    }

    /// A small blob.
    pub(super) async fn small_blob(
        &self,
        digest: Digest,
        limit: u64,
    ) -> Result<Received, PullError> {
        self.document("blobs", &digest.to_string(), "*/*", Some(digest), limit)
            .await
    }

    async fn document(
        &self,
        kind: &str,
        name: &str,
        accept: &'static str,
        expected: Option<Digest>,
        limit: u64,
    ) -> Result<Received, PullError> {
        self.persist(async |_| {
            let Answer { place, response } = self.get(kind, name, accept, 0).await?;
            let place = place.to_string();
            let (head, body) = response.into_parts();
            let bytes = self.read_whole(&place, body, limit).await?;
            let actual = Digest::of(&bytes);
            if let Some(expected) = expected.filter(|expected| *expected != actual) {
                return Err(PullError::Digest {
                    place,
                    expected,
                    actual,
                });
            }
            check_stated_digest(&head.headers, &place, actual)?;
            let stated_type = text_of(&head.headers, &CONTENT_TYPE).map(|text| {
                let essence = text.split(';').next().unwrap_or_default();
                essence.trim().to_ascii_lowercase()
            });
            Ok(Received {
                place,
                bytes,
                stated_type,
            })
        })
        .await
    }

    async fn read_whole(
        &self,
        place: &str,
        body: Incoming,
        limit: u64,
    ) -> Result<Vec<u8>, PullError> {
        let too_large = || PullError::DocumentSize {
            place: place.into(),
            limit,
        };
        if body.size_hint().lower() > limit {
            return Err(too_large());
        }
        let mut chunks = Chunks::new(place, body, self.options().patience);
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await? {
            if chunks.received > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// A blob of a known size, into a staged file. A download that breaks off goes on where it
    /// was.
    pub(super) async fn blob(
        &self,
        digest: Digest,
        size: u64,
        staging: &mut Staging,
        teller: &Teller,
    ) -> Result<(), PullError> {
        let mut partial = Partial {
            staging,
            hash: Sha256::new(),
            received: 0,
            told: 0,
            pieces: 0,
        };
        self.persist(async |failures| {
            let begun_at = partial.received;
            let result = self.rest_of_blob(digest, size, &mut partial, teller).await;
            if partial.received >= begun_at.saturating_add(HEADWAY) {
                *failures = 0;
            }
            result
        })
        .await
    }

    async fn rest_of_blob(
        &self,
        digest: Digest,
        size: u64,
        partial: &mut Partial<'_>,
        teller: &Teller,
    ) -> Result<(), PullError> {
        let from = partial.received;
        let answer = self.get("blobs", &digest.to_string(), "*/*", from).await;
        let Answer { place, response } = match answer {
            // It does not go on from there: the next try begins anew.
            Err(PullError::Status {
                place, status: 416, ..
            }) if from > 0 => {
                partial.restart()?;
                return Err(PullError::Truncated {
                    place,
                    received: from,
                    expected: size,
                });
            }
            answer => answer?,
        };
        let place = place.to_string();
        let (head, body) = response.into_parts();
        let goes_on = head.status == StatusCode::PARTIAL_CONTENT
            && text_of(&head.headers, &CONTENT_RANGE)
                .is_some_and(|range| goes_on_at(range, from, size));
        if !goes_on {
            partial.restart()?;
            if head.status == StatusCode::PARTIAL_CONTENT {
                return Err(PullError::Truncated {
                    place,
                    received: 0,
                    expected: size,
                });
            }
        }
        let left = size - partial.received;
        let stated = text_of(&head.headers, &CONTENT_LENGTH).and_then(|text| text.parse().ok());
        if let Some(stated) = stated.filter(|stated| *stated != left) {
            return Err(PullError::ContentLength {
                place,
                stated,
                expected: left,
            });
        }
        check_stated_digest(&head.headers, &place, digest)?;
        partial.pieces += 1;
        let mut chunks = Chunks::new(&place, body, self.options().patience);
        while let Some(chunk) = chunks.next().await? {
            if chunks.received > left {
                return Err(PullError::TooLong {
                    place,
                    expected: size,
                });
            }
            partial.append(&chunk, teller)?;
        }
        if partial.received < size {
            return Err(PullError::Truncated {
                place,
                received: partial.received,
                expected: size,
            });
        }
        let actual = Digest::from_bytes(partial.hash.clone().finalize().into());
        if actual == digest {
            return Ok(());
        }
        let in_pieces = partial.pieces > 1;
        partial.restart()?;
        Err(match in_pieces {
            // Pieces of two files: one try for the whole.
            true => PullError::Truncated {
                place,
                received: 0,
                expected: size,
            },
            false => PullError::Digest {
                place,
                expected: digest,
                actual,
            },
        })
    }
}

/// A blob of which a part is there.
struct Partial<'a> {
    staging: &'a mut Staging,
    hash: Sha256,
    received: u64,
    /// What was told of it, which is never taken back.
    told: u64,
    /// Answers that it was put together from.
    pieces: u32,
}

impl Partial<'_> {
    fn restart(&mut self) -> Result<(), PullError> {
        self.hash = Sha256::new();
        self.received = 0;
        self.pieces = 0;
        let file = self.staging.file_mut();
        let cleared = file.set_len(0).and_then(|()| file.rewind());
        cleared.map_err(|source| self.failed(source))
    }

    fn append(&mut self, chunk: &[u8], teller: &Teller) -> Result<(), PullError> {
        let written = self.staging.write_all(chunk);
        written.map_err(|source| self.failed(source))?;
        self.hash.update(chunk);
        self.received += chunk.len() as u64;
        if self.received > self.told {
            teller.advance(self.received - self.told);
            self.told = self.received;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> PullError {
        PullError::Write {
            path: self.staging.path().into(),
            source,
        }
    }
}

/// A digest of another algorithm cannot be compared, and counts for nothing.
fn check_stated_digest(headers: &HeaderMap, place: &str, actual: Digest) -> Result<(), PullError> {
    let stated = text_of(headers, &DOCKER_CONTENT_DIGEST);
    match stated.and_then(|text| text.parse::<Digest>().ok()) {
        Some(stated) if stated != actual => Err(PullError::StatedDigest {
            place: place.into(),
            stated,
            actual,
        }),
        _ => Ok(()),
    }
}

/// Whether `bytes FIRST-LAST/TOTAL` (RFC 9110 section 14.4) is the rest of `size` bytes.
fn goes_on_at(range: &str, from: u64, size: u64) -> bool {
    let parsed = range.strip_prefix("bytes ").and_then(|range| {
        let (range, total) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, total))
    });
    parsed.is_some_and(|(first, last, total)| {
        first == from
            && last.checked_add(1) == Some(size)
            && (total == "*" || total.parse() == Ok(size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rest_of_the_same_blob_goes_on() {
        assert!(goes_on_at("bytes 5-9/10", 5, 10));
        assert!(goes_on_at("bytes 5-9/*", 5, 10));
        for range in [
            "bytes 0-9/10",
            "bytes 5-8/10",
            "bytes 5-9/11",
            "bytes 5-18446744073709551615/10",
            "bytes */10",
            "5-9/10",
            "",
        ] {
            assert!(!goes_on_at(range, 5, 10), "{range}");
        }
    }
}
