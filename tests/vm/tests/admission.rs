//! Nothing runs unadmitted: each way to a sandbox needs a plan, spends it, and is denied without
//! anything left behind.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf, process::Stdio};

use mvm_vm_tests::{Bench, Value, json};

/// The ways of launching.
const PATHS: [&str; 6] = ["boot", "template", "spare", "restore", "fork", "resume"];

/// What the audit log says, oldest first.
fn audited(bench: &Bench) -> Vec<Value> {
    let log = fs::read_to_string(bench.path().join("audit/log-000001.jsonl")).unwrap();
    let record = |line: &str| serde_json::from_str::<Value>(line).unwrap()["record"].take();
    log.lines().map(record).collect()
}

fn admitted(bench: &Bench) -> usize {
    let records = audited(bench);
    let is = |record: &&Value| record["event"]["kind"] == "plan-admitted";
    records.iter().filter(is).count()
}

fn set_policy(bench: &Bench, policy: &Value) {
    fs::write(bench.path().join("policy.json"), policy.to_string()).unwrap();
}

/// Only these ways of launching are left to any plan.
fn allow_all_but(bench: &Bench, path: &str) {
    let others: Vec<_> = PATHS.into_iter().filter(|other| *other != path).collect();
    set_policy(
        bench,
        &json!({ "version": 1, "bounds": { "launch_paths": others } }),
    );
}

/// Signs a plan of a small sandbox.
fn plan(bench: &Bench, name: &str, more: &[&str]) -> PathBuf {
    let file = bench.path().join(name);
    let mut arguments = vec!["plan", "create", "--memory", "128M", "--out"];
    arguments.push(file.to_str().unwrap());
    arguments.extend(more);
    bench.run(arguments).exits(0);
    file
}

#[test]
fn every_way_of_launching_is_admitted_by_name_and_recorded() {
    let bench = Bench::with_spares();
    let by = |id: &str| bench.inspect(id)["admission"]["launch_path"].clone();

    let id = bench
        .run_with(("MVM_TEMPLATES", "off"), ["create", "--memory", "128M"])
        .exits(0)
        .out();
    assert_eq!(by(id.trim()), "boot");
    bench.run(["destroy", id.trim()]).exits(0);

    let id = bench
        .run_with(("MVM_SPARES", "off"), ["create", "--memory", "128M"])
        .exits(0)
        .out();
    let id = id.trim();
    assert_eq!(by(id), "template");

    bench.run(["cold", id]).exits(0);
    bench.run(["resume", id]).exits(0);
    assert_eq!(by(id), "resume");
    bench
        .run(["snapshot", "create", id, "--name", "saved"])
        .exits(0);
    let restored = bench.run(["restore", "saved"]).exits(0).out();
    assert_eq!(by(restored.trim()), "restore");
    let forked = bench.run(["fork", id]).exits(0).out();
    assert_eq!(by(forked.trim()), "fork");

    bench
        .run(["pool", "set", "--memory", "128M", "--size", "1"])
        .exits(0);
    bench.eventually("a spare is ready", || {
        bench.run(["pool", "list", "--json"]).json()[0]["ready"] == 1
    });
    let claimed = bench.create(&["--memory", "128M"]);
    assert_eq!(by(&claimed), "spare");
    assert_eq!(admitted(&bench), PATHS.len());
    for record in audited(&bench) {
        let event = &record["event"];
        if event["kind"] == "plan-admitted" {
            assert_eq!(event["profile"], "standard");
            assert!(event["nonce"].as_str().unwrap().len() == 32, "{event}");
        }
    }
    for sandbox in [id, restored.trim(), forked.trim(), &claimed] {
        bench.run(["destroy", sandbox]).exits(0);
    }
    bench.run(["pool", "drain"]).exits(0);
}

