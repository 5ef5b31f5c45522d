//! Whatever dies in the middle of making, saving or bringing back a sandbox: what was whole before
//! is whole afterwards, or known to be lost, and nothing half-made is left.
//!
//! Debug builds of `mvmctl` kill themselves at the point that `MVM_FAULT_POINT` names. Supervisors
//! inherit the environment of whoever started them.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use mvm_vm_tests::{Bench, finish, kill, random};

const VARIABLE: &str = "MVM_FAULT_POINT";

// Every point there is, by the operation that passes it.
const CREATE: [&str; 7] = [
    "create.folder",
    "admission.decided",
    "audit.written",
    "audit.synced",
    "admission.spent",
    "create.started",
    "create.published",
];
const TEMPLATE: [&str; 3] = ["template.booted", "template.saved", "template.sealed"];
const SPARE: [&str; 2] = ["spare.forked", "spare.ready"];
const CLAIM: [&str; 2] = ["claim.taken", "claim.recorded"];
const SNAPSHOT: [&str; 7] = [
    "snapshot.begun",
    "snapshot.frozen",
    "snapshot.paused",
    "snapshot.memory",
    "snapshot.disk",
    "snapshot.saved",
    "snapshot.sealed",
];
const COOL: [&str; 2] = ["cool.killed", "cool.recorded"];
/// Up to here a cold sandbox is what was saved of it.
const WAKE: [&str; 3] = ["wake.begun", "wake.restored", "wake.recorded"];
/// From here on it is what runs.
const WOKEN: [&str; 1] = ["wake.discarded"];

/// A release does not die when it is told to.
fn is_release() -> bool {
    let foreign = std::env::var_os("MVM_TEST_MVMCTL").is_some();
    if foreign {
        println!("skipped: `MVM_TEST_MVMCTL` may be a release, which has no fault points");
    }
    foreign
}

/// Asserts that what dead processes left is gone once the sandboxes were listed.
#[track_caller]
fn is_tidy(bench: &Bench) {
    // A supervisor whose client died may be about to find that out.
    bench.eventually("nothing half-made is left", || {
        bench.run(["list"]).exits(0);
        bench.entries("staging").is_empty() && bench.entries("spares").is_empty()
    });
}

/// Asserts that a sandbox goes on with all it had, from memory or from the cold, or has failed
/// and left no process; tells its state.
#[track_caller]
fn is_sound(bench: &Bench, id: &str, reached: u64) -> String {
    is_tidy(bench);
    let mut state = String::new();
    let mut first = None;
    // What was begun before somebody died may not have ended yet.
    bench.eventually("it is settled", || {
        state = bench.state(id);
        if state != "running" {
            first = None;
            return state != "restoring";
        }
        let count = bench.try_count(id);
        let goes_on = first.is_some() && count > first;
        first = count;
        goes_on
    });
    match state.as_str() {
        "running" => assert!(first.unwrap() > reached, "it lost what it had done"),
        "cold" => {
            bench.run(["resume", id]).exits(0);
            bench.counts_on_from(id, reached);
        }
        "failed" => bench.eventually("its processes are gone", || {
            let processes = bench.processes();
            processes.iter().all(|(_, line)| !line.contains(id))
        }),
        _ => panic!("{}", bench.inspect(id)),
    }
    state
}

/// A sandbox that counts, whose supervisor dies at a point.
fn counting(bench: &Bench, point: &str) -> (String, u64) {
    let run = bench.run_with((VARIABLE, point), ["create"]).exits(0);
    let id = run.out().trim().to_owned();
    bench.start_counting(&id);
    let reached = bench.count(&id);
    (id, reached)
}

#[test]
fn every_point_there_is_is_tried() {
    fn collect(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                collect(&entry.path(), found);
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let calls = text.split("fault::point(\"").skip(1);
            found.extend(calls.map(|call| call.split('"').next().unwrap().to_owned()));
        }
    }
    let mut there = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/mvm-runtime/src");
    collect(&source, &mut there);
    let tried = [
        &CREATE[..],
        &TEMPLATE,
        &SPARE,
        &CLAIM,
        &SNAPSHOT,
        &COOL,
        &WAKE,
        &WOKEN,
    ];
    let tried = tried.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(there, tried);
}

