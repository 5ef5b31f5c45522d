//! Lockfiles: what has no hash is named with its line.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fmt::Write;

use mvm_compiler::{FileId, SourceFile, check_lockfile, render};
use mvm_contract::workload::{Dependencies, NodeTool, PythonTool};

const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const INTEGRITY: &str = "sha512-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

/// `CODE LINE MESSAGE` of all findings.
fn said(name: &str, text: &str, dependencies: &Dependencies) -> String {
    let files = [SourceFile {
        path: name.to_owned(),
        text: text.to_owned(),
    }];
    let found = check_lockfile(FileId(0), name, text, dependencies);
    let mut said = String::new();
    for line in render::json_lines(&files, &found).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        writeln!(
            said,
            "{} {} {}",
            text("code"),
            line["line"],
            text("message")
        )
        .unwrap();
    }
    said
}

fn python(tool: PythonTool) -> Dependencies {
    let lockfile = "x".to_owned();
    Dependencies::Python { lockfile, tool }
}

fn node(tool: NodeTool) -> Dependencies {
    let lockfile = "x".to_owned();
    Dependencies::Node { lockfile, tool }
}

#[test]
fn uv_lock() {
    let good = format!(
        r#"version = 1
requires-python = ">=3.12"

[[package]]
name = "project"
version = "0.1.0"
source = {{ virtual = "." }}
dependencies = [{{ name = "idna" }}]

[[package]]
name = "idna"
version = "3.10"
source = {{ registry = "https://index.example/simple" }}
sdist = {{ url = "https://files.example/idna.tar.gz", hash = "sha256:{SHA256}", size = 1 }}
wheels = [
    {{ url = "https://files.example/idna.whl", hash = "sha256:{SHA256}", size = 1 }},
]
"#
    );
    let uv = python(PythonTool::Uv);
    assert_eq!(said("uv.lock", &good, &uv), "");
    let bad = format!(
        "{good}\n[[package]]\nname = \"fork\"\nversion = \"1\"\nsource = {{ git = \"https://git.example/fork?rev=main#abc\" }}\n\n[[package]]\nname = \"near\"\nversion = \"1\"\nsource = {{ editable = \"../near\" }}\n"
    );
    assert_eq!(
        said("uv.lock", &bad, &uv),
        "E_UNPINNED_DEPS 20 `fork` has no hash of SHA-256 or better\n\
         E_UNPINNED_DEPS 25 `near` has no hash of SHA-256 or better\n"
    );
    let weak = good.replace("sha256:", "md5:");
    assert_eq!(
        said("uv.lock", &weak, &uv),
        "E_UNPINNED_DEPS 11 `idna` has no hash of SHA-256 or better\n"
    );
    for broken in ["version = 2", "version = ", "{}", &"a=[".repeat(10_000)] {
        assert!(said("uv.lock", broken, &uv).starts_with("E_UNREADABLE_LOCKFILE"));
    }
}

#[test]
fn requirements() {
    let good = format!(
        "# by pip-compile\n--index-url https://index.example/simple\n\nidna==3.10 \\\n    --hash=sha256:{SHA256} \\\n    --hash=sha256:{SHA256}\n    # via -r requirements.in\nanyio==4.0 ; python_version > \"3\" --hash=sha512:{SHA256}{SHA256}\n"
    );
    for tool in [PythonTool::Uv, PythonTool::PipTools] {
        assert_eq!(said("requirements.txt", &good, &python(tool)), "");
    }
    let bad = format!(
        "{good}certifi==1.0\nurllib3>=2 --hash=sha256:{SHA256}\n-e .\n-r more.txt\nsix==1 --hash=md5:abc # --hash=sha256:{SHA256}\nlast==1 \\"
    );
    assert_eq!(
        said("requirements.txt", &bad, &python(PythonTool::PipTools)),
        "E_UNPINNED_DEPS 9 `certifi==1.0` has no hash of SHA-256 or better\n\
         E_UNPINNED_DEPS 10 `urllib3>=2` has no hash of SHA-256 or better\n\
         E_UNPINNED_DEPS 11 `-e` has no hash of SHA-256 or better\n\
         E_UNPINNED_DEPS 12 `-r` has no hash of SHA-256 or better\n\
         E_UNPINNED_DEPS 13 `six==1` has no hash of SHA-256 or better\n\
         E_UNPINNED_DEPS 14 `last==1` has no hash of SHA-256 or better\n"
    );
}

