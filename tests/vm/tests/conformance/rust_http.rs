//! The Rust SDK against a server.

#[path = "rust/scenarios.rs"]
pub(crate) mod scenarios;

use mvm::http::{Process, ProcessInput, Sandbox};
use mvm::{Error, ReceiptFlaw, RestoreOptions, RunId, SandboxBuilder, SnapshotId, http::Client};

pub(crate) struct Surface(pub(crate) Client);

impl Surface {
    fn builder(&self) -> SandboxBuilder<Client> {
        self.0.builder()
    }

    async fn connect(&self, id: &str) -> Result<Sandbox, Error> {
        self.0.connect(id).await
    }

    async fn restore(&self, snapshot: &str) -> Result<Sandbox, Error> {
        self.0.restore(snapshot, &RestoreOptions::default()).await
    }

    async fn remove_snapshot(&self, snapshot: &str) -> Result<SnapshotId, Error> {
        self.0.remove_snapshot(snapshot).await
    }

    async fn run_of_receipt(&self, receipt: &[u8]) -> Result<Result<RunId, ReceiptFlaw>, Error> {
        let verdict = self.0.verify_receipt(receipt).await?;
        Ok(verdict.map(|verified| verified.run))
    }
}
