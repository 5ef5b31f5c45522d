//! Pausing, going cold, going on, and the ends of a sandbox in between.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    io::Read as _,
    process::Child,
    time::{Duration, Instant},
};

use mvm_vm_tests::{Bench, Run, finish};

/// Prints numbers for some seconds, and ends with a code of its own.
const TALKER: &str = "for i in $(seq 1 150); do echo $i; sleep 0.01; done; exit 7";

/// What [`TALKER`] says.
fn all_lines() -> String {
    (1..=150).map(|number| format!("{number}\n")).collect()
}

/// A client that is attached to a command, which runs.
fn attached(bench: &Bench, sandbox: &str, line: &str) -> Child {
    let child = bench
        .command(["exec", sandbox, "--", "sh", "-c", line])
        .spawn()
        .unwrap();
    bench.eventually("the command runs", || {
        let list = bench.run(["ps", "--json", sandbox]).exits(0).json();
        list.as_array().is_some_and(|list| !list.is_empty())
    });
    child
}

#[track_caller]
fn quickly(what: &str, work: impl FnOnce() -> Run) {
    let begun = Instant::now();
    work().exits(0);
    // Far from the limits at which a guest is killed.
    assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
}

#[test]
fn a_paused_sandbox_stands_still_and_goes_on_where_it_was() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench.start_counting(&id);
    let before = bench.count(&id);
    bench.run(["pause", &id]).exits(0);
    assert_eq!(bench.state(&id), "paused");
    bench.run(["pause", &id]).exits(0);
    let begun = Instant::now();
    bench
        .sh(&id, "true")
        .refused_with(&["paused", &format!("mvmctl resume {id}")]);
    assert!(begun.elapsed() < Duration::from_secs(5), "not at once");
    bench.run(["resume", &id]).exits(0);
    assert_eq!(bench.state(&id), "running");
    bench.run(["resume", &id]).exits(0);
    bench.counts_on_from(&id, before);
}

#[test]
fn an_attached_client_waits_while_its_sandbox_is_paused() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let client = attached(&bench, &id, TALKER);
    bench.run(["pause", &id]).exits(0);
    std::thread::sleep(Duration::from_millis(300));
    bench.run(["resume", &id]).exits(0);
    assert_eq!(finish(client).exits(7).out(), all_lines());
}

#[test]
fn a_paused_sandbox_is_stopped_and_destroyed_like_one_that_runs() {
    let bench = Bench::new();
    let (one, other) = (bench.create(&[]), bench.create(&[]));
    for id in [&one, &other] {
        bench.start_counting(id);
        bench.run(["pause", id]).exits(0);
    }
    quickly("destroy", || bench.run(["destroy", &one]));
    quickly("stop", || bench.run(["stop", &other, "--grace", "1s"]));
    let record = bench.inspect(&other);
    assert_eq!(record["state"], "stopped", "{record}");
    bench
        .run(["resume", &other])
        .refused_with(&["stopped", &other]);
}

#[test]
fn what_is_paused_or_cold_is_not_saved_and_says_how_it_would_be() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench.run(["pause", &id]).exits(0);
    let resume = format!("mvmctl resume {id}");
    bench
        .run(["snapshot", "create", &id])
        .refused_with(&["paused", &resume]);
    bench.run(["fork", &id]).refused_with(&["paused", &resume]);
    bench.run(["cold", &id]).exits(0);
    bench
        .run(["snapshot", "create", &id])
        .refused_with(&["cold", &resume]);
    bench.run(["fork", &id]).refused_with(&["cold", &resume]);
    bench.run(["pause", &id]).refused_with(&["cold", &resume]);
    bench.sh(&id, "true").refused_with(&["cold", &resume]);
    assert_eq!(bench.entries("staging").len(), 0);
    bench.run(["resume", &id]).exits(0);
    bench.sh(&id, "true").exits(0);
}

#[test]
fn a_time_to_live_ends_what_is_paused_and_what_is_cold() {
    let bench = Bench::new();
    let (paused, cold) = (
        bench.create(&["--ttl", "5s"]),
        bench.create(&["--ttl", "5s"]),
    );
    bench.run(["pause", &paused]).exits(0);
    bench.run(["cold", &cold]).exits(0);
    assert_eq!(
        (bench.state(&paused), bench.state(&cold)),
        ("paused".to_owned(), "cold".to_owned())
    );
    bench.eventually("the list is empty", || {
        bench
            .run(["list", "--json"])
            .json()
            .as_array()
            .map(Vec::len)
            == Some(0)
    });
    bench.assert_nothing_left();
}

