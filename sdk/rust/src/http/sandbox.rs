//! A sandbox of a server.

use std::{sync::Arc, time::Duration};

use hyper::Method;
use mvm_contract::{Coded as _, ErrorCode, SandboxId};
use mvm_runtime::{
    Command, CommandResult, Ended, LogSource, ProcessSummary, SnapshotOptions, Usage,
};
use serde_json::json;

use super::{
    Client, HttpError, LogReader, Process, SandboxRecord, SnapshotRecord,
    command::{CommandBody, ProcessPage, milliseconds},
    exchange::{Content, Server},
    lease::Lease,
    record::{EndedBody, UsageBody},
};
use crate::Error;

/// A sandbox: one microVM with its state, on a server's host.
#[derive(Debug)]
pub struct Sandbox {
    client: Client,
    record: SandboxRecord,
    pub(super) path: String,
    /// What keeps it alive, where this process made it.
    lease: Option<Arc<Lease>>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Those that were forked with it are kept by the same connection.
        if let Some(lease) = self.lease.take()
            && Arc::strong_count(&lease) > 1
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (server, path) = (Arc::clone(self.server()), self.path.clone());
            runtime.spawn(async move {
                // Where it fails, the sandbox ends with its siblings.
                let _ = server.tell_work(Method::DELETE, &path, Content::None).await;
            });
        }
    }
}

impl Sandbox {
    pub(super) fn new(client: Client, record: SandboxRecord, lease: Option<Arc<Lease>>) -> Self {
        Self {
            path: format!("/v1/sandboxes/{}", record.id),
            client,
            record,
            lease,
        }
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.client.server
    }

    fn path_of(&self, what: &str) -> String {
        format!("{}/{what}", self.path)
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.record.id
    }

    /// What was recorded of it when this value was made.
    #[must_use]
    pub fn record(&self) -> &SandboxRecord {
        &self.record
    }

    /// What is recorded of it now.
    pub async fn info(&self) -> Result<SandboxRecord, Error> {
        let record = self
            .server()
            .json(Method::GET, &self.path, Content::None)
            .await;
        Ok(record?)
    }

    /// What it takes of its host now. A sandbox that does not run takes its disk alone.
    pub async fn metrics(&self) -> Result<Usage, Error> {
        let path = self.path_of("metrics");
        let usage: UsageBody = self
            .server()
            .json(Method::GET, &path, Content::None)
            .await?;
        Ok(usage.into())
    }

    /// Opens one of its logs at the start; with `follow`, it goes on until the sandbox ends.
    pub async fn logs(&self, source: LogSource, follow: bool) -> Result<LogReader, Error> {
        let source = match source {
            LogSource::Guest => "guest",
            LogSource::Machine => "machine",
        };
        let path = self.path_of(&format!("logs?source={source}&follow={follow}"));
        Ok(LogReader::new(self.server().open_soon(&path).await?))
    }

    /// Runs a command to its end and collects what it writes, up to 16 MiB of each stream.
    pub async fn run(&self, command: &Command) -> Result<CommandResult, Error> {
        self.run_with_input(command, &[]).await
    }

    /// Runs a command with these bytes on its standard input.
    pub async fn run_with_input(
        &self,
        command: &Command,
        input: &[u8],
    ) -> Result<CommandResult, Error> {
        let command = command.clone().standard_input(!input.is_empty());
        Ok(self.start(&command).await?.collect(input).await?)
    }

    /// Starts a command, to be followed by its events.
    pub async fn start(&self, command: &Command) -> Result<Process, Error> {
        let content = Content::json(&CommandBody::of(command)?)?;
        let path = self.path_of("processes");
        let answer = self.server().open(Method::POST, &path, content).await?;
        Ok(Process::begin(self.server(), &self.path, answer).await?)
    }

    /// Attaches to a process by its number and replays its output from its beginning, or from
    /// where it is still kept: what is lost comes as [`Gap`](crate::ProcessEvent::Gap).
    pub async fn attach(&self, process_id: u64) -> Result<Process, Error> {
        let path = self.path_of(&format!("processes/{process_id}/output"));
        let answer = self.server().open_soon(&path).await?;
        Ok(Process::begin(self.server(), &self.path, answer).await?)
    }

