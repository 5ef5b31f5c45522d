//! The Rust SDK in this process.

pub(crate) mod scenarios;

use mvm::{Error, ReceiptFlaw, RestoreOptions, RunId, SandboxBuilder, SnapshotId};
use mvm::{Process, ProcessInput, Sandbox};

pub(crate) struct Surface;

impl Surface {
    fn builder(&self) -> SandboxBuilder {
        Sandbox::builder()
    }

    async fn connect(&self, id: &str) -> Result<Sandbox, Error> {
        Sandbox::connect(id)
    }

    async fn restore(&self, snapshot: &str) -> Result<Sandbox, Error> {
        Sandbox::restore(snapshot, &RestoreOptions::default()).await
    }

    async fn remove_snapshot(&self, snapshot: &str) -> Result<SnapshotId, Error> {
        Sandbox::remove_snapshot(snapshot)
    }

    async fn run_of_receipt(&self, receipt: &[u8]) -> Result<Result<RunId, ReceiptFlaw>, Error> {
        let verdict = mvm::verify_receipt(receipt)?;
        Ok(verdict.map(|verified| verified.predicate.run))
    }
}
