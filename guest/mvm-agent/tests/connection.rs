//! Who is let in, and what a connection bears.
#![allow(missing_docs)]

mod support;

use mvm_wire::{FailureKind, ListProcesses, Operation, Ping, reply};
use support::{hello, with_connection, with_guest};

#[test]
fn many_pings() {
    with_connection(async |_, connection| {
        for _ in 0..100_000 {
            let answer = tokio::time::timeout(
                std::time::Duration::from_secs(2),
                connection.ask(Operation::Ping(Ping {})),
            )
            .await;
            assert!(matches!(answer.expect("stuck"), Ok(reply::Kind::Pong(_))));
        }
    });
}