    /// The processes that were started in it and are remembered.
    pub async fn processes(&self) -> Result<Vec<ProcessSummary>, Error> {
        let path = self.path_of("processes");
        let page: ProcessPage = self
            .server()
            .json(Method::GET, &path, Content::None)
            .await?;
        let summaries = page.items.into_iter().map(ProcessSummary::try_from);
        Ok(summaries.collect::<Result<_, _>>()?)
    }

    /// Signals a process by its number, with its whole group.
    pub async fn signal(&self, process_id: u64, signal: u8) -> Result<(), Error> {
        let path = self.path_of(&format!("processes/{process_id}/signal"));
        let content = Content::json(&json!({ "signal": signal, "group": true }))?;
        Ok(self.server().tell(Method::POST, &path, content).await?)
    }

    /// Takes the guest's processors away; its memory stays.
    pub async fn pause(&self) -> Result<(), Error> {
        self.change("pause").await
    }

    /// Lets a paused or cold sandbox go on; returns when its agent answers.
    pub async fn resume(&self) -> Result<(), Error> {
        self.change("resume").await
    }

    /// Saves it to disk and frees its memory. Its processes go on at [`resume`](Self::resume), and
    /// can be [attached](Self::attach) to again.
    pub async fn cold(&self) -> Result<(), Error> {
        self.change("cold").await
    }

    async fn change(&self, verb: &str) -> Result<(), Error> {
        let path = self.path_of(verb);
        let server = self.server();
        Ok(server.tell_work(Method::POST, &path, Content::None).await?)
    }

    /// Saves it, with its processes and files, while it goes on.
    pub async fn snapshot(&self, options: &SnapshotOptions) -> Result<SnapshotRecord, Error> {
        if options.stream {
            let what = "a snapshot of the whole memory";
            return Err(HttpError::Unsupported { what }.into());
        }
        let content = Content::json(&json!({ "name": options.name }))?;
        let path = self.path_of("snapshots");
        Ok(self.server().work(Method::POST, &path, content).await?)
    }

    /// Makes sandboxes that go on from this one as it is now; each has its own outcome, and lives
    /// as long as its value.
    pub async fn fork(&self, count: u32) -> Result<Vec<Result<Self, Error>>, Error> {
        self.client.fork(self.id().as_str(), count).await
    }

    /// Lets it live for so many seconds from now, or, without them, until it is destroyed.
    pub async fn set_ttl(&self, seconds: Option<u64>) -> Result<(), Error> {
        let content = Content::json(&json!({ "ttl_seconds": seconds }))?;
        let path = self.path_of("ttl");
        Ok(self.server().tell(Method::PUT, &path, content).await?)
    }

    /// Ends the guest in order; its disk and logs are kept until it is destroyed.
    pub async fn stop(&self, grace: Duration) -> Result<Ended, Error> {
        let content = Content::json(&json!({ "grace_ms": milliseconds(grace) }))?;
        let path = self.path_of("stop");
        let ended: EndedBody = self.server().work(Method::POST, &path, content).await?;
        Ok(ended.into())
    }

    /// Destroys it with all it has; returns when it is gone.
    pub async fn destroy(mut self) -> Result<Ended, Error> {
        let server = Arc::clone(self.server());
        let ended = server
            .work::<EndedBody>(Method::DELETE, &self.path, Content::None)
            .await;
        match ended {
            Ok(ended) => {
                self.lease = None;
                Ok(ended.into())
            }
            Err(error) if error.code() == ErrorCode::NotFound => {
                self.lease = None;
                Ok(Ended::Before)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets it outlive this process; from then on only `destroy` or its time to live ends it. It
    /// must have one: see [`set_ttl`](Self::set_ttl).
    pub async fn detach(mut self) -> Result<SandboxId, Error> {
        if self.lease.is_some() {
            let path = self.path_of("detach");
            self.server()
                .tell(Method::POST, &path, Content::None)
                .await?;
            self.lease = None;
        }
        Ok(self.record.id.clone())
    }
}