#[test]
fn a_death_while_a_sandbox_is_made_leaves_none() {
    if is_release() {
        return;
    }
    let bench = Bench::new();
    let parent = bench.create(&[]);
    bench.start_counting(&parent);
    let snapshot = bench.snapshot(&parent);
    for point in CREATE {
        for templates in ["on", "off"] {
            let mut command = bench.command(["create", "--name", "dies"]);
            command.env(VARIABLE, point).env("MVM_TEMPLATES", templates);
            let run = finish(command.spawn().unwrap()).exits(125);
            assert!(run.stderr.contains("supervisor ended"), "{}", run.stderr);
        }
        for arguments in [
            &["run", "--", "true"][..],
            &["restore", &snapshot],
            &["fork", &snapshot, "-c", "2"],
            &["fork", &parent, "-c", "2"],
        ] {
            let reached = bench.count(&parent);
            bench.run_with((VARIABLE, point), arguments).exits(125);
            assert_eq!(is_sound(&bench, &parent, reached), "running");
            assert_eq!(
                bench.entries("sandboxes").len(),
                1,
                "{point}, {arguments:?}"
            );
        }
    }
    // Its name is free.
    let run = bench.run(["restore", &snapshot, "--name", "dies"]).exits(0);
    bench.sh(run.out().trim(), "true").exits(0);
}

#[test]
fn a_death_while_a_template_is_made_leaves_none() {
    if is_release() {
        return;
    }
    let bench = Bench::with_own_templates();
    for point in TEMPLATE {
        let run = bench.run_with((VARIABLE, point), ["create", "--memory", "128M"]);
        run.exits(125);
        is_tidy(&bench);
        let list = bench.run(["template", "list", "--json"]).exits(0).json();
        assert_eq!(list.as_array().map(Vec::len), Some(0), "{point}");
        assert!(bench.processes().is_empty(), "{point}");
    }
    let id = bench.create(&["--memory", "128M"]);
    assert_eq!(bench.inspect(&id)["origin"]["from"], "template");
}

#[test]
fn a_death_while_a_spare_is_made_or_claimed_costs_nobody_a_sandbox() {
    if is_release() {
        return;
    }
    let bench = Bench::with_spares();
    for point in SPARE {
        bench
            .run_with((VARIABLE, point), ["pool", "set", "--size", "1"])
            .exits(0);
        bench.eventually("it has died", || bench.processes().is_empty());
        is_tidy(&bench);
        let id = bench
            .run_with(("MVM_SPARES", "off"), ["create"])
            .exits(0)
            .out();
        bench.run(["destroy", id.trim()]).exits(0);
    }
    for point in CLAIM {
        bench
            .run_with((VARIABLE, point), ["pool", "set", "--size", "1"])
            .exits(0);
        bench.eventually("a spare is ready", || {
            bench.run(["pool", "list", "--json"]).json()[0]["ready"] == 1
        });
        let id = bench.create(&["--name", "claimer"]);
        assert_eq!(bench.inspect(&id)["origin"]["from"], "template", "{point}");
        bench.sh("claimer", "true").exits(0);
        let list = bench.run(["list", "--json"]).exits(0).json();
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{point}: {list}");
        // Its end makes no spare, so that the next round has its own.
        bench.run(["pool", "set", "--size", "0"]).exits(0);
        bench.run(["destroy", &id]).exits(0);
        bench.eventually("all has ended", || {
            bench.run(["pool", "drain"]).exits(0);
            bench.processes().is_empty()
        });
        is_tidy(&bench);
    }
}

#[test]
fn a_death_while_a_sandbox_is_saved_fails_it_and_saves_nothing() {
    if is_release() {
        return;
    }
    let bench = Bench::new();
    for (round, point) in SNAPSHOT.iter().enumerate() {
        let (id, reached) = counting(&bench, point);
        let operation = [
            &["snapshot", "create", &id][..],
            &["fork", &id, "-c", "2"],
            &["cold", &id],
        ];
        // Each point by one of the three, and each of the three at several points.
        bench.run(operation[round % 3]).exits(125);
        assert_eq!(is_sound(&bench, &id, reached), "failed", "{point}");
        assert_eq!(bench.entries("sandboxes").len(), 1);
        let list = bench.run(["snapshot", "list", "--json"]).exits(0).json();
        assert_eq!(list.as_array().map(Vec::len), Some(0), "{point}");
        bench.run(["destroy", &id]).exits(0);
    }
}

#[test]
fn a_death_when_all_was_saved_leaves_the_sandbox_cold() {
    if is_release() {
        return;
    }
    let bench = Bench::new();
    for point in COOL {
        let (id, reached) = counting(&bench, point);
        bench.run(["cold", &id]).exits(125);
        assert_eq!(is_sound(&bench, &id, reached), "cold", "{point}");
    }
}

