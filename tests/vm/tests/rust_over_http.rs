//! The Rust SDK over HTTP, where it is not the same as in process: who is let in, what dies with whom,
//! and what the API does not carry.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::{
    fs, io,
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command as Program, Stdio},
    task::{Context, Poll},
    time::Duration,
};

use mvm::{
    Coded as _, Command, ErrorCode, LifecycleState, LogSource, Ownership, ProcessEvent,
    WriteOptions,
    http::{Client, HttpError},
};
use mvm_vm_tests::{ApiServer, Bench, noise};
use tokio::io::{AsyncRead, ReadBuf};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn client(server: &ApiServer) -> Client {
    Client::at(server.url(), None).unwrap()
}

/// A certificate for this machine that signs itself, its key, and the token, as files.
fn identity(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    (
        file("certificate.pem", &made.cert.pem()),
        file("key.pem", &made.signing_key.serialize_pem()),
        file("token", TOKEN),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_token_and_the_certificate_are_wanted() {
    let bench = Bench::new();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key, token) = identity(files.path());
    let server = ApiServer::with_tls(&bench, &token, &certificate, &key);

    // Nobody here has signed it.
    let stranger = Client::at(server.url(), Some(TOKEN)).unwrap();
    let error = stranger.list().await.unwrap_err();
    let mvm::Error::Http(HttpError::Certificate { server: named, .. }) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(named, server.url());
    assert_eq!(error.code(), ErrorCode::TransportError);
    assert!(!error.retryable());
    assert!(error.hint().unwrap().contains("with_certificate_authority"));

    // One that another has signed is as little believed.
    let other = tempfile::tempdir().unwrap();
    let (other_certificate, ..) = identity(other.path());
    let misled = stranger
        .clone()
        .with_certificate_authority(other_certificate);
    let error = misled.unwrap().list().await.unwrap_err();
    assert!(
        matches!(&error, mvm::Error::Http(HttpError::Certificate { .. })),
        "{error:?}"
    );

    let knows = |token| {
        let client = Client::at(server.url(), token).unwrap();
        client.with_certificate_authority(&certificate).unwrap()
    };
    for wrong in [None, Some("0123456789abcdef0123456789abcdee")] {
        let error = knows(wrong).list().await.unwrap_err();
        let mvm::Error::Http(HttpError::Problem(problem)) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(
            (problem.status, problem.code),
            (401, ErrorCode::PolicyDenied)
        );
        assert!(error.to_string().contains("token"), "{error}");
        assert!(error.hint().is_some() && !error.retryable());
    }

    let client = knows(Some(TOKEN));
    let sandbox = client.create().await.unwrap();
    let result = sandbox.run(&Command::shell("echo over TLS")).await.unwrap();
    assert_eq!(result.stdout, b"over TLS\n");
    assert_eq!(client.list().await.unwrap().len(), 1);
    sandbox.destroy().await.unwrap();
    drop(server);
    bench.assert_nothing_left();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let client = Client::at("unix:///nowhere/mvm.sock", None).unwrap();
    let error = client.create().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TransportError);
    assert!(error.to_string().contains("/nowhere/mvm.sock"), "{error}");
    assert!(error.retryable() && error.hint().is_some());
}

