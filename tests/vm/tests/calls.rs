//! Functions of workloads, called in microVMs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fs;

use mvm_vm_tests::Bench;
use serde_json::{Value, json};

const MODULE: &str = r#"
import os, sys, subprocess
from dataclasses import dataclass
import mvm

@dataclass
class Point:
    x: int
    y: int

@mvm.app(name="math", image=mvm.python_image())
def double(n: int) -> int:
    print("doubling", n, open("/tmp/begun").read().strip())
    subprocess.run(["echo", "from a child"])
    return n * 2

def shift(point: Point, by: int = 1) -> Point:
    return Point(point.x + by, point.y + by)

def fail(kind: str):
    if kind == "exit":
        os._exit(7)
    if kind == "sys":
        sys.exit(3)
    if kind == "hang":
        import time
        time.sleep(600)
    if kind == "large":
        return "x" * (9 << 20)
    if kind == "set":
        return {1}
    if kind == "result":
        return 5
    if kind == "mvm":
        return mvm.Sandbox.create()
    raise ValueError("on purpose")
"#;

fn function(name: &str, schema: Option<(Value, Value)>, parameters: &[&str]) -> Value {
    let mut function = json!({
        "kind": "function", "name": name, "language": "python", "module": "pkg.main", "function": name,
        "parameters": parameters,
    });
    if let Some((arguments, result)) = schema {
        function["arguments_schema"] = arguments;
        function["result_schema"] = result;
    }
    function
}

/// A directory with a workload of functions.
fn project() -> tempfile::TempDir {
    let object = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let point = object(
        json!({"x": {"type": "integer"}, "y": {"type": "integer"}}),
        json!(["x", "y"]),
    );
    let integer = json!({"type": "integer"});
    let mut double = function(
        "double",
        Some((object(json!({"n": integer}), json!(["n"])), integer.clone())),
        &["n"],
    );
    double["primary"] = json!(true);
    let shift = (
        object(json!({"point": point, "by": integer}), json!(["point"])),
        point,
    );
    let document = json!({
        "version": 1,
        "id": "functions",
        "apps": [{
            "name": "math",
            "image": {"kind": "source", "reference": "debian:python"},
            "source": {"kind": "local", "path": "src"},
            "entrypoints": [
                double,
                function("shift", Some(shift), &["point", "by"]),
                function("fail", Some((object(json!({"kind": {"type": "string"}}), json!(["kind"])), json!({"type": "string"}))), &["kind"]),
                function("missing", None, &[]),
            ],
            "hooks": {
                "before_start": [{"run": {"kind": "shell", "line": "echo begun > /tmp/begun"}}],
                "before_stop": [{"run": {"kind": "command", "command": ["rm", "/tmp/begun"]}}],
            },
        }],
    });
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("src/pkg")).unwrap();
    fs::write(folder.path().join("src/pkg/main.py"), MODULE).unwrap();
    fs::write(folder.path().join("workload.json"), document.to_string()).unwrap();
    folder
}

#[test]
fn a_function_is_called_in_a_fork_of_its_image() {
    let bench = Bench::new();
    let project = project();
    let from = project.path().to_str().unwrap();
    let run = bench
        .run(["invoke", "math", r#"{"n": 21}"#, "--from", from])
        .exits(0);
    assert_eq!(run.out(), "42\n");
    let written = "doubling 21 begun\nfrom a child\n";
    assert!(run.stderr.ends_with(written), "{}", run.stderr);

    let second = bench
        .run(["--json", "invoke", "math.double", "[4]", "--from", from])
        .exits(0)
        .json();
    assert_eq!(
        (&second["outcome"], &second["value"]),
        (&json!("returned"), &json!(8))
    );
    let phases = second["phases"].as_array().unwrap().iter();
    let names: Vec<&str> = phases
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"load state"), "it was forked: {names:?}");
    assert!(second["run_id"].as_str().unwrap().starts_with("run-"));
    assert!(second["audit_id"].is_string());

    let shifted = bench
        .run_with_input(
            ["invoke", "math.shift", "-", "--from", from],
            br#"{"point": {"x": 1, "y": 2}}"#,
        )
        .exits(0);
    assert_eq!(
        shifted.json(),
        json!({"x": 2, "y": 3}),
        "data classes, and a default"
    );
}

#[test]
fn what_a_function_raises_is_carried_over() {
    let bench = Bench::new();
    let project = project();
    let from = project.path().to_str().unwrap();
    let fail = |kind: &str| {
        let arguments = json!([kind]).to_string();
        bench.run(["--json", "invoke", "math.fail", &arguments, "--from", from])
    };
    let raised = fail("").exits(1).json();
    assert_eq!(raised["error"]["type"], "ValueError");
    assert_eq!(raised["error"]["message"], "on purpose");
    let traceback = raised["error"]["traceback"].as_str().unwrap();
    assert!(
        traceback.contains("/app/pkg/main.py") && !traceback.contains("runner.py"),
        "{traceback}"
    );
    for (kind, name) in [
        ("sys", "SystemExit"),
        ("large", "ResultTooLarge"),
        ("set", "ResultNotJson"),
        ("result", "ResultInvalid"),
        ("mvm", "RuntimeError"),
    ] {
        assert_eq!(fail(kind).exits(1).json()["error"]["type"], name, "{kind}");
    }
    let ended = fail("exit").exits(125);
    assert!(
        ended.stderr.contains("ended with 7 before it answered"),
        "{}",
        ended.stderr
    );
    let missing = bench
        .run(["invoke", "math.missing", "--from", from])
        .exits(1);
    assert!(
        missing.stderr.contains("FunctionNotFound"),
        "{}",
        missing.stderr
    );
}

#[test]
fn what_does_not_fit_is_refused_before_anything_starts() {
    let bench = Bench::new();
    let project = project();
    let from = project.path().to_str().unwrap();
    let refused = |target: &str, arguments: &str, words: &[&str]| {
        let run = bench
            .run(["invoke", target, arguments, "--from", from])
            .exits(125);
        for word in words.iter().chain(&["hint:"]) {
            assert!(
                run.stderr.contains(word),
                "{target} {arguments}: {}",
                run.stderr
            );
        }
    };
    refused("math.double", r#"{"n": "s3cret"}"#, &["at `/n`", "integer"]);
    refused("math.double", "{}", &["\"n\" is a required property"]);
    refused("math.double", "[1, 2]", &["2 are given, and it takes 1"]);
    refused(
        "math.double",
        "17",
        &["neither a JSON object nor a JSON array"],
    );
    refused(
        "math.triple",
        "{}",
        &["no function `triple`", "math.double"],
    );
    refused("maths", "{}", &["no app `maths`", "`math`"]);
    let log = bench.run(["--json", "audit", "tail"]);
    assert!(!log.out().contains("admitted"), "nothing was launched");
    let run = bench.run([
        "invoke",
        "math.double",
        r#"{"n": "s3cret"}"#,
        "--from",
        from,
    ]);
    assert!(
        !run.stderr.contains("s3cret"),
        "values are not repeated: {}",
        run.stderr
    );
}

#[test]
fn a_call_that_takes_too_long_is_ended_with_its_sandbox() {
    let bench = Bench::new();
    let project = project();
    let from = project.path().to_str().unwrap();
    let run = bench
        .run([
            "invoke",
            "math.fail",
            r#"["hang"]"#,
            "--timeout",
            "4s",
            "--from",
            from,
        ])
        .exits(125);
    assert!(
        run.stderr.contains("did not answer within 4s"),
        "{}",
        run.stderr
    );
    bench.assert_nothing_left();
}