#[test]
fn a_denied_launch_leaves_nothing_on_any_way() {
    let bench = Bench::with_spares();
    let id = bench
        .run_with(("MVM_SPARES", "off"), ["create", "--memory", "128M"])
        .exits(0)
        .out();
    let id = id.trim();
    bench
        .run(["snapshot", "create", id, "--name", "saved"])
        .exits(0);
    bench.run(["cold", id]).exits(0);
    bench
        .run(["pool", "set", "--memory", "128M", "--size", "1"])
        .exits(0);
    let ready = || bench.run(["pool", "list", "--json"]).json()[0]["ready"] == 1;
    bench.eventually("a spare is ready", ready);
    let before = (admitted(&bench), bench.entries("sandboxes").len());

    let create = ["create", "--memory", "128M"];
    let denied = ["A-059", "LaunchPathRefused"];
    allow_all_but(&bench, "boot");
    bench
        .run_with(("MVM_TEMPLATES", "off"), create)
        .refused_with(&denied);
    allow_all_but(&bench, "template");
    bench
        .run_with(("MVM_SPARES", "off"), create)
        .refused_with(&denied);
    allow_all_but(&bench, "spare");
    bench.run(create).refused_with(&denied);
    allow_all_but(&bench, "restore");
    bench.run(["restore", "saved"]).refused_with(&denied);
    allow_all_but(&bench, "resume");
    bench.run(["resume", id]).refused_with(&denied);
    allow_all_but(&bench, "fork");
    let forked = bench.run(["fork", "saved"]);
    assert!(
        forked.code != 0 && forked.stderr.contains("A-059"),
        "{forked:?}"
    );

    assert_eq!((admitted(&bench), bench.entries("sandboxes").len()), before);
    assert!(bench.entries("staging").is_empty());
    assert_eq!(bench.inspect(id)["state"], "cold");

    // What was denied has not been used up.
    set_policy(&bench, &json!({ "version": 1 }));
    assert!(ready());
    let claimed = bench.create(&["--memory", "128M"]);
    assert_eq!(bench.inspect(&claimed)["origin"]["from"], "spare");
    bench.run(["resume", id]).exits(0);
    bench.run(["destroy", id, &claimed]).exits(0);
    bench.run(["pool", "drain"]).exits(0);
}

#[test]
fn a_plan_is_launched_once_by_whoever_is_first() {
    let bench = Bench::new();
    let file = plan(&bench, "plan.json", &[]);
    let racers: Vec<_> = (0..2)
        .map(|_| {
            let mut run = bench.command(["run", "--plan"]);
            run.arg(&file).args(["--", "true"]);
            run.stdout(Stdio::piped()).stderr(Stdio::piped());
            run.spawn().unwrap()
        })
        .collect();
    let ends: Vec<_> = racers
        .into_iter()
        .map(|racer| racer.wait_with_output().unwrap())
        .collect();
    let won = ends.iter().filter(|end| end.status.success()).count();
    assert_eq!(won, 1, "{ends:?}");
    let lost = ends.iter().find(|end| !end.status.success()).unwrap();
    let said = String::from_utf8_lossy(&lost.stderr);
    assert!(said.contains("A-035") && said.contains("hint: "), "{said}");
    let mut again = vec!["run", "--plan"];
    again.push(file.to_str().unwrap());
    bench.run(again).refused_with(&["A-035"]);
    assert_eq!(admitted(&bench), 1);
}

#[test]
fn a_plan_that_was_changed_or_is_for_another_host_is_refused() {
    let bench = Bench::new();
    let file = plan(&bench, "plan.json", &["-e", "WORD=planned"]);
    let file = file.to_str().unwrap();
    let envelope = fs::read_to_string(file).unwrap();
    // The payload is base64: another of its digits is another plan.
    let at = envelope.find("eyJ").unwrap() + 40;
    let mut bytes = envelope.clone().into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let changed = bench.path().join("changed.json");
    fs::write(&changed, bytes).unwrap();
    bench
        .run(["run", "--plan", changed.to_str().unwrap()])
        .refused_with(&["A-011"]);

    let other = Bench::new();
    other
        .run(["run", "--plan", file, "-e", "WORD=planned"])
        .refused_with(&["A-006"]);
    let key = bench.path().join("host.pem");
    let key = key.to_str().unwrap();
    bench.run(["key", "export", "--out", key]).exits(0);
    other
        .run(["key", "trust", key, "--name", "ci", "--role", "plan"])
        .exits(0);
    other
        .run(["run", "--plan", file, "-e", "WORD=planned"])
        .refused_with(&["A-036"]);

    for wrong in [&["-e", "WORD=other"][..], &[]] {
        let mut arguments = vec!["run", "--plan", file];
        arguments.extend(wrong);
        arguments.extend(["--", "true"]);
        bench.run(arguments).refused_with(&["environment"]);
    }
    let run = bench.run([
        "run",
        "--plan",
        file,
        "-e",
        "WORD=planned",
        "--",
        "sh",
        "-c",
        "echo $WORD",
    ]);
    assert_eq!(run.exits(0).out(), "planned\n");
}

