//! Leases: the connection that keeps sandboxes alive.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::{
    Method,
    body::{Bytes, Incoming},
};
use mvm_runtime::Progress;
use serde::Deserialize;
use serde_json::Value;
use tokio::task::AbortHandle;

use super::{
    HttpError, Problem, SandboxRecord,
    error::ProblemBody,
    exchange::{Content, Server, decoded},
};

/// The longest line of a lease's answer, bytes.
const MOST_LINE_BYTES: usize = 1 << 20;

/// What a lease is to hold.
pub(super) struct Order<'a> {
    /// As the API has it.
    pub(super) body: &'a Value,
    /// How many sandboxes.
    pub(super) count: usize,
}

/// A connection that keeps sandboxes; dropped, it is closed, and what it kept is destroyed.
#[derive(Debug)]
pub(super) struct Lease {
    /// Reads what the server says to show that it is there.
    reading: AbortHandle,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A line of a lease's answer.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Progress {
        stage: String,
    },
    Sandbox {
        index: usize,
        sandbox: Box<SandboxRecord>,
    },
    Failed {
        index: usize,
        problem: ProblemBody,
    },
    Ready,
    #[serde(other)]
    Other,
}

impl Lease {
    /// Asks for sandboxes and waits until each is there or failed.
    pub(super) async fn open(
        server: &Server,
        order: Order<'_>,
        progress: &(dyn Progress + Sync),
    ) -> Result<(Arc<Self>, Vec<Result<SandboxRecord, HttpError>>), HttpError> {
        let content = Content::json(order.body)?;
        let answer = server.open(Method::POST, "/v1/leases", content).await?;
        let mut lines = Lines::new(answer.into_body());
        let mut made = Vec::new();
        made.resize_with(order.count, || None);
        loop {
            let unexpected = || HttpError::Answer {
                expected: "sandboxes and that they are ready",
            };
            let line = lines.next().await?.ok_or_else(unexpected)?;
            let (index, one) = match decoded(&line)? {
                Event::Progress { stage } => {
                    progress.stage(&stage, None);
                    continue;
                }
                Event::Other => continue,
                Event::Ready => break,
                Event::Sandbox { index, sandbox } => (index, Ok(*sandbox)),
                Event::Failed { index, problem } => {
                    (index, Err(HttpError::Problem(Problem::from(problem))))
                }
            };
            *made.get_mut(index).ok_or_else(unexpected)? = Some(one);
        }
        progress.finish();
        let made: Option<Vec<_>> = made.into_iter().collect();
        let made = made.ok_or(HttpError::Answer {
            expected: "as many sandboxes as were asked for",
        })?;
        let mut body = lines.body;
        // What nobody reads would fill the connection after some time.
        let reading = tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
        let lease = Self {
            reading: reading.abort_handle(),
        };
        Ok((Arc::new(lease), made))
    }
}

/// The lines of an answer.
struct Lines {
    body: Incoming,
    pending: Vec<u8>,
}

impl Lines {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            pending: Vec::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.pending, rest)));
            }
            if self.pending.len() > MOST_LINE_BYTES {
                return Err(HttpError::Answer {
                    expected: "made of lines",
                });
            }
            match next_part(&mut self.body).await? {
                Some(part) => self.pending.extend_from_slice(&part),
                None => return Ok(None),
            }
        }
    }
}

/// The next bytes of an answer; `None` at its end. Cancel-safe.
pub(super) async fn next_part(body: &mut Incoming) -> Result<Option<Bytes>, HttpError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(HttpError::Body(error.into())),
            Some(Ok(frame)) => {
                // Trailers say nothing here.
                if let Ok(bytes) = frame.into_data()
                    && !bytes.is_empty()
                {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