#[test]
fn package_lock() {
    let lock = |extra: &str| {
        format!(
            r#"{{
  "lockfileVersion": 3,
  "packages": {{
    "": {{"name": "project"}},
    "packages/own": {{"version": "1.0.0"}},
    "node_modules/own": {{"resolved": "packages/own", "link": true}},
    "node_modules/left": {{"version": "1.0.0", "integrity": "{INTEGRITY}"}},
    "node_modules/left/node_modules/in": {{"version": "1.0.0", "inBundle": true}}{extra}
  }}
}}"#
        )
    };
    let npm = node(NodeTool::Npm);
    assert_eq!(said("package-lock.json", &lock(""), &npm), "");
    let extra = r#",
    "node_modules/git": {"resolved": "git+ssh://git.example/x.git#abc"},
    "node_modules/old": {"integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="}"#;
    assert_eq!(
        said("package-lock.json", &lock(extra), &npm),
        "E_UNPINNED_DEPS 9 `node_modules/git` has no hash of SHA-256 or better\n\
         E_UNPINNED_DEPS 10 `node_modules/old` has no hash of SHA-256 or better\n"
    );
    for broken in [
        "",
        "{",
        "{}",
        r#"{"lockfileVersion": 1}"#,
        r#"{"lockfileVersion": 3}"#,
        &"[".repeat(100_000),
    ] {
        assert!(said("package-lock.json", broken, &npm).starts_with("E_UNREADABLE_LOCKFILE"));
    }
}

#[test]
fn pnpm_lock() {
    let good = format!(
        "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      left:\n        specifier: ^1\n        version: 1.0.0\n\npackages:\n\n  left@1.0.0:\n    resolution: {{integrity: {INTEGRITY}}}\n    engines: {{node: '>=18'}}\n\n  '@a/b@1.0.0':\n    resolution:\n      integrity: {INTEGRITY}\n\nsnapshots:\n\n  left@1.0.0: {{}}\n"
    );
    let pnpm = node(NodeTool::Pnpm);
    assert_eq!(said("pnpm-lock.yaml", &good, &pnpm), "");
    let bad = good.replace(
        "\nsnapshots:",
        "\n  fork@https://git.example/tar/abc:\n    resolution: {tarball: https://git.example/tar/abc}\n    version: 1.0.0\n\nsnapshots:",
    );
    assert_eq!(
        said("pnpm-lock.yaml", &bad, &pnpm),
        "E_UNPINNED_DEPS 21 `fork@https://git.example/tar/abc` has no hash of SHA-256 or better\n"
    );
    assert!(said("pnpm-lock.yaml", "packages:\n", &pnpm).starts_with("E_UNREADABLE_LOCKFILE"));
    let odd = good.replace(
        "  left@1.0.0:\n    resolution",
        "  {left@1.0.0: {a: 1}}\n    resolution",
    );
    assert!(said("pnpm-lock.yaml", &odd, &pnpm).starts_with("E_UNREADABLE_LOCKFILE 13"));
}

#[test]
fn yarn_lock() {
    let yarn = node(NodeTool::Yarn);
    let first = format!(
        "# yarn lockfile v1\n\n\nleft@^1:\n  version \"1.0.0\"\n  resolved \"https://index.example/left.tgz\"\n  integrity {INTEGRITY}\n\n\"@a/b@1\", \"@a/b@^1\":\n  version \"1.0.0\"\n"
    );
    assert_eq!(
        said("yarn.lock", &first, &yarn),
        "E_UNPINNED_DEPS 9 `@a/b@1\", \"@a/b@^1` has no hash of SHA-256 or better\n"
    );
    let later = format!(
        "__metadata:\n  version: 8\n\n\"left@npm:^1\":\n  version: 1.0.0\n  resolution: \"left@npm:1.0.0\"\n  checksum: 10c0/{SHA256}{SHA256}\n\n\"project@workspace:.\":\n  resolution: \"project@workspace:.\"\n\n\"fork@https://git.example/x\":\n  resolution: \"fork@https://git.example/x#commit=abc\"\n"
    );
    assert_eq!(
        said("yarn.lock", &later, &yarn),
        "E_UNPINNED_DEPS 12 `fork@https://git.example/x` has no hash of SHA-256 or better\n"
    );
    assert!(said("yarn.lock", "left@1:\n", &yarn).starts_with("E_UNREADABLE_LOCKFILE"));
}
