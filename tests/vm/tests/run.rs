//! `mvmctl run`: one command in a sandbox of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use mvm_vm_tests::{Bench, noise, sha256};

#[test]
fn a_command_prints_and_succeeds() {
    let bench = Bench::new();
    let run = bench
        .run(["run", "--", "python3", "-c", "print(6*7)"])
        .exits(0);
    assert_eq!(run.out(), "42\n");
    assert_eq!(run.stderr, "");
}

#[test]
fn streams_stay_apart_and_the_exit_code_passes_through() {
    let bench = Bench::new();
    let run = bench
        .run(["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])
        .exits(7);
    assert_eq!(
        (run.out().as_str(), run.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn a_command_killed_by_a_signal_exits_with_128_and_the_signal() {
    let bench = Bench::new();
    bench
        .run(["run", "--", "sh", "-c", "kill -9 $$"])
        .exits(137);
}

#[test]
fn a_command_that_is_not_there_and_one_that_cannot_run_have_their_codes() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let run = bench.run(["exec", &id, "--", "no-such-command"]).exits(127);
    assert!(run.stderr.contains("no-such-command"), "{}", run.stderr);
    let run = bench.run(["exec", &id, "--", "/etc/passwd"]).exits(126);
    assert!(run.stderr.contains("/etc/passwd"), "{}", run.stderr);
}

#[test]
fn a_command_whose_time_is_up_is_gone_with_all_it_started() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    bench
        .run([
            "exec",
            "--timeout",
            "2s",
            &id,
            "--",
            "sh",
            "-c",
            "sleep 60 & sleep 60",
        ])
        .exits(124);
    // One that left its process group and session is caught as well.
    let daemon = "setsid sh -c 'sleep 61 & sleep 61' & sleep 60";
    bench
        .run(["exec", "--timeout", "1s", &id, "--", "sh", "-c", daemon])
        .exits(124);
    let search = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep '^sleep'; done; true";
    assert_eq!(bench.sh(&id, search).out(), "");
    bench
        .run([
            "run",
            "--timeout",
            "2s",
            "--",
            "sh",
            "-c",
            "sleep 60 & sleep 60",
        ])
        .exits(124);
}

#[test]
fn a_background_child_that_holds_the_output_does_not_hold_the_command() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let run = bench.sh(&id, "sleep 600 & echo done").exits(0);
    assert_eq!(run.out(), "done\n");
}

#[test]
fn sixty_four_mebibytes_pass_through_byte_for_byte() {
    let bench = Bench::new();
    let input = noise(64 << 20);
    let run = bench.run_with_input(["run", "--", "cat"], &input).exits(0);
    assert_eq!(sha256(&run.stdout), sha256(&input));
}

#[test]
fn environment_directory_and_user_are_as_asked() {
    let bench = Bench::new();
    let line = "echo $A; pwd; id -u; echo $HOME";
    let options = ["run", "-e", "A=x y=z", "-w", "/usr/lib", "-u", "nobody"];
    let run = bench
        .run(options.iter().chain(&["--", "sh", "-c", line]))
        .exits(0);
    let out = run.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["x y=z", "/usr/lib", "65534"]);
}

#[test]
fn a_directory_is_copied_in_before_the_command_runs() {
    let bench = Bench::new();
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(source.path().join("inner")).unwrap();
    std::fs::write(source.path().join("inner/a.txt"), "inside").unwrap();
    std::os::unix::fs::symlink("inner/a.txt", source.path().join("link")).unwrap();
    let copy = format!("{}:/work", source.path().display());
    let run = bench
        .run(["run", "--cp", &copy, "-w", "/work", "--", "cat", "link"])
        .exits(0);
    assert_eq!(run.out(), "inside");
}

#[test]
fn json_carries_the_whole_result() {
    let bench = Bench::new();
    let run = bench.run([
        "run",
        "--json",
        "--",
        "sh",
        "-c",
        "echo out; printf '\\377' >&2; exit 3",
    ]);
    let result = run.exits(3).json();
    assert_eq!(result["exit_code"], 3);
    assert_eq!(result["stdout"], "out\n");
    assert_eq!(result["stderr_base64"], "/w==");
    assert_eq!(result["timed_out"], false);
}

#[test]
fn eight_at_once_all_work() {
    let bench = Bench::new();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let line = format!("echo {number}; cat /proc/sys/kernel/random/uuid");
            bench
                .command(["run", "--memory", "128M", "--", "sh", "-c", &line])
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for (number, child) in children.into_iter().enumerate() {
        let run = mvm_vm_tests::finish(child).exits(0);
        let out = run.out();
        let mut lines = out.lines();
        assert_eq!(lines.next(), Some(number.to_string().as_str()));
        assert!(
            seen.insert(lines.next().unwrap().to_owned()),
            "two guests drew the same number"
        );
    }
}