#[test]
fn production_refuses_what_is_mutable_or_ad_hoc_before_it_looks() {
    let bench = Bench::new();
    for image in [
        "debian:python",
        "oci-archive:/nowhere.tar",
        "oci:registry.example/a:latest",
    ] {
        bench
            .run([
                "run",
                "--profile",
                "production",
                "--image",
                image,
                "--",
                "true",
            ])
            .refused_with(&["A-056"]);
    }
    bench
        .run([
            "create",
            "--memory",
            "128M",
            "--profile",
            "restrictive",
            "--ttl",
            "1h",
            "-e",
            "A=b",
        ])
        .refused_with(&["A-058"]);
    bench
        .run([
            "run",
            "--memory",
            "128M",
            "--profile",
            "restrictive",
            "--",
            "true",
        ])
        .refused_with(&["A-052"]);
    let create = [
        "create",
        "--memory",
        "128M",
        "--ttl",
        "1h",
        "--profile",
        "restrictive",
    ];
    let id = bench.run(create).exits(0).out();
    bench
        .run(["exec", "-e", "A=b", id.trim(), "--", "true"])
        .refused_with(&["environment variables"]);
    bench.run(["destroy", id.trim()]).exits(0);
    assert_eq!(admitted(&bench), 1);
}

#[test]
fn production_runs_an_image_by_its_digest_where_the_host_lets_it_be_emulated() {
    let bench = Bench::new();
    let layout = bench.path().join("layouts/python");
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let image = format!("oci-layout:{}@{digest}", layout.display());
    let run = [
        "run",
        "--memory",
        "128M",
        "--profile",
        "production",
        "--image",
        &image,
        "--",
        "echo",
        "pinned",
    ];
    bench.run(run).refused_with(&["A-057", "emulated_profiles"]);
    set_policy(
        &bench,
        &json!({ "version": 1, "emulated_profiles": ["production"] }),
    );
    assert_eq!(bench.run(run).exits(0).out(), "pinned\n");
}

#[test]
fn limits_in_time_are_held_against_whoever_starts_a_command() {
    let bench = Bench::new();
    let bounds = json!({ "version": 1, "bounds": { "command_seconds": 1 } });
    set_policy(&bench, &bounds);
    let id = bench.create(&["--memory", "128M"]);
    let terms = bench.inspect(&id)["admission"]["commands"].clone();
    assert_eq!(terms["limit_seconds"], 1);
    for timeout in [&[][..], &["--timeout", "20s"]] {
        let mut arguments = vec!["exec", "--json"];
        arguments.extend(timeout);
        arguments.extend([&id, "--", "sleep", "30"]);
        let result = bench.run(arguments).exits(124).json();
        assert_eq!(result["timed_out"], true);
        assert!(result["duration_ms"].as_f64().unwrap() < 15_000.0);
    }
    bench
        .run(["exec", "--timeout", "300ms", &id, "--", "sleep", "30"])
        .exits(124);
    // It is so after a return from disk, too, though the policy has changed.
    bench.run(["cold", &id]).exits(0);
    set_policy(&bench, &json!({ "version": 1 }));
    bench.run(["resume", &id]).exits(0);
    let terms = bench.inspect(&id)["admission"]["commands"].clone();
    assert_eq!(terms["limit_seconds"], 1);
    bench.run(["exec", &id, "--", "sleep", "30"]).exits(124);
    bench.run(["destroy", &id]).exits(0);

    // A plan of its own, with more than the policy allows, and with limits that hold.
    let limited = |name: &str, limits: Value| {
        let file = plan(&bench, name, &[]);
        let file = file.to_str().unwrap().to_owned();
        let inspected = bench.run(["plan", "inspect", &file, "--json"]).exits(0);
        let mut inner = inspected.json()["plan"].take();
        inner["limits"] = limits;
        let unsigned = bench.path().join(format!("unsigned-{name}"));
        fs::write(&unsigned, inner.to_string()).unwrap();
        fs::remove_file(&file).unwrap();
        let sign = ["plan", "sign", unsigned.to_str().unwrap(), "--out", &file];
        bench.run(sign).exits(0);
        file
    };
    let both = json!({ "command_seconds": 1, "start_seconds": 30 });
    let file = limited("limited.json", both);
    bench
        .run(["run", "--plan", &file, "--", "sleep", "30"])
        .exits(124);
    set_policy(&bench, &bounds);
    let file = limited("long.json", json!({ "command_seconds": 2 }));
    bench
        .run(["run", "--plan", &file, "--", "true"])
        .refused_with(&["A-053"]);
}

