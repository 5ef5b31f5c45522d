//! Keys, plans, policies and the audit log from the command line. No microVM is started, but where
//! a plan is launched.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use mvm_vm_tests::{Bench, Value, json};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_host_signer_is_private_and_made_once() {
    let bench = Bench::unprepared();
    let first = bench.run(["key", "init"]).exits(0).out();
    assert_eq!(bench.run(["key", "init"]).exits(0).out(), first);
    let mode = fs::metadata(bench.path().join("keys/host.key")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let listed = bench.run(["key", "list", "--json"]).exits(0).json();
    assert_eq!(listed[0]["name"], "host");
    let pem = bench.run(["key", "export"]).exits(0).out();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"), "{pem}");
    assert!(!pem.contains("PRIVATE"));
}

#[test]
fn a_key_is_trusted_revoked_and_recorded() {
    let bench = Bench::unprepared();
    let other = Bench::unprepared();
    let pem = bench.path().join("ci.pem");
    other.run(["key", "export", "--out", text(&pem)]).exits(0);
    let trust = ["key", "trust", text(&pem), "--name", "ci", "--role", "plan"];
    let id = bench.run(trust).exits(0).out();
    // One key has one name.
    bench.run(trust).refused_with(&["ci"]);
    assert!(bench.run(["key", "list"]).exits(0).out().contains("valid"));
    assert_eq!(bench.run(["key", "revoke", "ci"]).exits(0).out(), id);
    assert!(
        bench
            .run(["key", "list"])
            .exits(0)
            .out()
            .contains("revoked")
    );
    bench
        .run(["key", "revoke", "nobody"])
        .refused_with(&["nobody", "key list"]);
    bench
        .run(["key", "revoke", "host"])
        .refused_with(&["rotate"]);
    let before = bench.run(["key", "init"]).exits(0).out();
    let after = bench.run(["key", "rotate"]).exits(0).out();
    assert_ne!(before, after);

    let kinds: Vec<_> = records(&bench)
        .iter()
        .map(|record| record["event"]["kind"].as_str().unwrap().to_owned())
        .collect();
    let expected = ["log-opened", "key-trusted", "key-revoked", "key-trusted"];
    assert_eq!(kinds, expected);
    bench.run(["audit", "checkpoint"]).exits(0);
    bench.run(["audit", "verify"]).exits(0);

    let garbage = bench.path().join("garbage.pem");
    fs::write(&garbage, "not a key").unwrap();
    let trust = [
        "key",
        "trust",
        text(&garbage),
        "--name",
        "x",
        "--role",
        "plan",
    ];
    bench.run(trust).refused_with(&["garbage.pem"]);
}

fn records(bench: &Bench) -> Vec<Value> {
    let tail = bench
        .run(["audit", "tail", "-n", "1000", "--json"])
        .exits(0);
    tail.json().as_array().unwrap().clone()
}

#[test]
fn each_damage_of_a_log_has_its_own_exit_code() {
    let bench = Bench::unprepared();
    bench
        .run(["audit", "verify"])
        .refused_with(&["no audit log"]);
    for _ in 0..3 {
        bench.run(["key", "rotate"]).exits(0);
    }
    bench.run(["audit", "verify"]).exits(17);
    let kept = bench.path().join("kept.note");
    let note = bench.run(["audit", "checkpoint"]).exits(0).stdout;
    fs::write(&kept, note).unwrap();
    assert!(
        bench
            .run(["audit", "verify"])
            .exits(0)
            .out()
            .contains("intact: 4")
    );

    let path = bench.path().join("audit/log-000001.jsonl");
    let log = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = log.split_inclusive('\n').collect();
    let damaged = |name: &str, lines: &[&str], code: i32| {
        let file = bench.path().join(name);
        fs::write(&file, lines.concat()).unwrap();
        let verify = [
            "audit",
            "verify",
            text(&file),
            "--checkpoint",
            text(&kept),
            "--json",
        ];
        let verdict = bench.run(verify).exits(code).json();
        assert_eq!(verdict["verdict"], name, "{verdict}");
    };
    let edited = lines[1].replace("key-trusted", "key-revoked");
    damaged("intact", &lines, 0);
    damaged("edited", &[lines[0], &edited, lines[2], lines[3]], 10);
    damaged("reordered", &[lines[0], lines[2], lines[1], lines[3]], 13);
    damaged("removed", &[lines[0], lines[2], lines[3]], 14);
    damaged("truncated", &lines[..2], 16);

    // Another host's log, and another host's checkpoint.
    let other = Bench::unprepared();
    other.run(["key", "rotate"]).exits(0);
    let foreign = other.path().join("audit/log-000001.jsonl");
    bench.run(["audit", "verify", text(&foreign)]).exits(11);
    other.run(["audit", "checkpoint"]).exits(0);
    let note = other.path().join("audit/log-000001.checkpoint");
    bench
        .run(["audit", "verify", text(&path), "--checkpoint", text(&note)])
        .exits(15);

    // A record that was signed twice for one place.
    let mut forked = lines.clone();
    let again = fs::read_to_string(&path).unwrap();
    fs::remove_dir_all(bench.path().join("audit")).unwrap();
    bench.run(["key", "rotate"]).exits(0);
    let second = fs::read_to_string(&path).unwrap();
    forked.push(second.split_inclusive('\n').next().unwrap());
    damaged("forked", &forked, 12);
    assert_ne!(again, second);
}

