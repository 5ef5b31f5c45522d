//! Workloads: built, and kept up, from Workload IR.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mvm_vm_tests::{Bench, kill};
use serde_json::{Value, json};

/// A directory with a workload and its source.
struct Project(tempfile::TempDir);

impl Project {
    fn new(workload: &Value, files: &[(&str, &str)]) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.write("workload.json", &workload.to_string());
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

fn command_app(name: &str, command: &[&str]) -> Value {
    json!({
        "name": name,
        "image": {"kind": "source", "reference": "debian:python"},
        "entrypoints": [{"kind": "command", "name": "main", "command": command, "primary": true}],
    })
}

fn workload(id: &str, apps: &[Value]) -> Value {
    json!({"version": 1, "id": id, "apps": apps})
}

fn build(bench: &Bench, project: &Project) -> Value {
    let built = bench
        .run(["--json", "build", project.path()])
        .exits(0)
        .json();
    built[0].clone()
}

#[test]
fn the_same_build_in_two_directories_is_the_same_image_with_its_provenance() {
    let mut app = command_app("hello", &["python3", "main.py"]);
    app["source"] = json!({"kind": "local", "path": "src", "exclude": ["secret.txt"]});
    app["environment"] = json!({"GREETING": {"kind": "literal", "value": "hi"}});
    app["files"] =
        json!([{"path": "/etc/note", "content_base64": STANDARD.encode("noted"), "mode": 0o600}]);
    app["hooks"] = json!({"before_build": [
        {"run": {"kind": "shell", "line": "echo \"$GREETING from a hook\" > /opt/made; echo x > /tmp/gone"}},
    ]});
    let document = workload("demo", &[app]);
    let files = [
        (
            "src/main.py",
            "import os; print(os.environ['GREETING'], open('/opt/made').read(), end='')",
        ),
        ("src/secret.txt", "not for the image"),
        ("other/file", "not of the source"),
    ];
    let bench = Bench::with_own_templates();
    let built = build(&bench, &Project::new(&document, &files));
    assert_eq!(built["reused"], json!(false));

    let elsewhere = Project::new(&document, &files);
    let again = build(&bench, &elsewhere);
    assert_eq!(again["reused"], json!(true));
    // Nothing of the first build is there any more, but its image in the store.
    fs::remove_dir_all(bench.path().join("builds")).unwrap();
    let anew = build(&bench, &elsewhere);
    assert_eq!(anew["reused"], json!(false));
    for field in ["image_digest", "manifest_digest", "workload_digest"] {
        assert_eq!(built[field], anew[field], "{field}");
    }

    let image = anew["image"].as_str().unwrap();
    bench
        .run([
            "run",
            "--image",
            image,
            "--profile",
            "standard",
            "--",
            "sh",
            "-c",
            "cat /opt/made /etc/note; ls /app /tmp; stat -c %a /etc/note; pwd",
        ])
        .exits(0);
    let run = bench
        .run(["run", "--image", image, "-e", "GREETING=hi", "--"])
        .exits(0);
    assert_eq!(
        run.out(),
        "hi hi from a hook\n",
        "the app's own command, in the app's directory"
    );
    let run = bench
        .run([
            "run",
            "--image",
            image,
            "--",
            "sh",
            "-c",
            "ls /app /tmp; cat /etc/note",
        ])
        .exits(0);
    assert_eq!(run.out(), "/app:\nmain.py\n\n/tmp:\nnoted");

    let directory = PathBuf::from(anew["directory"].as_str().unwrap());
    let envelope: Value =
        serde_json::from_slice(&fs::read(directory.join("provenance.json")).unwrap()).unwrap();
    let statement = STANDARD
        .decode(envelope["payload"].as_str().unwrap())
        .unwrap();
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    let subject = statement["subject"][0]["digest"]["sha256"]
        .as_str()
        .unwrap();
    assert_eq!(format!("sha256:{subject}"), anew["image_digest"]);
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let template: Value =
        serde_json::from_slice(&fs::read(directory.join("plan-template.json")).unwrap()).unwrap();
    assert_eq!(template["spec"]["image"], anew["image"]);
    let mut left: Vec<String> = fs::read_dir(bench.path().join("builds"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let kept = directory.file_name().unwrap().to_str().unwrap();
    assert_eq!(left, [kept, "keys", "lock"], "nothing unfinished is left");
}

#[test]
fn a_change_of_any_input_is_another_image() {
    let document = workload(
        "demo",
        &[{
            let mut app = command_app("hello", &["cat", "a"]);
            app["source"] = json!({"kind": "local", "path": "."});
            app
        }],
    );
    let bench = Bench::new();
    let project = Project::new(&document, &[("a", "1")]);
    let first = build(&bench, &project);
    project.write("a", "2");
    let second = build(&bench, &project);
    assert_ne!(first["manifest_digest"], second["manifest_digest"]);
    assert_eq!(second["reused"], json!(false));
    project.write("a", "1");
    let third = build(&bench, &project);
    assert_eq!(third["manifest_digest"], first["manifest_digest"]);
    assert_eq!(third["reused"], json!(true));
}

#[test]
fn what_is_not_enforced_is_refused_by_name() {
    let bench = Bench::new();
    let cases: [(&str, Value); 4] = [
        (
            "network",
            json!({"mode": "grants", "egress": [{"host": "a.example", "port": 443, "protocol": "tls"}]}),
        ),
        (
            "mounts",
            json!([{"source": {"kind": "tmpfs", "size_mib": 1}, "target": "/data"}]),
        ),
        (
            "dependencies",
            json!({"kind": "python", "lockfile": "uv.lock", "tool": "uv"}),
        ),
        (
            "environment",
            json!({"T": {"kind": "secret", "name": "t", "hosts": ["a.example"]}}),
        ),
    ];
    for (field, value) in cases {
        let mut app = command_app("hello", &["true"]);
        app[field] = value;
        let project = Project::new(&workload("demo", &[app]), &[]);
        for verb in ["build", "up"] {
            let run = bench.run([verb, project.path()]).exits(125);
            assert!(run.stderr.contains("hint:"), "{field}: {}", run.stderr);
            let named = run.stderr.contains(&format!("`{field}`")) || run.stderr.contains(field);
            assert!(named, "{verb} {field}: {}", run.stderr);
        }
    }
    let project = Project::new(&json!({"version": 1, "id": "Demo", "apps": []}), &[]);
    let run = bench.run(["build", project.path()]).exits(125);
    assert!(run.stderr.contains("E_INVALID_ID at /id"), "{}", run.stderr);
    assert!(
        run.stderr.contains("E_EMPTY_APPS at /apps"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_image_without_a_version_is_built_and_its_packages_are_those_of_the_catalog() {
    let bench = Bench::new();
    let project = tempfile::tempdir().unwrap();
    let declare = |packages: &str| {
        let text = format!(
            "import mvm\n\nmvm.workload(id=\"packages\")\n\nmvm.app(\n    name=\"a\",\n    \
             image=mvm.python_image(packages=[{packages}]),\n    \
             entrypoint=mvm.entrypoint([\"ps\", \"-o\", \"comm=\", \"1\"]),\n)\n"
        );
        fs::write(project.path().join("app.py"), text).unwrap();
        bench.run([
            "--json".as_ref(),
            "build".as_ref(),
            project.path().as_os_str(),
        ])
    };
    let built = declare("\"procps\"").exits(0).json();
    let image = built[0]["image"].as_str().unwrap();
    let run = bench.run(["run", "--image", image, "--"]).exits(0);
    assert_eq!(run.out(), "init\n", "`ps` is there");
    declare("").exits(0);

    let refused = declare("\"procps\", \"git\"").exits(125);
    for word in ["`debian:python` has no git", "catalog.toml"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    let mut app = command_app("hello", &["true"]);
    app["image"] = json!({"kind": "nix_packages", "packages": ["hello"]});
    let project = Project::new(&workload("demo", &[app]), &[]);
    let refused = bench.run(["build", project.path()]);
    refused.refused_with(&["no flake of Nix packages", "catalog.toml"]);
}

#[test]
fn a_hook_of_the_build_that_fails_leaves_nothing() {
    let bench = Bench::new();
    let mut app = command_app("hello", &["true"]);
    app["hooks"] = json!({"before_build": [
        {"run": {"kind": "command", "command": ["true"]}},
        {"run": {"kind": "shell", "line": "echo it broke >&2; exit 3"}},
    ]});
    let project = Project::new(&workload("demo", &[app]), &[]);
    let run = bench.run(["build", project.path()]).exits(125);
    assert!(
        run.stderr.contains("hook 2 of `before_build` ended with 3"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("it broke"), "{}", run.stderr);
    let left = bench.entries("builds");
    assert_eq!(left.len(), 2, "the keys and the lock: {left:?}");
}

/// What `mvmctl ps` says of an app.
fn state(bench: &Bench, app: &str) -> Value {
    let services = bench.run(["--json", "ps"]).exits(0).json();
    services[0]["apps"][app].clone()
}

const SERVER: &str = "
import os, pathlib, sys, time
count = pathlib.Path('/tmp/up')
print('hello', os.environ['GREETING'], open('/tmp/begun').read().strip(), flush=True)
count.write_text('1')
while True:
    if pathlib.Path('/tmp/fail').exists():
        sys.exit(3)
    time.sleep(0.05)
";

fn server() -> Value {
    let mut app = command_app("web", &["python3", "server.py"]);
    app["source"] = json!({"kind": "local", "path": "."});
    app["environment"] = json!({"GREETING": {"kind": "literal", "value": "hi"}});
    app["restart"] = json!("on-failure");
    app["health_check"] = json!({"command": ["test", "-f", "/tmp/up"], "interval_seconds": 1, "start_period_seconds": 20});
    app["hooks"] = json!({
        "before_start": [{"run": {"kind": "shell", "line": "echo begun > /tmp/begun"}}],
        "after_start": [{"run": {"kind": "shell", "line": "echo after > /tmp/after"}}],
        "before_stop": [{"run": {"kind": "shell", "line": "test -f /tmp/after && touch /tmp/fail"}}],
    });
    app
}

#[test]
fn a_workload_is_kept_up_in_its_order_and_goes_with_its_keeper() {
    let bench = Bench::new();
    let mut worker = command_app("worker", &["sh", "-c", "echo working; exec sleep 600"]);
    worker["depends_on"] = json!(["web"]);
    let project = Project::new(
        &workload("demo", &[worker, server()]),
        &[("server.py", SERVER)],
    );
    bench.run(["up", "--detach", project.path()]).exits(0);
    let web = state(&bench, "web");
    assert_eq!(
        (&web["status"], &web["health"]),
        (&json!("running"), &json!("healthy"))
    );
    let worker = state(&bench, "worker");
    assert_eq!(
        (&worker["status"], &worker["health"]),
        (&json!("running"), &json!("unknown"))
    );
    assert!(
        worker["since_ms"].as_u64() >= web["since_ms"].as_u64(),
        "it waited"
    );
    assert_eq!(
        bench.run(["logs", "demo.web"]).exits(0).out(),
        "hello hi begun\n"
    );
    let again = bench.run(["up", project.path()]).exits(125);
    assert!(again.stderr.contains("is up already"), "{}", again.stderr);

    // A command that fails is started again, in a sandbox of its own.
    let sandbox = web["sandbox"].as_str().unwrap().to_owned();
    bench.sh(&sandbox, "touch /tmp/fail").exits(0);
    bench.eventually("it is started again", || {
        let web = state(&bench, "web");
        web["restarts"] == json!(1) && web["health"] == json!("healthy")
    });
    assert_ne!(state(&bench, "web")["sandbox"], json!(sandbox));
    assert_eq!(state(&bench, "web")["exit_code"], json!(3));
    assert_eq!(state(&bench, "worker")["restarts"], json!(0));

    // In order: the hook before the stop ends the server with 3, before SIGTERM does with 143.
    bench.run(["down", "demo"]).exits(0);
    assert_eq!(bench.run(["--json", "ps"]).exits(0).json(), json!([]));
    let gone = bench.run(["down", "demo"]).exits(125);
    assert!(gone.stderr.contains("not up"), "{}", gone.stderr);

    // However its keeper dies, nothing of it is left.
    bench.run(["up", "--detach", project.path()]).exits(0);
    let services = bench.run(["--json", "ps"]).exits(0).json();
    let keeper = services[0]["keeper"].as_u64().unwrap();
    let killed = Instant::now();
    kill(u32::try_from(keeper).unwrap());
    bench.eventually("nothing runs", || bench.processes().is_empty());
    assert!(killed.elapsed() < Duration::from_secs(5));
    let services = bench.run(["--json", "ps"]).exits(0).json();
    assert_eq!(services[0]["up"], json!(false));
    bench.run(["down", "demo"]).exits(0);
    assert_eq!(
        fs::read_dir(bench.path().join("services")).unwrap().count(),
        0
    );
}

#[test]
fn an_app_that_ends_is_not_started_again_unless_it_says_so() {
    let bench = Bench::new();
    let apps = [
        command_app("good", &["sh", "-c", "echo done"]),
        command_app("bad", &["sh", "-c", "echo broken; exit 4"]),
    ];
    let project = Project::new(&workload("batch", &apps), &[]);
    let run = bench.run(["up", project.path()]).exits(1);
    let mut lines: Vec<String> = run.out().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["bad | broken", "good | done"]);
    assert!(
        run.stderr
            .contains("bad is failed: its command ended with 4"),
        "{}",
        run.stderr
    );
    assert_eq!(state(&bench, "good")["status"], json!("ended"));
    assert_eq!(state(&bench, "bad")["exit_code"], json!(4));

    let mut sick = command_app("sick", &["sleep", "600"]);
    sick["health_check"] = json!({"command": ["false"], "interval_seconds": 1, "retries": 2});
    sick["restart"] = json!("always");
    let project = Project::new(&workload("sick", &[sick]), &[]);
    bench.run(["up", "--detach", project.path()]).exits(0);
    bench.eventually("it is started again for its health", || {
        let services = bench.run(["--json", "ps"]).exits(0).json();
        let sick = &services
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["workload"] == "sick")
            .unwrap()["apps"]["sick"];
        sick["restarts"].as_u64() >= Some(1)
    });
    bench.run(["down", "sick"]).exits(0);
}

#[test]
fn a_workload_is_found_in_its_directory_or_said_to_be_missing() {
    let bench = Bench::new();
    let empty = tempfile::tempdir().unwrap();
    let refused = |path: &Path, word: &str| {
        let run = bench.run(["build".as_ref(), path.as_os_str()]).exits(125);
        assert!(run.stderr.contains(word), "{}", run.stderr);
    };
    refused(empty.path(), "no file that declares a workload");
    fs::write(empty.path().join("notes.txt"), "").unwrap();
    refused(&empty.path().join("notes.txt"), "no kind that declares");
    refused(&empty.path().join("missing.json"), "missing.json");
    fs::write(empty.path().join("workload.json"), "{").unwrap();
    refused(empty.path(), "is not a workload");
    fs::write(empty.path().join("app.py"), "").unwrap();
    refused(empty.path(), "several files");
}
