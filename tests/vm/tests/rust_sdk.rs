//! The Rust SDK against real microVMs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{process::Command as Program, time::Duration};

use mvm::{
    Check as _, Coded as _, Command, Ended, ErrorCode, LifecycleState, LogSource, ProcessEvent,
    Sandbox, SandboxBuilder,
};
use mvm_vm_tests::{Bench, mvmctl_program, noise};

fn builder(bench: &Bench) -> SandboxBuilder {
    // As in all benches; the environment of this process is everybody's.
    bench.run(["pool", "set", "--size", "0"]).exits(0);
    Sandbox::builder()
        .home(bench.path())
        .supervisor(mvmctl_program())
}

#[test]
fn the_first_example_runs() {
    let bench = Bench::new();
    let output = Program::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--package",
            "mvm",
            "--example",
            "first_sandbox",
        ])
        .env("MVM_HOME", bench.path())
        .env("MVM_SPARES", "off")
        .env("MVM_SUPERVISOR", mvmctl_program())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn a_result_is_whole_and_a_check_makes_it_an_error() {
    let bench = Bench::new();
    let sandbox = builder(&bench).create().await.unwrap();
    assert_eq!(sandbox.record().state, LifecycleState::Running);
    let result = sandbox
        .run(&Command::shell("echo out; echo err >&2; exit 3"))
        .await
        .unwrap();
    assert_eq!((result.exit_code(), result.truncated), (3, false));
    assert_eq!(
        (&result.stdout[..], &result.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(result.check().unwrap_err().code(), ErrorCode::CommandFailed);

    let slow = Command::shell("sleep 60").timeout(Duration::from_millis(300));
    let result = sandbox.run(&slow).await.unwrap();
    assert!(result.exit.timed_out);
    assert_eq!(result.check().unwrap_err().code(), ErrorCode::Timeout);

    let error = sandbox
        .run(&Command::new(["no-such-command"]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert_eq!(sandbox.destroy().await.unwrap(), Ended::Now);
    bench.assert_nothing_left();
}

#[tokio::test]
async fn input_output_and_files_are_byte_exact() {
    let bench = Bench::new();
    let sandbox = builder(&bench).create().await.unwrap();
    let bytes = noise(3 << 20);
    let echoed = sandbox
        .run_with_input(&Command::new(["cat"]), &bytes)
        .await
        .unwrap();
    assert!(echoed.stdout == bytes);
    sandbox.write_file("/root/noise", &bytes).await.unwrap();
    assert!(sandbox.read_file("/root/noise").await.unwrap() == bytes);
    assert_eq!(sandbox.stat("/root/noise").await.unwrap().size, 3 << 20);
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn what_is_collected_is_bounded_and_says_so() {
    let bench = Bench::new();
    let sandbox = builder(&bench).create().await.unwrap();
    let line = Command::shell("head -c 20M /dev/zero");
    let result = sandbox.run(&line).await.unwrap();
    assert!(result.truncated);
    assert_eq!(result.stdout.len(), mvm::DEFAULT_OUTPUT_LIMIT);
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn a_process_takes_input_signals_and_sizes_while_it_runs() {
    let bench = Bench::new();
    let sandbox = builder(&bench).create().await.unwrap();
    let mut process = sandbox
        .start(&Command::new(["cat"]).standard_input(true))
        .await
        .unwrap();
    let mut input = process.take_input().unwrap();
    input.write(b"ping\n").await.unwrap();
    let Some(ProcessEvent::Output { bytes, .. }) = process.next_event().await.unwrap() else {
        panic!("no output");
    };
    assert_eq!(bytes, b"ping\n");
    input.signal(15).await.unwrap();
    let Some(ProcessEvent::Exited(exit)) = process.next_event().await.unwrap() else {
        panic!("no exit");
    };
    assert_eq!(exit.exit_code(), 128 + 15);

    let terminal = Command::shell("stty size; read x; stty size").terminal(100, 40);
    let mut process = sandbox.start(&terminal.standard_input(true)).await.unwrap();
    let mut input = process.take_input().unwrap();
    let mut seen = String::new();
    while let Some(event) = process.next_event().await.unwrap() {
        if let ProcessEvent::Output { bytes, .. } = event {
            let first = seen.is_empty();
            seen.push_str(std::str::from_utf8(bytes).unwrap());
            if first {
                input.resize(77, 33).await.unwrap();
                input.write(b"\n").await.unwrap();
            }
        }
    }
    let sizes: Vec<&str> = seen.lines().filter(|line| line.contains(' ')).collect();
    assert_eq!(sizes, ["40 100", "33 77"], "{seen:?}");
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn what_is_known_of_a_sandbox_is_told_as_it_is_now() {
    let bench = Bench::new();
    let sandbox = builder(&bench).create().await.unwrap();
    sandbox.pause().await.unwrap();
    assert_eq!(sandbox.record().state, LifecycleState::Running);
    assert_eq!(sandbox.info().await.unwrap().state, LifecycleState::Paused);
    assert!(sandbox.metrics().await.unwrap().memory_bytes > 0);
    sandbox.resume().await.unwrap();

    let mut log = sandbox.logs(LogSource::Machine, true).await.unwrap();
    sandbox.stop(Duration::from_secs(5)).await.unwrap();
    // A log that is followed ends with its sandbox.
    while log.next_chunk().await.unwrap().is_some() {}
    sandbox.destroy().await.unwrap();
}

#[tokio::test]
async fn dropping_destroys_and_detaching_keeps() {
    let bench = Bench::new();
    let dropped = builder(&bench).create().await.unwrap();
    drop(dropped);
    bench.assert_nothing_left();

    let kept = builder(&bench)
        .create()
        .await
        .unwrap()
        .detach()
        .await
        .unwrap();
    let run = bench.sh(kept.as_str(), "echo alive").exits(0);
    assert_eq!(run.out(), "alive\n");
    bench.run(["destroy", kept.as_str()]).exits(0);
    bench.assert_nothing_left();
}