#[test]
fn an_end_can_be_moved_within_what_was_admitted() {
    let bench = Bench::new();
    let id = bench.create(&["--memory", "128M", "--ttl", "1h"]);
    let end = |id: &str| bench.inspect(id)["expires_at_ms"].as_u64();
    let first = end(&id).unwrap();
    bench.run(["ttl", &id, "2h"]).exits(0);
    assert!(end(&id).unwrap() > first + 3_000_000);
    bench.run(["ttl", &id, "none"]).exits(0);
    assert_eq!(end(&id), None);
    bench.run(["cold", &id]).exits(0);
    bench.run(["ttl", &id, "1h"]).exits(0);
    assert!(end(&id).is_some());
    let bounds = json!({ "version": 1, "bounds": { "ttl_seconds": 600 } });
    set_policy(&bench, &bounds);
    bench.run(["ttl", &id, "1h"]).refused_with(&["600"]);
    set_policy(&bench, &json!({ "version": 1 }));
    bench.run(["resume", &id]).exits(0);
    set_policy(&bench, &bounds);
    bench.run(["ttl", &id, "none"]).refused_with(&["600"]);
    bench.run(["ttl", &id, "1s"]).exits(0);
    bench.eventually("its time is over", || bench.entries("sandboxes").is_empty());
}

#[test]
fn a_dry_run_tells_what_would_happen_and_spends_nothing() {
    let bench = Bench::new();
    let dry = bench.run(["run", "--memory", "128M", "--dry-run", "--", "true"]);
    let told = dry.exits(0).out();
    assert!(told.contains("template"));
    // Each field says what it does.
    for line in told.lines().skip(1) {
        assert!(
            line.split("  ").filter(|cell| !cell.is_empty()).count() >= 3,
            "{line}"
        );
    }
    set_policy(
        &bench,
        &json!({ "version": 1, "bounds": { "memory_mib": 64 } }),
    );
    bench
        .run(["run", "--memory", "128M", "--dry-run", "--", "true"])
        .refused_with(&["A-049"]);
    assert!(bench.entries("sandboxes").is_empty());
}

#[test]
fn nothing_that_is_private_is_in_what_is_kept_for_others() {
    let bench = Bench::new();
    let canary = "canary-4f1d2c";
    let variable = format!("SECRET={canary}-value");
    let id = bench.create(&["--memory", "128M", "-e", &variable]);
    let script = format!("echo {canary}-argument; cat; echo {canary}-error >&2");
    bench.sh(&id, &script).exits(0);
    let receipt = bench.path().join("receipt.json");
    let arguments = ["exec", "--receipt", receipt.to_str().unwrap(), &id, "--"];
    let script = format!("echo {canary}; env; echo {canary} > /root/file");
    bench
        .run([&arguments[..], &["sh", "-c", &script]].concat())
        .exits(0);
    // Nor in what is said of a command that cannot start.
    let missing = ["exec", &id, "--", "/missing", &format!("--token={canary}")];
    let missing = bench.run(missing).exits(127);
    assert!(!missing.stderr.contains(canary), "{}", missing.stderr);
    for log in ["guest.log", "machine.log"] {
        let log = bench.path().join("sandboxes").join(&id).join(log);
        let text = fs::read_to_string(log).unwrap();
        assert!(!text.contains(canary), "{text}");
    }
    bench.run(["destroy", &id]).exits(0);
    let file = plan(&bench, "plan.json", &["-e", &variable]);
    let refused = bench.run(["run", "--plan", file.to_str().unwrap(), "--", canary]);
    assert!(!refused.stderr.contains(canary), "{}", refused.stderr);
    // All that is left of it, wherever mvm wrote it; what is shared with other benches is links.
    let mut seen = 0;
    let mut folders = vec![bench.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).unwrap();
                let mut parts = bytes.windows(canary.len());
                let found = parts.any(|part| part == canary.as_bytes());
                assert!(!found, "{}", entry.path().display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen} files");
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let envelope: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let payload = STANDARD
        .decode(envelope["payload"].as_str().unwrap())
        .unwrap();
    let payload = String::from_utf8(payload).unwrap();
    assert!(
        payload.contains("SECRET") && !payload.contains(canary),
        "{payload}"
    );
}