#[test]
fn a_death_while_a_cold_sandbox_comes_back_costs_it_nothing() {
    if is_release() {
        return;
    }
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench.start_counting(&id);
    for point in WAKE {
        let reached = bench.count(&id);
        bench.run(["cold", &id]).exits(0);
        for _ in 0..2 {
            bench
                .run_with((VARIABLE, point), ["resume", &id])
                .exits(125);
            assert_eq!(bench.state(&id), "cold", "{point}");
            bench.eventually("what came back has ended", || bench.processes().is_empty());
        }
        assert_eq!(is_sound(&bench, &id, reached), "cold", "{point}");
    }
    for point in WOKEN {
        bench.run(["cold", &id]).exits(0);
        bench
            .run_with((VARIABLE, point), ["resume", &id])
            .exits(125);
        assert_eq!(is_sound(&bench, &id, 0), "failed", "{point}");
    }
}

#[test]
fn a_snapshot_whose_client_died_is_cleared_while_it_is_still_written() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let fill = "head -c 40M /dev/urandom > /dev/shm/noise";
    bench.sh(&id, fill).exits(0);
    for round in 0..20 {
        let mut client = bench.command(["snapshot", "create", &id]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random(100)));
        client.kill().unwrap();
        client.wait().unwrap();
        for _ in 0..6 {
            bench.run(["list"]).exits(0);
        }
        // It is served when the guest goes on, and all that was begun has ended.
        bench.sh(&id, "true").exits(0);
        let save = ["snapshot", "create", &id];
        let snapshot = bench.run(save).exits(0).out().trim().to_owned();
        bench.run(["list"]).exits(0);
        let left = bench.entries("staging");
        assert!(left.is_empty(), "round {round}: {left:?}");
        bench.run(["snapshot", "remove", &snapshot]).exits(0);
    }
}

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Client,
    Supervisor,
    Machine,
}

#[test]
fn a_death_at_any_moment_is_survived_or_known() {
    let bench = Bench::new();
    let mut sandbox = None;
    let mut lost_on_the_way_back = 0;
    for round in 0..36 {
        let id = sandbox.take().unwrap_or_else(|| {
            let id = bench.create(&[]);
            bench.start_counting(&id);
            id
        });
        let reached = bench.count(&id);
        let victim = [Victim::Client, Victim::Supervisor, Victim::Machine][round % 3];
        let verb = ["snapshot", "fork", "cold", "resume"][round / 3 % 4];
        let arguments = match verb {
            "snapshot" => vec!["snapshot", "create", &id],
            "fork" => vec!["fork", &id, "-c", "2"],
            verb => vec![verb, &id],
        };
        if verb == "resume" {
            bench.run(["cold", &id]).exits(0);
        }
        let supervisor = (verb != "resume").then(|| bench.supervisor_of(&id));
        let client = bench.command(&arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random(200)));
        let find = |name: &str, of: &str| {
            let processes = bench.processes().into_iter();
            let mut found = processes.filter(|(_, line)| line.contains(name) && line.contains(of));
            found.next().map(|(pid, _)| pid)
        };
        let dying = match victim {
            Victim::Client => Some(client.id()),
            // What comes back has one that is not recorded yet.
            Victim::Supervisor => supervisor
                .filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
                .or_else(|| (verb == "resume").then(|| find(" supervise", "")).flatten()),
            Victim::Machine => find("qemu-system", &id),
        };
        dying.into_iter().for_each(kill);
        let run = finish(client);
        let what = format!("round {round}, {verb}, {victim:?}: {}", run.stderr);
        assert!(
            matches!(run.code, 0 | -9) || run.code == 125 && run.stderr.contains("error: "),
            "{what}"
        );
        if dying.is_some() && victim != Victim::Client {
            bench.eventually("its end is known", || bench.state(&id) != "running");
        }
        let state = is_sound(&bench, &id, reached);
        match (verb, victim) {
            (_, Victim::Client) => assert_ne!(state, "failed", "{what}"),
            // What came back is lost with whom it needs from the moment it is back.
            ("resume", _) if state == "failed" && run.code != 0 => lost_on_the_way_back += 1,
            _ => {}
        }
        for snapshot in bench.entries("snapshots") {
            // What is there is whole.
            let Some(name) = snapshot.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let child = bench.fork(name, 1).remove(0);
            bench.counts_on_from(&child, reached);
            bench.run(["snapshot", "remove", name]).exits(0);
        }
        let list = bench.run(["list", "--json"]).exits(0).json();
        for other in list.as_array().unwrap() {
            let other = other["id"].as_str().unwrap();
            if other != id || state == "failed" {
                bench.run(["destroy", other]).exits(0);
            }
        }
        if state != "failed" {
            sandbox = Some(id);
        }
    }
    // The moment between is short.
    assert!(lost_on_the_way_back <= 1, "{lost_on_the_way_back} lost");
}
