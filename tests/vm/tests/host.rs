//! What `mvmctl` says of the host.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use mvm_vm_tests::{Bench, Value};

fn checks(bench: &Bench) -> Vec<Value> {
    let run = bench.run(["doctor", "--json"]);
    serde_json::from_slice(&run.stdout).unwrap()
}

fn check<'a>(checks: &'a [Value], code: &str) -> &'a Value {
    checks
        .iter()
        .find(|check| check["code"] == code)
        .unwrap_or_else(|| panic!("no `{code}`"))
}

#[test]
fn a_prepared_host_is_described_whole() {
    let bench = Bench::new();
    bench.run(["doctor"]).exits(0);
    let checks = checks(&bench);
    for code in ["qemu", "kernel", "image", "mke2fs", "jail.seccomp"] {
        assert_eq!(check(&checks, code)["status"], "ok", "{code}");
    }
    for code in [
        "accelerator",
        "free_space",
        "jail.landlock",
        "jail.user_namespace",
        "jail.cgroup",
    ] {
        let check = check(&checks, code);
        assert!(
            check["found"]
                .as_str()
                .is_some_and(|found| !found.is_empty()),
            "{check}"
        );
        // What is not as it should be says why.
        assert!(
            check["status"] == "ok" || check["cause"].is_string(),
            "{check}"
        );
    }
}

#[test]
fn a_kvm_device_that_is_not_used_is_named_with_the_reason() {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let virtualizes = processor
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    if virtualizes || !Path::new("/dev/kvm").exists() {
        println!("skipped: this host has a KVM that works, or none at all");
        return;
    }
    let bench = Bench::new();
    let checks = checks(&bench);
    let accelerator = check(&checks, "accelerator");
    assert!(
        accelerator["found"].as_str().unwrap().starts_with("tcg"),
        "{accelerator}"
    );
    let cause = accelerator["cause"].as_str().unwrap();
    assert!(
        cause.contains("/dev/kvm") && cause.contains("vmx"),
        "{accelerator}"
    );
}

#[test]
fn an_unprepared_host_is_told_what_to_do() {
    let bench = Bench::unprepared();
    bench.run(["doctor"]).exits(125);
    let checks = checks(&bench);
    for code in ["kernel", "image"] {
        let check = check(&checks, code);
        assert_eq!(check["status"], "fail");
        assert!(
            check["remedy"].as_str().unwrap().contains("mvmctl setup"),
            "{check}"
        );
    }
}
