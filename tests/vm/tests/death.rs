//! Whatever dies, whenever: nothing is left and nothing half-made is seen.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use mvm_vm_tests::{Bench, finish, kill, random};

#[test]
fn fifty_kills_at_random_moments_leave_nothing() {
    let bench = Bench::new();
    for round in 0..50 {
        // Moments before, during and after a start: a fork takes a third of a second in a debug
        // build, a boot two to three.
        let (templates, limit) = [("on", 1_200), ("off", 4_000)][round % 2];
        let child = bench
            .command(["run", "--memory", "128M", "--", "sleep", "1"])
            .env("MVM_TEMPLATES", templates)
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random(limit)));
        let processes = bench.processes();
        let is = |name: &'static str| move |(_, line): &&(u32, String)| line.contains(name);
        let victim = match round / 2 % 3 {
            0 => Some(child.id()),
            1 => processes.iter().find(is(" supervise")).map(|(pid, _)| *pid),
            _ => processes
                .iter()
                .find(is("qemu-system"))
                .map(|(pid, _)| *pid),
        };
        if let Some(pid) = victim {
            kill(pid);
        }
        // Killed, failed or finished: but it ends, and says why when it was not killed itself.
        let run = finish(child);
        let explained = matches!(run.code, 0 | -9) || (run.code == 125 && !run.stderr.is_empty());
        assert!(
            explained,
            "round {round}: exit code {}, {}",
            run.code, run.stderr
        );
        bench.assert_nothing_left();
    }
}

#[test]
fn a_detached_sandbox_whose_supervisor_is_killed_is_failed_and_can_be_destroyed() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let record = bench.run(["inspect", &id]).json();
    kill(u32::try_from(record["supervisor_pid"].as_u64().unwrap()).unwrap());
    bench.eventually("QEMU died with its supervisor", || {
        bench.processes().is_empty()
    });
    let record = bench.run(["inspect", &id]).exits(0).json();
    assert_eq!(record["state"], "failed");
    assert!(
        record["reason"].as_str().unwrap().contains("supervisor"),
        "{record}"
    );
    bench
        .run(["exec", &id, "--", "true"])
        .refused_with(&["not running"]);
    bench.run(["destroy", &id]).exits(0);
    bench.assert_nothing_left();
}

#[test]
fn a_detached_sandbox_whose_machine_is_killed_is_failed() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let machine = bench
        .processes()
        .into_iter()
        .find(|(_, line)| line.contains("qemu-system"));
    kill(machine.expect("QEMU runs").0);
    bench.eventually("the sandbox is failed", || {
        bench.run(["inspect", &id]).exits(0).json()["state"] == "failed"
    });
    bench.run(["destroy", &id]).exits(0);
    bench.assert_nothing_left();
}

#[test]
fn a_guest_that_panics_or_powers_off_is_failed() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench.sh(&id, "echo c > /proc/sysrq-trigger");
    bench.eventually("the sandbox is failed", || {
        bench.run(["inspect", &id]).exits(0).json()["state"] == "failed"
    });
}