#[test]
fn a_log_is_rotated_shown_to_a_witness_and_verified_as_a_whole() {
    let bench = Bench::unprepared();
    bench.run(["key", "rotate"]).exits(0);
    let kept = bench.path().join("witness.notes");
    let heard = bench.path().join("heard");
    let command = format!("cat > {}", text(&heard));
    let note = bench
        .run([
            "audit",
            "rotate",
            "--witness",
            text(&kept),
            "--witness-command",
            &command,
        ])
        .exits(0)
        .stdout;
    assert_eq!(fs::read(&kept).unwrap(), note);
    assert_eq!(fs::read(&heard).unwrap(), note);
    bench.run(["key", "rotate"]).exits(0);
    bench.run(["audit", "checkpoint"]).exits(0);
    let verified = bench.run(["audit", "verify"]).exits(0).out();
    assert!(verified.contains("after 3 records"), "{verified}");
    // The checkpoint that the witness kept is one of the first part.
    bench
        .run(["audit", "verify", "--checkpoint", text(&kept)])
        .exits(0);
    bench
        .run(["audit", "checkpoint", "--witness-command", "exit 3"])
        .refused_with(&["exit 3", "witness"]);

    // What is taken off the first part shows, and so does a part that is missing.
    let first = bench.path().join("audit/log-000001.jsonl");
    let whole = fs::read_to_string(&first).unwrap();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    fs::write(&first, lines[..2].concat()).unwrap();
    bench.run(["audit", "verify"]).exits(16);
    fs::write(&first, &whole).unwrap();
    bench.run(["audit", "rotate"]).exits(0);
    bench.run(["key", "rotate"]).exits(0);
    fs::remove_file(bench.path().join("audit/log-000002.jsonl")).unwrap();
    bench.run(["audit", "verify"]).exits(14);
}

#[test]
fn plans_are_made_signed_elsewhere_compared_and_launched() {
    let bench = Bench::new();
    let file = |name: &str| bench.path().join(name);
    let create = |name: &str, more: &[&str]| {
        let path = file(name);
        let mut arguments = vec!["plan", "create", "--memory", "128M", "--out", text(&path)];
        arguments.extend(more);
        bench.run(arguments).exits(0);
        path.clone()
    };
    let one = create("one.json", &[]);
    let other = create("other.json", &["--ttl", "1h"]);
    let verified = bench.run(["plan", "verify", text(&one)]).exits(0).out();
    assert!(verified.contains("signed by `host`"), "{verified}");
    let inspected = bench
        .run(["plan", "inspect", text(&one), "--json"])
        .exits(0);
    assert_eq!(inspected.json()["plan"]["resources"]["memory_mib"], 128);
    let differs = bench
        .run(["plan", "diff", text(&one), text(&other)])
        .exits(1);
    assert!(differs.out().contains("ttl_seconds"));
    bench.run(["plan", "diff", text(&one), text(&one)]).exits(0);

    // Signed by standard tools with a key that this host was told to believe.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("test-python/bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/verify/sign_plan.py");
    let seed = "11".repeat(32);
    let public = "
import sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[1])).public_key()
print(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())";
    let pem = Command::new(&python)
        .args(["-c", public, &seed])
        .output()
        .unwrap();
    fs::write(file("ci.pem"), pem.stdout).unwrap();
    let (ci, plan) = (file("ci.pem"), file("plan-of-ci.json"));
    for library in ["cryptography", "securesystemslib"] {
        let unsigned = create(&format!("unsigned-{library}.json"), &[]);
        let mut plan_json = bench
            .run(["plan", "inspect", text(&unsigned), "--json"])
            .exits(0)
            .json()["plan"]
            .take();
        plan_json["principal"] = json!("ci@example.org");
        let unsigned = file("plan.json");
        fs::write(&unsigned, plan_json.to_string()).unwrap();
        let signed = Command::new(&python)
            .args([text(&script), library, &seed])
            .stdin(fs::File::open(&unsigned).unwrap())
            .output()
            .unwrap();
        fs::write(&plan, signed.stdout).unwrap();
        let run = ["run", "--plan", text(&plan), "--", "echo", "planned"];
        if library == "cryptography" {
            bench.run(run).refused_with(&["A-006"]);
            let trust = ["key", "trust", text(&ci), "--name", "ci", "--role", "plan"];
            bench.run(trust).exits(0);
        }
        assert_eq!(bench.run(run).exits(0).out(), "planned\n", "{library}");
        bench.run(run).refused_with(&["A-035"]);
    }
    bench.run(["key", "revoke", "ci"]).exits(0);
    bench
        .run(["plan", "verify", text(&plan)])
        .refused_with(&["A-0"]);
}

#[test]
fn policies_are_shown_explained_and_checked() {
    let bench = Bench::unprepared();
    let shown = bench.run(["policy", "show"]).exits(0).json();
    assert_eq!(shown["version"], 1);
    let policy = json!({ "version": 1, "bounds": { "memory_mib": 512 } });
    fs::write(bench.path().join("policy.json"), policy.to_string()).unwrap();
    let explained = bench
        .run(["policy", "explain", "production"])
        .exits(0)
        .out();
    assert!(explained.contains("512") && explained.contains("host policy"));
    assert!(explained.contains("profile"));
    let wrong = bench.path().join("wrong.json");
    fs::write(&wrong, r#"{"version":1,"bounds":{"memory":512}}"#).unwrap();
    bench
        .run(["policy", "validate", text(&wrong)])
        .refused_with(&["memory"]);
    fs::write(bench.path().join("policy.json"), "{").unwrap();
    bench.run(["policy", "show"]).refused_with(&["policy.json"]);
}
