//! A sandbox that lives: create, list, inspect, exec, files, copies, logs, stop, destroy.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, os::unix::fs::PermissionsExt as _};

use mvm_vm_tests::{Bench, mvmctl_program, noise, peak_memory_kib, sha256};

#[test]
fn a_sandbox_is_created_found_stopped_and_destroyed() {
    let bench = Bench::new();
    let id = bench.create(&["--name", "web", "--memory", "192M"]);
    let list = bench.run(["list", "--json"]).exits(0).json();
    assert_eq!(list[0]["id"], id.as_str());
    assert_eq!(list[0]["state"], "running");
    let record = bench.run(["inspect", "web"]).exits(0).json();
    assert_eq!(record["spec"]["resources"]["memory_mib"], 192);
    assert_eq!(record["isolation"], "emulated");
    assert_eq!(bench.sh("web", "hostname").out(), "web\n");

    bench
        .run(["create", "--name", "web"])
        .refused_with(&["`web`", "taken"]);

    bench.run(["stop", "web"]).exits(0);
    assert_eq!(bench.run(["inspect", "web"]).json()["state"], "stopped");
    bench
        .run(["exec", "web", "--", "true"])
        .refused_with(&["not running"]);
    bench.run(["stop", "web"]).exits(0);
    bench.run(["destroy", "web"]).exits(0);
    bench
        .run(["inspect", "web"])
        .refused_with(&["there is no sandbox `web`"]);
    assert_eq!(
        bench
            .run(["list", "--json"])
            .json()
            .as_array()
            .map(Vec::len),
        Some(0)
    );
    bench.assert_nothing_left();
}

#[test]
fn a_time_to_live_ends_a_sandbox() {
    let bench = Bench::new();
    let id = bench.create(&["--ttl", "1s"]);
    bench.eventually("the sandbox is gone", || {
        !bench.path().join("sandboxes").join(&id).exists()
    });
    bench.assert_nothing_left();
}

#[test]
fn what_a_command_writes_is_there_for_the_next_and_gone_with_the_sandbox() {
    let bench = Bench::new();
    let (one, other) = (bench.create(&[]), bench.create(&[]));
    bench.sh(&one, "echo mine > /etc/mine").exits(0);
    assert_eq!(bench.sh(&one, "cat /etc/mine").out(), "mine\n");
    bench.sh(&other, "test ! -e /etc/mine").exits(0);
}

#[test]
fn the_image_is_read_only_below_and_the_guest_has_no_network_device() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    assert_eq!(bench.sh(&id, "ls /sys/class/net").out(), "lo\n");
    let mounts = bench.sh(&id, "cat /proc/mounts").out();
    assert!(
        mounts
            .lines()
            .any(|line| line.starts_with("overlay / overlay rw")),
        "{mounts}"
    );
    bench.sh(&id, "echo 1 > /dev/vda").exits(1);
}

#[test]
fn a_quarter_of_a_gibibyte_is_copied_both_ways_in_bounded_memory() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (
        directory.path().join("source"),
        directory.path().join("target"),
    );
    let content = noise(256 << 20);
    fs::write(&source, &content).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
    let supervisor = bench.run(["inspect", &id]).json()["supervisor_pid"]
        .as_u64()
        .unwrap();

    let inward = [
        "cp".to_owned(),
        source.display().to_string(),
        format!("{id}:/root/copy"),
    ];
    let mut child = bench.command(&inward).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(peak_memory_kib(child.id()).unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    mvm_vm_tests::finish(child).exits(0);
    let sum = bench
        .sh(&id, "sha256sum < /root/copy; stat -c %a /root/copy")
        .exits(0)
        .out();
    assert_eq!(sum, format!("{}  -\n640\n", sha256(&content)));

    let outward = [
        "cp".to_owned(),
        format!("{id}:/root/copy"),
        target.display().to_string(),
    ];
    bench.run(&outward).exits(0);
    assert_eq!(sha256(&fs::read(&target).unwrap()), sha256(&content));
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o7777,
        0o640
    );

    // The supervisor runs in its own process namespace's parent, so its number is the host's.
    let supervisor = peak_memory_kib(u32::try_from(supervisor).unwrap()).unwrap();
    assert!(peak < 64 << 10, "mvmctl used {peak} KiB");
    assert!(
        supervisor < 128 << 10,
        "the supervisor used {supervisor} KiB"
    );
}

#[test]
fn trees_are_copied_with_links_modes_and_empty_directories() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let directory = tempfile::tempdir().unwrap();
    let make = "mkdir -p /t/a/empty && echo x > /t/a/f && chmod 751 /t/a/f && ln -s f /t/a/l \
                && ln -s /etc/passwd /t/absolute && chmod 700 /t/a/empty && touch -d @1000000000 /t/a/f";
    bench.sh(&id, make).exits(0);
    let target = directory.path().join("t");
    bench
        .run(["cp", &format!("{id}:/t"), target.to_str().unwrap()])
        .exits(0);
    assert_eq!(
        fs::read_link(target.join("a/l")).unwrap().to_str(),
        Some("f")
    );
    assert_eq!(
        fs::read_link(target.join("absolute")).unwrap().to_str(),
        Some("/etc/passwd")
    );
    let mode = |path: &str| {
        fs::metadata(target.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("a/f"), mode("a/empty")), (0o751, 0o700));
    // Copied back in under a directory, it takes its name there.
    bench
        .run(["cp", target.to_str().unwrap(), &format!("{id}:/mnt")])
        .exits(0);
    let list = "cd /mnt/t && find . | sort && readlink a/l absolute && stat -c %Y a/f";
    let expected = ".\n./a\n./a/empty\n./a/f\n./a/l\n./absolute\nf\n/etc/passwd\n1000000000\n";
    assert_eq!(bench.sh(&id, list).out(), expected);
}

