//! What is kept of a run: its record, and a receipt that two verifiers believe.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mvm_vm_tests::{Bench, Value, sha256};

/// What the verifier in Python says.
fn python_says(arguments: &[&Path]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let said = Command::new(target.join("test-python/bin/python"))
        .arg(root.join("tests/verify/mvm_verify.py"))
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

fn predicate(receipt: &Path) -> Value {
    let envelope: Value = serde_json::from_slice(&fs::read(receipt).unwrap()).unwrap();
    let payload = STANDARD
        .decode(envelope["payload"].as_str().unwrap())
        .unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    statement["predicate"].clone()
}

#[test]
fn a_receipt_tells_what_a_run_did_and_both_verifiers_believe_it() {
    let bench = Bench::new();
    let canary = "canary-7c11d0";
    let receipt = bench.path().join("receipt.json");
    let file = receipt.to_str().unwrap();
    let script = format!("echo {canary}; cat; echo more >&2; exit 3");
    let run = bench.run_with_input(
        [
            "run",
            "--memory",
            "128M",
            "--json",
            "--receipt",
            file,
            "--",
            "sh",
            "-c",
            &script,
        ],
        b"input\n",
    );
    let result = run.exits(3).json();
    let said = predicate(&receipt);
    assert_eq!(said["run"], result["run_id"]);
    assert_eq!(said["exit"]["reason"], "exited");
    assert_eq!(said["exit"]["status"], 3);
    assert_eq!(said["launch_path"], "template");
    assert_eq!(said["isolation"], "emulated");
    assert_eq!(said["egress"]["allowed"], 0);
    let digest = |bytes: &[u8]| format!("sha256:{}", sha256(bytes));
    let stdout = format!("{canary}\ninput\n");
    assert_eq!(
        said["outputs"]["stdout"]["digest"],
        digest(stdout.as_bytes())
    );
    assert_eq!(said["outputs"]["stdout"]["bytes"], stdout.len());
    assert_eq!(said["outputs"]["stderr"]["digest"], digest(b"more\n"));
    let duration = said["duration_ms"].as_f64().unwrap();
    assert!((duration - result["duration_ms"].as_f64().unwrap()).abs() <= 1.0);
    assert!(!said["jail"].as_object().unwrap().is_empty());
    assert!(!said.to_string().contains(canary));

    let export = bench.path().join("exported");
    // The end of its sandbox is recorded when its user was told already.
    bench.eventually("the end of the sandbox is recorded", || {
        let tail = bench.run(["audit", "tail", "-n", "1"]).exits(0).out();
        tail.contains("sandbox-destroyed")
    });
    bench.run(["audit", "checkpoint"]).exits(0);
    bench
        .run(["audit", "export", export.to_str().unwrap()])
        .exits(0);
    let roots = export.join("trusted.json");
    assert_eq!(python_says(&[Path::new("receipt"), &receipt, &roots]), "ok");
    let log = [
        Path::new("log"),
        &export.join("log-000001.jsonl"),
        &roots,
        &export.join("log-000001.checkpoint"),
    ];
    assert_eq!(python_says(&log), "intact");
    let verified = bench.run(["receipt", "verify", file, "--json"]).exits(0);
    assert_eq!(verified.json()["audit_id"], result["audit_id"]);
    let shown = bench.run(["receipt", "show", file]).exits(0).out();
    assert!(
        shown.contains(result["run_id"].as_str().unwrap()),
        "{shown}"
    );

    // The log knows the run, by its identifier, and the digest of the receipt.
    let records = bench
        .run([
            "audit",
            "show",
            result["run_id"].as_str().unwrap(),
            "--json",
        ])
        .exits(0)
        .json();
    assert_eq!(records.as_array().unwrap().len(), 1);
    let event = &records[0]["event"];
    assert_eq!(event["kind"], "run-ended");
    assert_eq!(
        event["receipt_digest"],
        digest(&fs::read(&receipt).unwrap())
    );
    let log = fs::read_to_string(export.join("log-000001.jsonl")).unwrap();
    assert!(!log.contains(canary));
}

#[test]
fn a_receipt_that_was_changed_or_is_of_another_host_proves_nothing() {
    let bench = Bench::new();
    let receipt = bench.path().join("receipt.json");
    let file = receipt.to_str().unwrap();
    let run = [
        "run",
        "--memory",
        "128M",
        "--receipt",
        file,
        "--",
        "sleep",
        "0.05",
    ];
    bench.run(run).exits(0);
    // It is not written over.
    bench.run(run).refused_with(&["is there already"]);

    let key = bench.path().join("host.pem");
    let key = key.to_str().unwrap();
    bench.run(["key", "export", "--out", key]).exits(0);
    let other = Bench::unprepared();
    other
        .run(["receipt", "verify", file])
        .refused_with(&["unknown-key"]);
    other
        .run(["receipt", "verify", file, "--key", key])
        .exits(0);
    // A key that is replaced later is believed for what it signed before.
    bench.run(["key", "rotate"]).exits(0);
    bench.run(["receipt", "verify", file]).exits(0);

    let text = fs::read_to_string(&receipt).unwrap();
    let at = text.find("eyJ").unwrap() + 60;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    fs::write(&receipt, bytes).unwrap();
    bench
        .run(["receipt", "verify", file])
        .refused_with(&["signature"]);
}

#[test]
fn every_run_in_a_sandbox_is_recorded_under_its_identifier() {
    let bench = Bench::new();
    let id = bench.create(&["--memory", "128M"]);
    let run = |arguments: &[&str]| {
        let mut all = vec!["exec", "--json"];
        all.extend(arguments);
        bench.run(all)
    };
    let first = run(&[&id, "--", "true"]).exits(0).json();
    let second = run(&[&id, "--", "true"]).exits(0).json();
    assert_ne!(first["run_id"], second["run_id"]);
    assert_ne!(first["audit_id"], second["audit_id"]);

    let receipt = bench.path().join("receipt.json");
    let file = receipt.to_str().unwrap();
    let timeout = ["--timeout", "200ms", "--receipt", file];
    run(&[&timeout[..], &[&id, "--", "sleep", "30"]].concat()).exits(124);
    assert_eq!(predicate(&receipt)["exit"]["reason"], "timed-out");
    fs::remove_file(&receipt).unwrap();
    run(&["--receipt", file, &id, "--", "sh", "-c", "kill -9 $$"]).exits(128 + 9);
    assert_eq!(predicate(&receipt)["exit"]["reason"], "signalled");
    assert_eq!(predicate(&receipt)["exit"]["status"], 9);

    // Whoever follows a process later follows the same run.
    let started = run(&["-d", &id, "--", "sh", "-c", "sleep 0.3; echo done"]).exits(0);
    let started = started.json();
    let process = started["id"].to_string();
    bench.run(["exec", &id, "--attach", &process]).exits(0);
    let of_run = |id: &Value| {
        let show = ["audit", "show", id.as_str().unwrap(), "--json"];
        bench.run(show).exits(0).json().as_array().unwrap().len()
    };
    for json in [&first, &second, &started] {
        assert_eq!(of_run(&json["run_id"]), 1, "{json}");
    }
    bench
        .run(["exec", "-d", "--receipt", "elsewhere", &id, "--", "true"])
        .refused_with(&["beginning"]);
    bench.run(["destroy", &id]).exits(0);
    let kinds = bench.run(["audit", "show", &id, "--json"]).exits(0).json();
    let kinds: Vec<_> = kinds
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["event"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "plan-admitted");
    assert!(kinds.contains(&"sandbox-started"), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"sandbox-destroyed"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "run-ended").count(), 5);
}
