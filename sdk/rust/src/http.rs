//! Sandboxes of a server, `mvmctl serve`, with the methods of those of this process.
//!
//! ```no_run
//! use mvm::{Command, http::Client};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), mvm::Error> {
//! let client = Client::at("unix:///run/user/1000/mvm.sock", None)?;
//! let sandbox = client.builder().memory_mib(512).create().await?;
//! let result = sandbox.run(&Command::new(["python3", "-c", "print(6*7)"])).await?;
//! assert_eq!(result.stdout, b"42\n");
//! sandbox.destroy().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What [`crate::Sandbox`] does by functions of its type, [`Client`] does by methods:
//! `client.connect(..)` for `Sandbox::connect(..)`. From there on the code is the same, with
//! [`Command`](crate::Command), [`CommandResult`](crate::CommandResult),
//! [`ProcessEvent`](crate::ProcessEvent), the options and the error codes of both.
//!
//! A sandbox that was created, restored or forked here is **leased**: a connection to the server
//! keeps it. It is destroyed when its value is dropped, when this process ends, however it comes,
//! when the server does, and when the Tokio runtime ends that it was made in; unless it is
//! [detached](Sandbox::detach), which wants an end: [set one](Sandbox::set_ttl) first.
//!
//! What the HTTP API does not carry is refused by name: arguments and paths that are not UTF-8,
//! resource limits of a command, the image's own command, owners of written files, and symlinks of
//! an [upload](Sandbox::upload). What it does not tell is not there: the phases of a start, the
//! status of an open file, and of a timed-out command how its process ended (it is its exit code,
//! 124).

mod address;
mod command;
mod connector;
mod error;
mod exchange;
mod files;
mod frames;
mod lease;
mod process;
mod record;
mod sandbox;
mod streams;
mod tree;

use std::{path::Path, sync::Arc, time::Duration};

use hyper::Method;
use mvm_contract::{SnapshotId, receipt::ReceiptFlaw};
use mvm_runtime::{Progress, RestoreOptions, Silent};
use serde_json::{Value, json};
use tokio_rustls::rustls::RootCertStore;

use self::{
    address::Address,
    exchange::{Content, Server, segment},
    lease::{Lease, Order},
    record::{ReceiptBody, SandboxPage, SnapshotPage},
};
use crate::{Error, SandboxBuilder};

pub use error::{HttpError, Problem};
pub use process::{Process, ProcessInput};
pub use record::{SandboxRecord, SnapshotRecord, VerifiedReceipt};
pub use sandbox::Sandbox;
pub use streams::{FileReader, LogReader};

/// The environment variable that names the server.
pub const MVM_URL: &str = "MVM_URL";
/// The environment variable that holds the server's token.
pub const MVM_TOKEN: &str = "MVM_TOKEN";

/// How long the server may take for an answer that is no work, where nothing else is said.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A server of mvm. Making one connects to nothing; it is cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    server: Arc<Server>,
    roots: Arc<RootCertStore>,
}

impl Client {
    /// The server at `unix:///path`, `http://HOST:PORT` or `https://HOST:PORT`, with its token.
    /// Certificates of the system, and those that `SSL_CERT_FILE` names, are trusted.
    pub fn at(url: &str, token: Option<&str>) -> Result<Self, HttpError> {
        let address = Address::read(url)?;
        let roots = if address.is_encrypted() {
            connector::system_roots()
        } else {
            RootCertStore::empty()
        };
        let roots = Arc::new(roots);
        let timeout = Some(DEFAULT_REQUEST_TIMEOUT);
        let server = Server::new(address, token, Arc::clone(&roots), timeout)?;
        Ok(Self {
            server: Arc::new(server),
            roots,
        })
    }

    /// The server that `MVM_URL` names, with the token of `MVM_TOKEN`.
    pub fn from_environment() -> Result<Self, HttpError> {
        let named = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let url = named(MVM_URL).ok_or(HttpError::NoServer)?;
        Self::at(&url, named(MVM_TOKEN).as_deref())
    }

    /// Trusts the certificates of a PEM file, too: for a server whose certificate is its own.
    pub fn with_certificate_authority(mut self, path: impl AsRef<Path>) -> Result<Self, HttpError> {
        connector::add_authority(Arc::make_mut(&mut self.roots), path.as_ref())?;
        self.server = Arc::new(self.server.with_roots(Arc::clone(&self.roots))?);
        Ok(self)
    }

    /// Gives the server so long for an answer that is no work; without a limit where there is
    /// none. It limits no command, no start and no transfer.
    #[must_use]
    pub fn with_request_timeout(mut self, limit: Option<Duration>) -> Self {
        self.server = Arc::new(self.server.with_request_timeout(limit));
        self
    }

    /// Creates a sandbox from the default image, with the default resources.
    pub async fn create(&self) -> Result<Sandbox, Error> {
        self.builder().create().await
    }

    /// Describes a sandbox before it is created.
    #[must_use]
    pub fn builder(&self) -> SandboxBuilder<Self> {
        SandboxBuilder::at(self.clone())
    }

