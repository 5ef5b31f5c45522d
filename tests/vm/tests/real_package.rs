//! Real input: the test suite of a published package, run by its own runner in a microVM.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{path::PathBuf, process::Command};

use mvm_vm_tests::{Bench, mvmctl_program};

#[test]
fn the_test_suite_of_a_published_package_passes_in_a_microvm() {
    let bench = Bench::new();
    let example =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/package-tests/run");
    let output = Command::new(example)
        .env("MVM_HOME", bench.path())
        .env("MVMCTL", mvmctl_program())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary = said.lines().find(|line| line.starts_with("Ran ")).unwrap();
    let tests: u32 = summary.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(tests > 2000, "{summary}");
    assert!(said.lines().any(|line| line.starts_with("OK")), "{said}");
}

#[test]
fn a_failing_test_suite_fails_outside_too() {
    let bench = Bench::new();
    let source = tempfile::tempdir().unwrap();
    let test = "import unittest\nclass T(unittest.TestCase):\n def test(self): self.fail('no')\n";
    std::fs::write(source.path().join("test_it.py"), test).unwrap();
    let copy = format!("{}:/work", source.path().display());
    let options = [
        "run", "--cp", &copy, "-w", "/work", "--", "python3", "-m", "unittest",
    ];
    let run = bench.run(options).exits(1);
    assert!(run.stderr.contains("FAILED (failures=1)"), "{}", run.stderr);
}
