//! A guest's clock is right whenever it can be asked.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use mvm_vm_tests::Bench;

/// What a guest's clock may be off by.
const TOLERANCE: f64 = 0.05;

/// One clock at a time: what is measured is not how busy the host is.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host_time() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

/// How long something lies cold; longer where there is time for it.
fn cold_time() -> Duration {
    let seconds = std::env::var("MVM_TEST_COLD_SECONDS");
    Duration::from_secs(seconds.map_or(3, |text| text.parse().unwrap()))
}

#[track_caller]
fn clock_is_right(bench: &Bench, sandbox: &str) {
    let before = host_time();
    let run = bench
        .run(["exec", sandbox, "--", "date", "+%s.%N"])
        .exits(0);
    let after = host_time();
    let guest: f64 = run.out().trim().parse().unwrap();
    assert!(
        (before - TOLERANCE..=after + TOLERANCE).contains(&guest),
        "the guest says {guest}, asked between {before} and {after}"
    );
}

#[test]
fn in_a_boot_a_fork_and_the_children_of_a_snapshot() {
    let _alone = alone();
    let bench = Bench::new();
    let run = bench.run_with(("MVM_TEMPLATES", "off"), ["create"]);
    clock_is_right(&bench, run.exits(0).out().trim());
    let id = bench.create(&[]);
    clock_is_right(&bench, &id);
    let snapshot = bench.snapshot(&id);
    // The guest stood still for it.
    clock_is_right(&bench, &id);
    std::thread::sleep(Duration::from_secs(1));
    for child in bench.fork(&snapshot, 2) {
        clock_is_right(&bench, &child);
    }
}

#[test]
fn in_a_spare_that_waited() {
    let _alone = alone();
    let bench = Bench::with_spares();
    bench.create(&[]);
    bench.eventually("a spare is ready", || {
        bench.run(["pool", "list", "--json"]).json()[0]["ready"] == 1
    });
    std::thread::sleep(Duration::from_secs(1));
    let id = bench.create(&[]);
    assert_eq!(bench.inspect(&id)["origin"]["from"], "spare");
    clock_is_right(&bench, &id);
}

#[test]
fn after_a_pause_and_after_the_cold() {
    let _alone = alone();
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench.run(["pause", &id]).exits(0);
    std::thread::sleep(Duration::from_secs(1));
    bench.run(["resume", &id]).exits(0);
    clock_is_right(&bench, &id);
    bench.run(["cold", &id]).exits(0);
    std::thread::sleep(cold_time());
    bench.run(["resume", &id]).exits(0);
    clock_is_right(&bench, &id);
}