#[test]
fn a_host_device_or_pipe_is_not_copied() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench
        .run(["cp", "/dev/null", &format!("{id}:/x")])
        .refused_with(&["/dev/null", "a device"]);
    bench
        .run(["cp", "/no/such", &format!("{id}:/x")])
        .exits(125);
    bench
        .sh(&id, "mkfifo /pipe && mkdir /d && mkfifo /d/pipe")
        .exits(0);
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("d");
    let run = bench
        .run(["cp", &format!("{id}:/d"), target.to_str().unwrap()])
        .exits(125);
    assert!(run.stderr.contains("pipe"), "{}", run.stderr);
}

#[test]
fn files_are_worked_on_in_place() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let write = [
        "files",
        "write",
        &id,
        "/srv/new/file",
        "-p",
        "--mode",
        "600",
    ];
    bench.run_with_input(write, b"content\n").exits(0);
    assert_eq!(
        bench.run(["files", "cat", &id, "/srv/new/file"]).out(),
        "content\n"
    );
    let status = bench
        .run(["files", "stat", "--json", &id, "/srv/new/file"])
        .json();
    assert_eq!(
        (&status["kind"], &status["size"]),
        (&"file".into(), &8.into())
    );
    assert_eq!(status["mode"], 0o600);
    bench
        .run(["files", "mkdir", &id, "/srv/deep/er", "-p"])
        .exits(0);
    bench
        .run(["files", "mv", &id, "/srv/new/file", "/srv/deep/er/file"])
        .exits(0);
    let list = bench.run(["files", "ls", "--json", &id, "/srv"]).json();
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str())
        .collect();
    assert_eq!(names, [Some("deep"), Some("new")]);
    bench
        .run(["files", "rm", &id, "/srv/deep"])
        .refused_with(&["/srv/deep", "not empty"]);
    bench.run(["files", "rm", "-r", &id, "/srv/deep"]).exits(0);
    bench.sh(&id, "test ! -e /srv/deep").exits(0);
    let run = bench.run(["files", "cat", &id, "/srv/none"]).exits(125);
    assert!(
        run.stderr.contains("/srv/none") && run.stderr.contains("not found"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_detached_process_outlives_its_client_and_is_attached_to() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let line = "for i in 1 2 3; do echo $i; sleep 0.2; done; exit 5";
    let run = bench
        .run(["exec", "-d", &id, "--", "sh", "-c", line])
        .exits(0);
    let process = run.out().trim().to_owned();
    let attached = bench.run(["exec", &id, "--attach", &process]).exits(5);
    assert_eq!(attached.out(), "1\n2\n3\n");
    let list = bench.run(["ps", "--json", &id]).json();
    assert_eq!(list[0]["exit"]["status"]["code"], 5);
}

#[test]
fn a_client_that_is_killed_takes_its_command_with_it() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let mut client = bench
        .command(["exec", &id, "--", "sleep", "600"])
        .spawn()
        .unwrap();
    bench.eventually("the command runs", || {
        bench
            .run(["ps", "--json", &id])
            .json()
            .as_array()
            .is_some_and(|list| !list.is_empty())
    });
    client.kill().unwrap();
    client.wait().unwrap();
    bench.eventually("the command has ended", || {
        !bench.run(["ps", "--json", &id]).json()[0]["exit"].is_null()
    });
}

#[test]
fn a_shell_reads_its_input_and_passes_its_end_on() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let run = bench
        .run_with_input(["shell", &id], b"echo $((6*7))\nexit 9\n")
        .exits(9);
    assert_eq!(run.out(), "42\n");
}

#[test]
fn a_shell_on_a_terminal_has_its_size_and_passes_its_end_on() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    // `script` gives the program a terminal, types into it, and passes its exit code on.
    let line = format!(
        "stty rows 33 cols 111; {} shell {id}",
        mvmctl_program().display()
    );
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command
        .env("MVM_HOME", bench.path())
        .stdin(std::process::Stdio::piped());
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut typed = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut typed, b"tty; stty size; exit 9\n").unwrap();
    let run = mvm_vm_tests::finish(child).exits(9);
    let out = run.out();
    assert!(out.contains("33 111") && out.contains("/dev/pts/"), "{out}");
    drop(typed);
}

#[test]
fn the_guest_log_is_kept_after_the_sandbox_stopped() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench.eventually("the kernel has said something", || {
        bench
            .run(["logs", &id])
            .exits(0)
            .out()
            .contains("Linux version")
    });
    bench.run(["stop", &id]).exits(0);
    assert!(
        bench
            .run(["logs", &id])
            .exits(0)
            .out()
            .contains("Linux version")
    );
}
