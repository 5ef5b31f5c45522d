//! Forks and snapshots of a sandbox that is at work.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf, process::Command};

use mvm_vm_tests::{Bench, Run, SHARED, finish, prepared_home};

#[test]
fn five_children_go_on_where_their_parent_was_each_for_itself() {
    let bench = Bench::new();
    let parent = bench.create(&[]);
    bench.start_counting(&parent);
    let before = bench.count(&parent);
    let snapshot = bench.snapshot(&parent);
    let after = bench.count(&parent);
    let children = bench.fork(&snapshot, 5);
    assert_eq!(children.len(), 5);
    for child in &children {
        bench
            .sh(child, &format!("echo {child} > /root/own"))
            .exits(0);
    }
    let reached: Vec<u64> = children
        .iter()
        .map(|child| bench.counts_on_from(child, before))
        .collect();
    for child in &children {
        assert_eq!(bench.sh(child, "cat /root/own").out(), format!("{child}\n"));
    }
    // One that has ended changes nothing for the others, nor does its snapshot.
    bench.run(["destroy", &children[0]]).exits(0);
    bench.run(["snapshot", "remove", &snapshot]).exits(0);
    for (child, reached) in children.iter().zip(reached).skip(1) {
        bench.counts_on_from(child, reached);
    }
    bench.counts_on_from(&parent, after);
    bench.sh(&parent, "test ! -e /root/own").exits(0);
}

#[test]
fn a_child_of_a_child_goes_on_too() {
    let bench = Bench::new();
    let mut sandbox = bench.create(&[]);
    bench.start_counting(&sandbox);
    for _ in 0..3 {
        let before = bench.count(&sandbox);
        let child = bench.fork(&sandbox, 1).remove(0);
        bench.run(["destroy", &sandbox]).exits(0);
        bench.counts_on_from(&child, before);
        sandbox = child;
    }
}

#[test]
fn files_that_were_not_yet_on_the_disk_are_there_in_a_child() {
    let bench = Bench::new();
    let parent = bench.create(&[]);
    let line =
        "head -c 20M /dev/urandom > /root/large && rm -rf /usr/share/doc && sha256sum /root/large";
    let sum = bench.sh(&parent, line).exits(0).out();
    let child = bench.fork(&parent, 1).remove(0);
    let drop = "sync; echo 3 > /proc/sys/vm/drop_caches; test ! -e /usr/share/doc && sha256sum /root/large";
    for sandbox in [&parent, &child] {
        assert_eq!(bench.sh(sandbox, drop).exits(0).out(), sum);
    }
}

#[test]
fn a_command_with_a_client_is_not_disturbed_by_snapshots_and_forks() {
    let bench = Bench::new();
    let parent = bench.create(&[]);
    let line = "for i in $(seq 1 400); do echo $i; sleep 0.01; done; exit 3";
    let client = bench
        .command(["exec", &parent, "--", "sh", "-c", line])
        .spawn()
        .unwrap();
    bench.eventually("the command runs", || {
        bench.run(["ps", "--json", &parent]).json()[0]["id"].is_u64()
    });
    bench.snapshot(&parent);
    bench
        .run(["snapshot", "create", &parent, "--stream"])
        .exits(0);
    bench.fork(&parent, 2);
    let ended = bench.run(["ps", "--json", &parent]).json()[0]["exit"].is_object();
    assert!(!ended, "it ended before it could be disturbed");
    let run = finish(client).exits(3);
    let lines: String = (1..=400).map(|number| format!("{number}\n")).collect();
    assert_eq!((run.out(), run.stderr), (lines, String::new()));
}

/// A file system of its own, over which there is a state directory with all that is shared.
struct SmallDisk<'a> {
    bench: &'a Bench,
    path: PathBuf,
}

impl<'a> SmallDisk<'a> {
    fn mount(bench: &'a Bench, mebibytes: u32) -> Self {
        let path = bench.path().join("small");
        fs::create_dir(&path).unwrap();
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        assert!(mounted.status().unwrap().success());
        for name in SHARED {
            std::os::unix::fs::symlink(prepared_home().join(name), path.join(name)).unwrap();
        }
        Self { bench, path }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let mut command = self.bench.command(arguments);
        finish(command.env("MVM_HOME", &self.path).spawn().unwrap())
    }

    /// Leaves so much free.
    fn fill_up_to(&self, mebibytes: u64) {
        let ballast = fs::File::create(self.path.join("ballast")).unwrap();
        let status = rustix::fs::statvfs(&self.path).unwrap();
        let free = status.f_bavail * status.f_frsize;
        let length = free.saturating_sub(mebibytes << 20);
        rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, length).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        self.run(&["destroy", "--all"]);
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

#[test]
fn a_full_disk_fails_what_is_saved_and_nothing_that_runs() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a file system that can be filled is mounted by root only");
        return;
    }
    let bench = Bench::new();
    let disk = SmallDisk::mount(&bench, 400);
    let run = |arguments: &[&str]| disk.run(arguments);
    let path = &disk.path;
    let parent = run(&["create"]).exits(0).out().trim().to_owned();
    // In memory, where it does not compress: more than is left of the disk below.
    let fill = "head -c 90M /dev/urandom > /dev/shm/noise && echo here > /root/file";
    run(&["exec", &parent, "--", "sh", "-c", fill]).exits(0);
    // Too little to begin with, then enough to begin but not to end.
    for free in [20, 80] {
        disk.fill_up_to(free);
        for arguments in [
            &["snapshot", "create", &parent][..],
            &["fork", &parent, "-c", "2"],
            &["cold", &parent],
        ] {
            let run_of = run(arguments).exits(125);
            let said = run_of.stderr;
            let is_clear = said.contains("MiB free") || said.contains("No space left");
            assert!(is_clear, "{arguments:?} with {free} MiB: {said}");
            let state = run(&["inspect", &parent]).exits(0).json();
            assert_eq!(state["state"], "running");
            let file = run(&["exec", &parent, "--", "cat", "/root/file"]).exits(0);
            assert_eq!(file.out(), "here\n");
            for (folder, expected) in [("staging", 0), ("snapshots", 0), ("sandboxes", 1)] {
                let entries = fs::read_dir(path.join(folder)).unwrap().flatten();
                let left: Vec<_> = entries
                    .map(|entry| entry.file_name().into_string().unwrap())
                    .filter(|name| !name.starts_with('.'))
                    .collect();
                assert_eq!(left.len(), expected, "{arguments:?}: {left:?}");
            }
            let cold = path.join("sandboxes").join(&parent).join("cold");
            assert!(!cold.exists(), "{}", cold.display());
        }
    }
    fs::remove_file(path.join("ballast")).unwrap();
    run(&["cold", &parent]).exits(0);
    run(&["resume", &parent]).exits(0);
    run(&["destroy", &parent]).exits(0);
}
