//! No two guests are the same, whatever they were made from.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;

use mvm_vm_tests::Bench;

/// What tells one guest from another, a line each.
const IDENTITY: &str = "hostname
cat /etc/machine-id
head -c 16 /dev/urandom | od -A n -t x1
cat /proc/sys/kernel/random/uuid
python3 -c 'import uuid; print(uuid.uuid4())'
python3 -c 'import random; print(random.random())'";
const LINES: usize = 6;

fn identity(bench: &Bench, sandbox: &str) -> Vec<String> {
    let out = bench.sh(sandbox, IDENTITY).exits(0).out();
    let lines: Vec<String> = out.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), LINES, "{out}");
    assert_eq!(lines[1].len(), 32, "{out}");
    lines
}

/// Asserts that no two of these have any line in common.
#[track_caller]
fn all_differ(identities: &[Vec<String>]) {
    let lines: BTreeSet<&String> = identities.iter().flatten().collect();
    assert_eq!(lines.len(), identities.len() * LINES, "{identities:#?}");
}

fn origin(bench: &Bench, sandbox: &str) -> String {
    bench.inspect(sandbox)["origin"]["from"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn forks_of_a_template_differ_in_all_that_tells_them_apart() {
    let bench = Bench::new();
    let named = bench.create(&["--name", "first"]);
    let sandboxes = [named, bench.create(&[]), bench.create(&[])];
    let identities = sandboxes.each_ref().map(|id| {
        assert_eq!(origin(&bench, id), "template");
        identity(&bench, id)
    });
    all_differ(&identities);
    assert_eq!(identities[0][0], "first");
    assert_eq!(identities[1][0], sandboxes[1]);
}

#[test]
fn children_of_a_sandbox_and_of_a_snapshot_differ_and_their_parent_stays_who_it_is() {
    let bench = Bench::new();
    let parent = bench.create(&["--name", "parent"]);
    let before = identity(&bench, &parent);
    let snapshot = bench.snapshot(&parent);
    let mut children = bench.fork(&snapshot, 2);
    children.extend(bench.fork(&parent, 2));
    let run = bench
        .run(["restore", &snapshot, "--name", "restored"])
        .exits(0);
    children.push(run.out().trim().to_owned());
    let mut identities = vec![identity(&bench, &parent)];
    // Its randomness is new, its name is not.
    assert_eq!(identities[0][..2], before[..2]);
    assert_ne!(identities[0][2..], before[2..]);
    identities.extend(children.iter().map(|id| identity(&bench, id)));
    all_differ(&identities);
    assert_eq!(identities[1][0], children[0]);
    assert_eq!(identities[5][0], "restored");
    assert_eq!(origin(&bench, &children[0]), "snapshot");
}

#[test]
fn one_name_is_not_given_to_several() {
    let bench = Bench::new();
    let parent = bench.create(&["--name", "taken"]);
    let snapshot = bench.snapshot(&parent);
    bench
        .run(["fork", &snapshot, "-c", "2", "--name", "both"])
        .refused_with(&["one name", "2"]);
    bench
        .run(["restore", &snapshot, "--name", "taken"])
        .refused_with(&["`taken`", &parent]);
    bench
        .run(["snapshot", "create", &parent, "--name", "s"])
        .exits(0);
    bench
        .run(["snapshot", "create", &parent, "--name", "s"])
        .refused_with(&["`s`", "taken"]);
    let list = bench.run(["snapshot", "list", "--json"]).exits(0).json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    assert_eq!(bench.entries("sandboxes").len(), 1);
    assert_eq!(bench.entries("staging").len(), 0);
}

#[test]
fn a_claimed_spare_is_nobody_who_was_there_before() {
    let bench = Bench::with_spares();
    let mut identities = Vec::new();
    let first = bench.create(&[]);
    identities.push(identity(&bench, &first));
    for name in ["one", "two"] {
        bench.eventually("a spare is ready", || {
            bench.run(["pool", "list", "--json"]).json()[0]["ready"] == 1
        });
        let id = bench.create(&["--name", name]);
        assert_eq!(origin(&bench, &id), "spare");
        let identity = identity(&bench, &id);
        assert_eq!(identity[0], name);
        identities.push(identity);
    }
    all_differ(&identities);
}
