//! What is refused: with the thing, the place and the way out, and nothing left behind.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use mvm_vm_tests::{Bench, SHARED};

#[test]
fn an_image_that_does_not_exist() {
    let bench = Bench::new();
    bench
        .run(["run", "--image", "debian:nope", "--", "true"])
        .refused_with(&["debian:nope"]);
    bench
        .run(["run", "--image", "nope", "--", "true"])
        .refused_with(&["`nope`"]);
    let run = bench.run(["run", "--image", "oci-layout:/no/such", "--", "true"]);
    run.refused_with(&["/no/such"]);
    bench.assert_nothing_left();
}

#[test]
fn resources_out_of_range_and_unknown_flags() {
    let bench = Bench::new();
    bench
        .run(["run", "--memory", "1", "--", "true"])
        .refused_with(&["memory", "128", "1 MiB"]);
    bench
        .run(["run", "--cpus", "99", "--", "true"])
        .refused_with(&["processors", "99"]);
    bench
        .run(["run", "--frobnicate", "--", "true"])
        .refused_with(&["--frobnicate", "mvmctl run --help"]);
    bench
        .run(["run", "--timeout", "soon", "--", "true"])
        .refused_with(&["soon", "500ms"]);
    let run = bench
        .run(["create", "--json", "--name", "Not_A_Name"])
        .exits(125);
    let error: mvm_vm_tests::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["error"]["code"], "InvalidArgument");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("Not_A_Name"),
        "{error}"
    );
    bench.assert_nothing_left();
}

#[test]
fn an_unprepared_host() {
    let bench = Bench::unprepared();
    bench
        .run(["run", "--", "true"])
        .refused_with(&["mvmctl setup"]);
    bench.assert_nothing_left();
}

#[test]
fn qemu_missing() {
    let bench = Bench::new();
    // The verdict on the accelerator may be remembered; the program is looked for every time.
    let empty = tempfile::tempdir().unwrap();
    let run = bench
        .command(["run", "--", "true"])
        .env("PATH", empty.path())
        .spawn()
        .unwrap();
    mvm_vm_tests::finish(run).refused_with(&["qemu-system-x86", "apt-get install"]);
    bench.assert_nothing_left();
}

#[test]
fn the_kernel_missing() {
    let bench = Bench::new();
    let boot = bench.path().join("boot");
    fs::remove_file(&boot).unwrap();
    fs::create_dir(&boot).unwrap();
    bench
        .run(["run", "--", "true"])
        .refused_with(&["kernel", "mvmctl setup"]);
    bench.assert_nothing_left();
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let bench = Bench::unprepared();
    let read_only = bench.path().join("read-only");
    fs::create_dir(&read_only).unwrap();
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o500)).unwrap();
    let mut command = bench.command(["run", "--", "true"]);
    command.env("MVM_HOME", read_only.join("home"));
    if rustix::process::geteuid().is_root() {
        // Root writes everywhere but where the kernel itself says no.
        command.env("MVM_HOME", "/proc/mvm-home");
    }
    mvm_vm_tests::finish(command.spawn().unwrap()).refused_with(&["create", "MVM_HOME"]);
}

#[test]
fn a_full_disk() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a file system that can be filled is mounted by root only");
        return;
    }
    let bench = Bench::new();
    let small = bench.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
        .arg(&small)
        .status()
        .unwrap();
    assert!(mounted.success());
    for name in SHARED {
        std::os::unix::fs::symlink(bench.path().join(name), small.join(name)).unwrap();
    }
    let mut command = bench.command(["run", "--", "true"]);
    let run = mvm_vm_tests::finish(command.env("MVM_HOME", &small).spawn().unwrap());
    let left = fs::read_dir(small.join("sandboxes")).unwrap().count()
        + fs::read_dir(small.join("staging")).unwrap().count();
    assert!(
        Command::new("umount")
            .arg(&small)
            .status()
            .unwrap()
            .success()
    );
    run.refused_with(&["MiB free", "small"]);
    assert_eq!(left, 0);
}

#[test]
fn a_terminal_that_is_not_there_and_a_misplaced_copy() {
    let bench = Bench::new();
    bench
        .run(["run", "-t", "--", "true"])
        .refused_with(&["--tty", "terminal"]);
    bench
        .run(["cp", "/a", "/b"])
        .refused_with(&["cp", "SANDBOX:/PATH"]);
    let run = bench
        .run(["run", "--cp", "relative:path", "--", "true"])
        .exits(125);
    assert!(run.stderr.contains("HOST:GUEST"), "{}", run.stderr);
    bench
        .run(["exec", "no-such", "--", "true"])
        .refused_with(&["no-such", "mvmctl list"]);
}