#[test]
fn a_killed_client_takes_its_sandbox_with_it() {
    let bench = Bench::new();
    let server = ApiServer::on_socket(&bench);
    let mut child = Program::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_sandbox", "--nocapture"])
        .env("MVM_URL", server.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ids = lines.filter_map(|line| {
        let line = line.unwrap();
        Some(line.split_once("holds ")?.1.to_owned())
    });
    let id = ids.next().unwrap();
    assert_eq!(bench.state(&id), "running");
    assert_eq!(bench.inspect(&id)["ownership"], "leased");

    child.kill().unwrap();
    child.wait().unwrap();
    bench.eventually("the sandbox is gone", || {
        bench.entries("sandboxes").is_empty()
    });
    drop(server);
    bench.assert_nothing_left();
}

#[tokio::test]
#[ignore = "`a_killed_client_takes_its_sandbox_with_it` runs and kills it"]
async fn holds_a_sandbox() {
    let sandbox = Client::from_environment().unwrap().create().await.unwrap();
    println!("holds {}", sandbox.id());
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_value_keeps_its_own_sandbox() {
    let bench = Bench::new();
    let server = ApiServer::on_socket(&bench);
    let client = client(&server);
    let there = |id: &str| {
        bench
            .entries("sandboxes")
            .iter()
            .any(|path| path.ends_with(id))
    };

    let parent = client.builder().memory_mib(256).create().await.unwrap();
    let mut children: Vec<_> = parent.fork(2).await.unwrap();
    let (second, first) = (
        children.pop().unwrap().unwrap(),
        children.pop().unwrap().unwrap(),
    );
    let (first_id, second_id) = (first.id().to_string(), second.id().to_string());
    // The two came by one request.
    drop(first);
    bench.eventually("the first child is gone", || !there(&first_id));
    let result = second.run(&Command::shell("echo here")).await.unwrap();
    assert_eq!(result.stdout, b"here\n");
    drop(second);
    bench.eventually("the second child is gone", || !there(&second_id));

    // A second value of it owns nothing.
    drop(client.connect(parent.id().as_str()).await.unwrap());
    let info = parent.info().await.unwrap();
    assert_eq!(info.state, LifecycleState::Running);
    assert_eq!(info.ownership, Ownership::Leased);

    // Without an end, it is not let go of.
    let id = parent.id().to_string();
    let error = parent.detach().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    bench.eventually("the parent is gone", || !there(&id));

    // One that its value has given away stays when the server ends.
    let kept = client.create().await.unwrap();
    kept.set_ttl(Some(300)).await.unwrap();
    let kept = kept.detach().await.unwrap();
    drop(server);
    assert_eq!(bench.state(kept.as_str()), "running");
    bench.run(["destroy", kept.as_str()]).exits(0);
    bench.assert_nothing_left();
}

/// Gives some bytes and breaks off.
struct Broken(bool);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.0, true) {
            // Others bring what was given on its way meanwhile.
            std::thread::sleep(Duration::from_millis(500));
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        buffer.put_slice(b"half");
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_whole_or_not_there() {
    let bench = Bench::new();
    let server = ApiServer::on_socket(&bench);
    let sandbox = client(&server).create().await.unwrap();
    let bytes = noise(3 << 20);
    let cat = Command::new(["cat"]);
    let echoed = sandbox.run_with_input(&cat, &bytes).await.unwrap();
    assert!(echoed.stdout == bytes && !echoed.truncated);
    // Input that nobody reads holds nobody up.
    let unread = sandbox
        .run_with_input(&Command::new(["true"]), &bytes)
        .await;
    assert_eq!(unread.unwrap().exit_code(), 0);

    let options = WriteOptions::default();
    let mut broken = Broken(false);
    let writing = sandbox.write_file_from("/root/broken", &mut broken, &options);
    let error = writing.await.unwrap_err();
    assert!(
        matches!(error, mvm::Error::Http(HttpError::Content(_))),
        "{error:?}"
    );
    let error = sandbox.stat("/root/broken").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    let owned = WriteOptions {
        owner: Some("nobody".to_owned()),
        ..options
    };
    let error = sandbox
        .write_file_from("/root/owned", &mut &b"x"[..], &owned)
        .await;
    assert_eq!(error.unwrap_err().code(), ErrorCode::BackendUnsupported);

    let host = tempfile::tempdir().unwrap();
    let source = host.path().join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    fs::write(source.join("below/bytes ü?#%"), &bytes).unwrap();
    fs::write(source.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(source.join("program"), fs::Permissions::from_mode(0o751)).unwrap();
    let sent = sandbox.upload(&source, "/srv/made/tree").await.unwrap();
    assert_eq!((sent.entries, sent.bytes), (4, (3 << 20) + 10));
    assert_eq!(
        sandbox.stat("/srv/made/tree/program").await.unwrap().mode,
        0o751
    );

    let link = Command::shell("ln -s below/nothing /srv/made/tree/link");
    assert!(sandbox.run(&link).await.unwrap().success());
    let target = host.path().join("target");
    let received = sandbox.download("/srv/made/tree", &target).await.unwrap();
    assert_eq!((received.entries, received.bytes), (5, (3 << 20) + 10));
    assert!(fs::read(target.join("below/bytes ü?#%")).unwrap() == bytes);
    assert_eq!(
        fs::read_link(target.join("link")).unwrap(),
        Path::new("below/nothing")
    );
    let mode = fs::metadata(target.join("program")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o751);

    // A symlink cannot be sent: then nothing is.
    symlink("program", source.join("link")).unwrap();
    let error = sandbox.upload(&source, "/srv/again").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.to_string().contains("a symlink"), "{error}");
    let error = sandbox.stat("/srv/again").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    sandbox.destroy().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_told_while_it_does() {
    let bench = Bench::new();
    let server = ApiServer::on_socket(&bench);
    let sandbox = client(&server).create().await.unwrap();
    assert!(sandbox.metrics().await.unwrap().memory_bytes > 0);
    let mut log = sandbox.logs(LogSource::Machine, false).await.unwrap();
    while log.next_chunk().await.unwrap().is_some() {}

    let command = Command::new(["cat"]).standard_input(true);
    let mut process = sandbox.start(&command).await.unwrap();
    let mut input = process.take_input().unwrap();
    input.write(b"ping\n").await.unwrap();
    let Some(ProcessEvent::Output { bytes, offset, .. }) = process.next_event().await.unwrap()
    else {
        panic!("no output");
    };
    assert_eq!((bytes, offset), (&b"ping\n"[..], 0));
    assert_eq!(process.offsets(), (5, 0));
    let processes = sandbox.processes().await.unwrap();
    let known = processes
        .iter()
        .find(|known| known.id == process.id())
        .unwrap();
    assert_eq!((known.pid, known.exit), (process.guest_pid(), None));
    input.signal(15).await.unwrap();
    let Some(ProcessEvent::Exited(exit)) = process.next_event().await.unwrap() else {
        panic!("no exit");
    };
    assert_eq!(exit.exit_code(), 128 + 15);
    let account = process.take_account().unwrap();
    assert_eq!(&account.run_id, process.run_id());
    assert!(account.audit_id.is_ok());
    assert_eq!(process.next_event().await.unwrap(), None);

    // One that is let go of is killed.
    let process = sandbox
        .start(&Command::new(["sleep", "1000"]))
        .await
        .unwrap();
    let id = process.id();
    drop(process);
    let ended = async {
        loop {
            let known = sandbox.processes().await.unwrap();
            if known
                .iter()
                .any(|known| known.id == id && known.exit.is_some())
            {
                return;
            }
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, ended).await.unwrap();
    sandbox.destroy().await.unwrap();
}
