//! `compile` and `check` as a user types them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use mvm_contract::workload::Workload;

const GOOD: &str = "import mvm\n\nopen('was-run', 'w')\nmvm.workload(id='demo')\n\n\
    @mvm.app(name='a')\ndef a(x: int) -> int:\n    return x\n";
const BAD: &str = "import mvm\n\n@mvm.app(nmae='a')\ndef a(): ...\n";

/// Runs it in a directory, where it makes no state.
fn mvmctl(directory: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let home = directory.join("no-state");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mvmctl"))
        .args(arguments)
        .current_dir(directory)
        .env("MVM_HOME", &home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!home.exists(), "it made a state directory");
    assert!(!directory.join("was-run").exists(), "the file was run");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_declaration_is_compiled() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("app.py"), GOOD).unwrap();
    let printed = mvmctl(at, &["compile", "app.py"], b"");
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let workload = Workload::read(&printed.stdout).unwrap();
    assert_eq!(workload.write().unwrap(), printed.stdout, "not canonical");
    let digest = format!("{}\n", workload.digest().unwrap());

    for _ in 0..2 {
        let written = mvmctl(at, &["compile", "app.py", "--out", "build/one"], b"");
        assert_eq!(text(&written.stdout), digest);
        assert_eq!(
            fs::read(at.join("build/one/workload.json")).unwrap(),
            printed.stdout
        );
    }
    mvmctl(at, &["compile", "app.py", "--out", "one.tgz"], b"");
    mvmctl(
        at,
        &[
            "compile",
            "--from-ir",
            "build/one/workload.json",
            "--out",
            "two.tgz",
        ],
        b"",
    );
    let archive = fs::read(at.join("one.tgz")).unwrap();
    assert_eq!(archive, fs::read(at.join("two.tgz")).unwrap());
    assert!(!archive.is_empty());

    let piped = mvmctl(at, &["compile", "-"], GOOD.as_bytes());
    assert_eq!(piped.stdout, printed.stdout);
    let read = mvmctl(at, &["compile", "--from-ir", "-"], &printed.stdout);
    assert_eq!(read.stdout, printed.stdout);
}

#[test]
fn what_is_wrong_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("bad.py"), BAD).unwrap();
    fs::write(at.join("good.py"), GOOD).unwrap();
    fs::write(at.join("latin.py"), b"x = '\xe9'\n").unwrap();
    fs::write(at.join("file"), "").unwrap();

    let compiled = mvmctl(at, &["compile", "bad.py"], b"");
    assert_eq!(compiled.status.code(), Some(1));
    assert!(compiled.stdout.is_empty());
    assert!(
        text(&compiled.stderr).contains("bad.py:3:10"),
        "{}",
        text(&compiled.stderr)
    );

    let checked = mvmctl(at, &["check", "good.py", "bad.py"], b"");
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("error[E_UNKNOWN_ARGUMENT]"));
    assert_eq!(
        mvmctl(at, &["check", "good.py"], b"").status.code(),
        Some(0)
    );

    let lines = mvmctl(at, &["check", "--json", "good.py", "bad.py"], b"");
    let line: serde_json::Value = serde_json::from_slice(&lines.stdout).unwrap();
    assert_eq!(
        (&line["path"], &line["line"]),
        (&"bad.py".into(), &3.into())
    );
    let sarif = mvmctl(
        at,
        &["check", "--format", "sarif", "good.py", "bad.py"],
        b"",
    );
    let sarif: serde_json::Value = serde_json::from_slice(&sarif.stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(
        sarif["runs"][0]["results"][0]["ruleId"],
        "E_UNKNOWN_ARGUMENT"
    );

    for refused in [
        ["check", "latin.py"].as_slice(),
        &["check", "missing.py"],
        &["compile", "good.py", "--out", "file"],
    ] {
        let refused = mvmctl(at, refused, b"");
        assert_eq!(refused.status.code(), Some(125));
        assert!(text(&refused.stderr).starts_with("error: "));
    }
    let invalid = mvmctl(
        at,
        &["compile", "--from-ir", "-"],
        br#"{"version":1,"id":"a","apps":[]}"#,
    );
    assert_eq!(invalid.status.code(), Some(1));
    assert!(text(&invalid.stderr).contains("E_EMPTY_APPS"));
}

#[test]
fn lockfiles_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let source = GOOD.replace(
        "name='a'",
        "name='a', dependencies=mvm.python_deps(lockfile='requirements.txt')",
    );
    fs::write(at.join("app.py"), source).unwrap();
    let missing = mvmctl(at, &["check", "app.py"], b"");
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stdout).contains("E_LOCKFILE_NOT_FOUND"));

    fs::write(at.join("requirements.txt"), "# locked\nidna==3.10\n").unwrap();
    let unpinned = mvmctl(at, &["check", "app.py"], b"");
    assert_eq!(unpinned.status.code(), Some(1));
    assert!(text(&unpinned.stdout).contains("requirements.txt:2:1"));

    let hash = "0".repeat(64);
    let locked = format!("idna==3.10 --hash=sha256:{hash}\n");
    fs::write(at.join("requirements.txt"), locked).unwrap();
    assert_eq!(mvmctl(at, &["check", "app.py"], b"").status.code(), Some(0));
}