#[test]
fn a_cold_sandbox_has_no_process_and_loses_nothing_in_ten_rounds() {
    let bench = Bench::new();
    let id = bench.create(&["--name", "sleeper"]);
    bench.start_counting(&id);
    let machine_id = bench.sh(&id, "cat /etc/machine-id").out();
    let mut reached = bench.count(&id);
    for _ in 0..10 {
        bench.run(["cold", "sleeper"]).exits(0);
        assert_eq!(bench.state("sleeper"), "cold");
        bench.eventually("its processes are gone", || bench.processes().is_empty());
        bench.run(["resume", "sleeper"]).exits(0);
        reached = bench.counts_on_from(&id, reached);
    }
    assert_eq!(bench.state(&id), "running");
    assert_eq!(bench.sh(&id, "hostname").out(), "sleeper\n");
    assert_eq!(bench.sh(&id, "cat /etc/machine-id").out(), machine_id);
}

#[test]
fn a_booted_sandbox_goes_cold_and_comes_back_too() {
    let bench = Bench::new();
    let run = bench
        .run_with(("MVM_TEMPLATES", "off"), ["create"])
        .exits(0);
    let id = run.out().trim().to_owned();
    assert_eq!(bench.inspect(&id)["origin"]["from"], "boot");
    bench.start_counting(&id);
    let mut reached = bench.count(&id);
    for _ in 0..2 {
        bench.run(["cold", &id]).exits(0);
        bench.run(["resume", &id]).exits(0);
        reached = bench.counts_on_from(&id, reached);
    }
}

#[test]
fn the_output_of_a_command_is_read_on_after_its_sandbox_was_cold() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let run = bench
        .run(["exec", "-d", &id, "--", "sh", "-c", TALKER])
        .exits(0);
    let process = run.out().trim().to_owned();
    bench.run(["cold", &id]).exits(0);
    bench.run(["resume", &id]).exits(0);
    let run = bench.run(["exec", &id, "--attach", &process]).exits(7);
    assert_eq!((run.out(), run.stderr), (all_lines(), String::new()));
}

#[test]
fn a_client_that_is_attached_when_its_sandbox_goes_cold_is_told() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let mut client = attached(&bench, &id, "echo begun; sleep 600");
    let mut begun = [0; 6];
    let output = client.stdout.as_mut().unwrap();
    output.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"begun\n");
    bench.run(["cold", &id]).exits(0);
    let run = finish(client).exits(125);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    bench.run(["destroy", &id]).exits(0);
}

#[test]
fn the_sandbox_of_a_run_that_goes_cold_is_gone_with_it() {
    let bench = Bench::new();
    let client = bench
        .command(["run", "--", "sleep", "600"])
        .spawn()
        .unwrap();
    let mut id = String::new();
    bench.eventually("it runs", || {
        let list = bench.run(["list", "--json"]).exits(0).json();
        id = list[0]["id"].as_str().unwrap_or_default().to_owned();
        !id.is_empty()
    });
    bench.run(["cold", &id]).exits(0);
    finish(client).exits(125);
    bench.assert_nothing_left();
}

#[test]
fn a_forked_sandbox_stops_in_order() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    assert_eq!(bench.inspect(&id)["origin"]["from"], "template");
    bench.sh(&id, "echo kept > /root/file").exits(0);
    quickly("stop", || bench.run(["stop", &id]));
    let record = bench.inspect(&id);
    assert_eq!(record["state"], "stopped", "{record}");
    assert!(record["reason"].is_null(), "{record}");
    let log = bench.run(["logs", "--machine", &id]).exits(0).out();
    assert!(!log.contains("kill"), "{log}");
}

#[test]
fn a_forked_and_a_restored_guest_that_panics_is_failed() {
    let bench = Bench::new();
    let forked = bench.create(&[]);
    let child = bench.fork(&forked, 1).remove(0);
    for id in [forked, child] {
        bench.sh(&id, "echo c > /proc/sysrq-trigger");
        bench.eventually("the sandbox is failed", || bench.state(&id) == "failed");
        let reason = bench.inspect(&id)["reason"].to_string();
        assert!(reason.contains("panicked"), "{reason}");
    }
}