    /// The sandbox of a name or identifier. Its owner and end stay what they are: dropping this
    /// value does not destroy it.
    pub async fn connect(&self, sandbox: &str) -> Result<Sandbox, Error> {
        let path = format!("/v1/sandboxes/{}", segment(sandbox)?);
        let record = self.server.json(Method::GET, &path, Content::None).await?;
        Ok(Sandbox::new(self.clone(), record, None))
    }

    /// What is recorded of every sandbox, the oldest first.
    pub async fn list(&self) -> Result<Vec<SandboxRecord>, Error> {
        let mut records = Vec::new();
        let mut path = "/v1/sandboxes?limit=1000".to_owned();
        loop {
            let page: SandboxPage = self.server.json(Method::GET, &path, Content::None).await?;
            records.extend(page.items);
            match page.next_cursor {
                Some(cursor) => {
                    path = format!(
                        "/v1/sandboxes?limit=1000&cursor={}",
                        exchange::encoded(&cursor)
                    );
                }
                None => return Ok(records),
            }
        }
    }

    /// Makes a sandbox that goes on from a snapshot, by name or identifier. It lives as long as
    /// the value.
    pub async fn restore(
        &self,
        snapshot: &str,
        options: &RestoreOptions,
    ) -> Result<Sandbox, Error> {
        let wanted = json!({
            "snapshot": snapshot,
            "name": options.name,
            "ttl_seconds": options.ttl_seconds,
        });
        let order = Order {
            body: &json!({ "restore": wanted }),
            count: 1,
        };
        self.one(order, &Silent).await
    }

    /// Makes sandboxes that go on from a snapshot, by name or identifier; each has its own
    /// outcome, and lives as long as its value.
    pub async fn fork_snapshot(
        &self,
        snapshot: &str,
        count: u32,
    ) -> Result<Vec<Result<Sandbox, Error>>, Error> {
        self.fork(snapshot, count).await
    }

    /// Every snapshot, the oldest first.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotRecord>, Error> {
        let page: SnapshotPage = self
            .server
            .json(Method::GET, "/v1/snapshots", Content::None)
            .await?;
        Ok(page.items)
    }

    /// Removes a snapshot, by name or identifier; sandboxes that go on from it stay.
    pub async fn remove_snapshot(&self, snapshot: &str) -> Result<SnapshotId, Error> {
        let path = |snapshot| Ok::<_, HttpError>(format!("/v1/snapshots/{}", segment(snapshot)?));
        let found: SnapshotRecord = self
            .server
            .json(Method::GET, &path(snapshot)?, Content::None)
            .await?;
        let path = path(found.id.as_str())?;
        self.server
            .tell(Method::DELETE, &path, Content::None)
            .await?;
        Ok(found.id)
    }

    /// Whether a key that the server's host believes signed a receipt, and whose run that tells of.
    pub async fn verify_receipt(
        &self,
        receipt: &[u8],
    ) -> Result<Result<VerifiedReceipt, ReceiptFlaw>, Error> {
        let content = Content::Bytes(receipt.to_vec().into());
        let verdict: ReceiptBody = self
            .server
            .json(Method::POST, "/v1/receipts/verify", content)
            .await?;
        Ok(verdict.verdict()?)
    }

    async fn fork(&self, source: &str, count: u32) -> Result<Vec<Result<Sandbox, Error>>, Error> {
        let wanted = json!({ "fork": { "source": source, "count": count } });
        let order = Order {
            body: &wanted,
            count: count as usize,
        };
        let (lease, made) = Lease::open(&self.server, order, &Silent).await?;
        Ok(made
            .into_iter()
            .map(|made| Ok(Sandbox::new(self.clone(), made?, Some(Arc::clone(&lease)))))
            .collect())
    }

    async fn one(
        &self,
        order: Order<'_>,
        progress: &(dyn Progress + Sync),
    ) -> Result<Sandbox, Error> {
        let (lease, made) = Lease::open(&self.server, order, progress).await?;
        let only = made.into_iter().next().ok_or(HttpError::Answer {
            expected: "a sandbox",
        })?;
        Ok(Sandbox::new(self.clone(), only?, Some(lease)))
    }
}

impl SandboxBuilder<Client> {
    /// Creates it; returns when its agent answers.
    pub async fn create(self) -> Result<Sandbox, Error> {
        self.create_with_progress(&Silent).await
    }

    /// Creates it and tells how that goes on.
    pub async fn create_with_progress(
        self,
        progress: &(dyn Progress + Sync),
    ) -> Result<Sandbox, Error> {
        let unwritten = |source| HttpError::Json {
            expected: "a specification that can be written",
            source,
        };
        let mut wanted = serde_json::to_value(&self.spec).map_err(unwritten)?;
        wanted["profile"] = Value::from(self.profile.as_str());
        let order = Order {
            body: &json!({ "create": wanted }),
            count: 1,
        };
        self.place.one(order, progress).await
    }
}
