//! Every scenario of `tests/conformance/scenarios.json`, by the command line and by the Rust SDK, in
//! process and over HTTP.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::duplicate_mod,
    reason = "a test fails by panicking, and one text is run in process and over HTTP"
)]

mod cli;
mod rust;
mod rust_http;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use mvm::http::Client;
use mvm_vm_tests::{ApiServer, Bench, Value, json, mvmctl_program, sha256};

/// Scenarios that the Rust SDK cannot say.
const LEFT_OUT_OF_RUST: &[(&str, &str)] = &[(
    "network-is-refused-by-name",
    "what is not there yet has no method: the compiler refuses it",
)];

/// How a step ended: the code of its failure.
type Ended = Result<(), String>;

/// What a command made of itself, on any surface.
#[derive(Debug)]
struct Collected {
    exit_code: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Nothing where the surface does not tell.
    timed_out: Option<bool>,
    truncated: Option<bool>,
}

impl Collected {
    fn check(&self, expect: &Value) {
        let text = |bytes: &[u8]| json!(String::from_utf8_lossy(bytes));
        for (name, expected) in expect.as_object().into_iter().flatten() {
            let found = match name.as_str() {
                "exit_code" => json!(self.exit_code),
                "stdout" => text(&self.stdout),
                "stderr" => text(&self.stderr),
                "stdout_bytes" => json!(self.stdout.len()),
                "stdout_sha256" => json!(sha256(&self.stdout)),
                "timed_out" => match self.timed_out {
                    Some(timed_out) => json!(timed_out),
                    None => continue,
                },
                "truncated" => match self.truncated {
                    Some(truncated) => json!(truncated),
                    None => continue,
                },
                name => panic!("nothing is called `{name}`"),
            };
            assert_eq!(&found, expected, "{name} of {self:?}");
        }
    }
}

fn scenarios() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/scenarios.json");
    let list: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    list.as_array().unwrap().clone()
}

/// What a `write` step writes.
fn content(step: &Value) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    if let Some(text) = step["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(text) = step["base64"].as_str() {
        return STANDARD.decode(text).unwrap();
    }
    let byte = u8::try_from(step["repeat"]["byte"].as_u64().unwrap()).unwrap();
    vec![byte; usize::try_from(step["repeat"]["count"].as_u64().unwrap()).unwrap()]
}

fn check_content(bytes: &[u8], expect: &Value) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    for (name, expected) in expect.as_object().into_iter().flatten() {
        let found = match name.as_str() {
            "text" => json!(String::from_utf8_lossy(bytes)),
            "base64" => json!(STANDARD.encode(bytes)),
            "bytes" => json!(bytes.len()),
            "sha256" => json!(sha256(bytes)),
            name => panic!("nothing is called `{name}`"),
        };
        assert_eq!(&found, expected, "{name}");
    }
}

/// Appends to the file of results, if there is to be one.
fn note(surface: &str, scenario: &Value, passed: bool, left_out: Option<&str>) {
    let Some(path) = std::env::var_os("MVM_CONFORMANCE_RESULTS") else {
        return;
    };
    let line = json!({
        "surface": surface,
        "scenario": scenario["name"],
        "row": scenario["row"],
        "passed": passed,
        "left_out": left_out,
    });
    // One write, which no other surface's comes into: they run side by side.
    let line = format!("{line}\n");
    let file = fs::File::options()
        .append(true)
        .create(true)
        .open(PathBuf::from(path));
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

/// Runs every scenario and tells which failed.
fn run_all(surface: &str, left_out: &[(&str, &str)], mut run: impl FnMut(&[Value])) {
    let mut failed = Vec::new();
    for scenario in scenarios() {
        let name = scenario["name"].as_str().unwrap().to_owned();
        if let Some((_, reason)) = left_out.iter().find(|(left_out, _)| *left_out == name) {
            note(surface, &scenario, false, Some(reason));
            continue;
        }
        let steps = scenario["steps"].as_array().unwrap();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(steps)));
        note(surface, &scenario, ran.is_ok(), None);
        if ran.is_err() {
            eprintln!("failed: {name}");
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{surface}: {failed:?}");
}

#[test]
fn by_the_command_line() {
    let bench = Bench::new();
    run_all("cli", cli::LEFT_OUT, |steps| cli::run(&bench, steps));
}

/// In a process of its own, whose environment names the bench.
#[test]
fn by_the_rust_sdk() {
    let bench = Bench::new();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "in_this_process_by_the_rust_sdk",
            "--nocapture",
        ])
        .env("MVM_HOME", bench.path())
        .env("MVM_SUPERVISOR", mvmctl_program())
        .env("MVM_SPARES", "off")
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "`by_the_rust_sdk` runs it, in an environment of its own"]
fn in_this_process_by_the_rust_sdk() {
    run_all("rust", LEFT_OUT_OF_RUST, |steps| {
        let surface = rust::Surface;
        runtime().block_on(rust::scenarios::run(&surface, steps));
    });
}

#[test]
fn by_the_rust_sdk_over_http() {
    let bench = Bench::new();
    let server = ApiServer::on_socket(&bench);
    run_all("rust-http", LEFT_OUT_OF_RUST, |steps| {
        let client = Client::at(server.url(), None).unwrap();
        let surface = rust_http::Surface(client);
        runtime().block_on(rust_http::scenarios::run(&surface, steps));
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
