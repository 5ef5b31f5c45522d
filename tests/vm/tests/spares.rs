//! Spares: made before anybody asks, given to one, and gone when nobody does.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, path::PathBuf};

use mvm_vm_tests::{Bench, Value, finish, kill};

/// How many spares can be claimed.
fn ready(bench: &Bench) -> u64 {
    let list = bench.run(["pool", "list", "--json"]).exits(0).json();
    list[0]["ready"].as_u64().unwrap_or(0)
}

fn wait_for(bench: &Bench, spares: u64) {
    bench.eventually("the spares are ready", || ready(bench) == spares);
}

/// The folders of the spares.
fn folders(bench: &Bench) -> Vec<PathBuf> {
    let pools = bench.entries("spares").into_iter();
    pools
        .flat_map(|pool| std::fs::read_dir(pool).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .collect()
}

fn names(bench: &Bench) -> BTreeSet<String> {
    let folders = folders(bench).into_iter();
    folders
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// The QEMU and the supervisor of the only spare.
fn processes(bench: &Bench) -> (u32, u32) {
    let folder = folders(bench).remove(0);
    let machine = bench.machine_of(folder.file_name().unwrap().to_str().unwrap());
    let status = std::fs::read_to_string(format!("/proc/{machine}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    (machine, parent.unwrap().trim().parse().unwrap())
}

fn origin(bench: &Bench, id: &str) -> Value {
    bench.inspect(id)["origin"]["from"].clone()
}

fn set_pool(bench: &Bench, options: &[&str]) {
    bench.run(["pool", "set"].iter().chain(options)).exits(0);
}

#[test]
fn a_spare_is_made_when_one_ran_and_is_the_next_sandbox() {
    let bench = Bench::with_spares();
    bench.run(["run", "--", "true"]).exits(0);
    wait_for(&bench, 1);
    let first = names(&bench);
    let id = bench.create(&["--name", "claimed", "--env", "A=b"]);
    assert_eq!(origin(&bench, &id), "spare");
    assert_eq!(BTreeSet::from([id.clone()]), first);
    assert_eq!(
        bench.sh("claimed", "hostname; echo $A").out(),
        "claimed\nb\n"
    );
    wait_for(&bench, 1);
    assert_ne!(names(&bench), first);
    // Another shape, another template, no spare.
    let other = bench.create(&["--memory", "128M"]);
    assert_eq!(origin(&bench, &other), "template");
    // It is a sandbox like any other.
    bench.start_counting(&id);
    let before = bench.count(&id);
    bench.run(["cold", &id]).exits(0);
    bench.run(["resume", &id]).exits(0);
    let child = bench.fork(&id, 1).remove(0);
    bench.counts_on_from(&child, before);
    bench.counts_on_from(&id, before);
}

#[test]
fn twelve_at_once_get_every_spare_once() {
    let bench = Bench::with_spares();
    set_pool(&bench, &["--size", "3"]);
    wait_for(&bench, 3);
    let spares = names(&bench);
    assert_eq!(spares.len(), 3);
    let creating: Vec<_> = (0..12)
        .map(|_| bench.command(["create"]).spawn().unwrap())
        .collect();
    let ids: Vec<String> = creating
        .into_iter()
        .map(|child| finish(child).exits(0).out().trim().to_owned())
        .collect();
    let distinct: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(distinct.len(), 12);
    assert!(spares.is_subset(&distinct), "{spares:?}, {ids:?}");
    let hostnames: BTreeSet<String> = ids
        .iter()
        .map(|id| bench.sh(id, "hostname").out())
        .collect();
    assert_eq!(hostnames.len(), 12);
    for id in &ids {
        let from = origin(&bench, id);
        let is_spare = spares.contains(id);
        assert!(from == "spare" || !is_spare && from == "template", "{from}");
    }
    wait_for(&bench, 3);
}

#[test]
fn a_spare_outlives_who_made_it() {
    let bench = Bench::with_spares();
    let id = bench.create(&[]);
    wait_for(&bench, 1);
    kill(bench.supervisor_of(&id));
    bench.eventually("it is failed", || bench.state(&id) == "failed");
    assert_eq!(ready(&bench), 1);
    let next = bench.create(&[]);
    assert_eq!(origin(&bench, &next), "spare");
    bench.sh(&next, "true").exits(0);
}

#[test]
fn a_spare_that_died_is_not_handed_out() {
    let bench = Bench::with_spares();
    set_pool(&bench, &["--size", "1"]);
    for victim in ["machine", "supervisor"] {
        wait_for(&bench, 1);
        let dead = names(&bench);
        let (machine, supervisor) = processes(&bench);
        kill(if victim == "machine" {
            machine
        } else {
            supervisor
        });
        let id = bench.create(&[]);
        assert!(!dead.contains(&id));
        bench.sh(&id, "true").exits(0);
        bench.run(["list"]).exits(0);
        bench.eventually("nothing is left of it", || {
            bench.run(["list"]).exits(0);
            names(&bench).is_disjoint(&dead)
        });
        bench.run(["destroy", &id]).exits(0);
    }
}

#[test]
fn a_spare_that_nobody_claims_goes() {
    let bench = Bench::with_spares();
    set_pool(&bench, &["--size", "1", "--idle", "2s"]);
    wait_for(&bench, 1);
    bench.eventually("it is gone", || folders(&bench).is_empty());
    bench.eventually("with its processes", || bench.processes().is_empty());
    assert_eq!(ready(&bench), 0);
}

#[test]
fn a_pool_is_as_large_as_it_is_told_to_be() {
    let bench = Bench::with_spares();
    set_pool(&bench, &["--size", "2"]);
    wait_for(&bench, 2);
    let list = bench.run(["pool", "list", "--json"]).json();
    assert_eq!(list[0]["size"], 2);
    set_pool(&bench, &["--size", "1"]);
    wait_for(&bench, 1);
    set_pool(&bench, &["--size", "0"]);
    wait_for(&bench, 0);
    let id = bench.create(&[]);
    assert_eq!(origin(&bench, &id), "template");
    // What would make one does so after a second, or at its end.
    bench.run(["destroy", &id]).exits(0);
    assert_eq!(folders(&bench).len(), 0);
}

#[test]
fn spares_that_are_turned_off_are_neither_made_nor_claimed() {
    let bench = Bench::with_spares();
    let off = ("MVM_SPARES", "off");
    bench.run_with(off, ["run", "--", "sleep", "1.5"]).exits(0);
    assert_eq!(folders(&bench).len(), 0);
    set_pool(&bench, &["--size", "1"]);
    wait_for(&bench, 1);
    let run = bench.run_with(off, ["create"]).exits(0);
    assert_eq!(origin(&bench, run.out().trim()), "template");
    assert_eq!(ready(&bench), 1);
    assert_eq!(bench.run(["pool", "drain"]).exits(0).out(), "1\n");
    assert_eq!(folders(&bench).len(), 0);
    assert_eq!(ready(&bench), 0);
}

#[test]
fn a_pool_that_was_emptied_is_not_filled_by_who_came_before() {
    let bench = Bench::with_spares();
    let id = bench.create(&[]);
    set_pool(&bench, &["--size", "0"]);
    bench.run(["destroy", &id]).exits(0);
    bench.eventually("it has ended", || bench.processes().is_empty());
    assert_eq!(folders(&bench).len(), 0);
}
