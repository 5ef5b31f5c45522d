//! Who is let in, and what a connection bears.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::join_all};
use mvm_agent::SessionEnd;
use mvm_wire::{FailureKind, Operation, Ping, ReadLog, Shutdown, reply};
use support::{command, hello, shell, with_connection, with_guest};

#[test]
fn nothing_is_done_before_hello_and_the_first_key_stays() {
    with_guest(async |guest| {
        let connection = guest.connect().await;
        let refused = connection.ask(Operation::Ping(Ping {})).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unauthenticated);
        let refused = connection.run(command(&["true"])).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unauthenticated);
        connection.hello(hello([7; 32])).await.unwrap();
        connection.ask(Operation::Ping(Ping {})).await.unwrap();
        connection.lose().await;
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::HungUp);

        let stranger = guest.connect().await;
        let refused = stranger.hello(hello([8; 32])).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unauthenticated);
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::Refused);
        guest.enter().await;
    });
}

#[test]
fn a_hello_out_of_range_is_refused() {
    with_guest(async |guest| {
        let mut wrong = Vec::new();
        for change in 0..6 {
            let mut hello = hello([7; 32]);
            match change {
                0 => hello.generation += 1,
                1 => hello.key.truncate(31),
                2 => hello.entropy.truncate(31),
                3 => hello.hostname = "a b".into(),
                4 => hello.machine_id = "0123".into(),
                _ => hello.machine_id = "../../../../etc/passwd/0123456789".into(),
            }
            let connection = guest.connect().await;
            wrong.push(connection.hello(hello).await.unwrap_err().kind());
            connection.lose().await;
        }
        assert_eq!(wrong[0], FailureKind::Unsupported);
        assert!(
            wrong[1..]
                .iter()
                .all(|kind| *kind == FailureKind::InvalidRequest)
        );
        guest.enter().await;
    });
}

#[test]
fn a_new_key_replaces_the_old_one_for_connections_to_come() {
    with_connection(async |guest, connection| {
        let mut rekeying = hello([7; 32]);
        rekeying.new_key = vec![8; 31];
        let refused = connection.hello(rekeying.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::InvalidRequest);
        // One that fails for another reason leaves the key as well.
        rekeying.new_key = vec![8; 32];
        rekeying.hostname = "a b".into();
        let refused = connection.hello(rekeying.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::InvalidRequest);
        let stranger = guest.connect_on(1).await;
        let refused = stranger.hello(hello([8; 32])).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unauthenticated);
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::Refused);

        rekeying.hostname.clear();
        connection.hello(rekeying).await.unwrap();
        connection.ask(Operation::Ping(Ping {})).await.unwrap();
        let before = guest.connect_on(1).await;
        let refused = before.hello(hello([7; 32])).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unauthenticated);
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::Refused);
        let after = guest.connect_on(1).await;
        after.hello(hello([8; 32])).await.unwrap();
        after.ask(Operation::Ping(Ping {})).await.unwrap();
    });
}

#[test]
fn hello_is_said_again_on_an_open_connection() {
    with_connection(async |_, connection| {
        let running = connection.start(shell("sleep 0.3; echo on")).await.unwrap();
        let first = connection.hello(hello([7; 32])).await.unwrap();
        let second = connection.hello(hello([7; 32])).await.unwrap();
        assert_eq!(first.random_sample.len(), 16);
        assert_ne!(first.random_sample, second.random_sample);
        // A wrong one is refused, and the connection stays as it was.
        let refused = connection.hello(hello([8; 32])).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unauthenticated);
        assert_eq!(running.finish().await.unwrap().text(), "on\n");
    });
}

#[test]
fn two_ports_are_served_at_once() {
    with_connection(async |guest, first| {
        let mut request = command(&["cat"]);
        request.standard_input = true;
        let mut running = first.start(request).await.unwrap();
        let second = guest.connect_on(1).await;
        let refused = second.ask(Operation::Ping(Ping {})).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unauthenticated);
        second.hello(hello([7; 32])).await.unwrap();
        assert_eq!(second.run(shell("echo 2")).await.unwrap().text(), "2\n");
        second.lose().await;
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::HungUp);
        running.exchange.data(b"still here").await;
        running.until("still here").await;
    });
}

#[test]
fn malformed_frames_end_only_their_stream() {
    with_connection(async |_, connection| {
        for bytes in [
            &[9, 0, 0, 0][..],
            &[1, 0xff, 0xff, 0xff],
            &[2, 0, 0, 1, 7],
            &[1, 0, 0, 2, 0xff, 0xff],
            &[1, 0, 0, 0],
            &[1, 0],
        ] {
            let mut stream = connection.raw().await;
            stream.write_all(bytes).await.unwrap();
            stream.close().await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        }
        connection.ask(Operation::Ping(Ping {})).await.unwrap();
    });
}

#[test]
fn a_hundred_streams_at_once() {
    with_connection(async |_, connection| {
        let runs = (0..100).map(|number| {
            let connection = &connection;
            async move {
                let finished = connection.run(shell(&format!("echo {number}"))).await;
                assert_eq!(finished.unwrap().text(), format!("{number}\n"));
            }
        });
        join_all(runs).await;
    });
}

#[test]
fn the_log_is_read_and_shutdown_ends_what_runs() {
    with_connection(async |guest, connection| {
        let sleeper = connection.start(command(&["sleep", "1000"])).await.unwrap();
        if support::is_root() {
            let mut log = connection
                .begin(Operation::ReadLog(ReadLog { follow: false }))
                .await;
            while log.reader.next().await.unwrap().is_some() {}
        }
        let shutdown = Operation::Shutdown(Shutdown {
            grace_milliseconds: 10_000,
        });
        assert!(matches!(
            connection.ask(shutdown).await,
            Ok(reply::Kind::Done(_))
        ));
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::Shutdown);
        let pid = sleeper.started.pid;
        assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    });
}
