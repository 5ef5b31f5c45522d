use serde_json::json;

use super::*;
use crate::workload::Workload;

fn workload(operations: serde_json::Value) -> Result<Workload, LowerError> {
    let document = json!({
        "version": 1,
        "sandboxes": [{"spec": {"image": "debian:python"}, "operations": operations}],
    });
    let recording = Recording::read(document.to_string().as_bytes()).unwrap();
    recording.workload("script")
}

fn run(argument: &str) -> serde_json::Value {
    json!({"kind": "run", "command": {"arguments": [argument]}})
}

#[test]
fn the_last_command_is_started_and_those_before_it_are_hooks() {
    let workload = workload(json!([
        {"kind": "write_file", "path": "/srv/a", "content_base64": "YQ==", "mode": 0o755},
        {"kind": "make_directory", "path": "/srv/b", "parents": true, "mode": 0o700},
        {"kind": "run", "command": {"arguments": ["first", "1"], "environment": {"A": "b"},
          "working_directory": "/srv", "timeout_ms": 1500}},
        {"kind": "rename", "from": "/srv/a", "to": "/srv/c"},
        {"kind": "remove", "path": "/srv/c", "recursive": true},
        run("last"),
    ]))
    .unwrap();
    let text = String::from_utf8(workload.write().unwrap()).unwrap();
    let app = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["apps"][0];
    assert_eq!(
        app["entrypoints"],
        json!([{"kind": "command", "name": "main", "command": ["last"], "primary": true}])
    );
    assert_eq!(
        app["files"],
        json!([{"path": "/srv/a", "content_base64": "YQ==", "mode": 0o755}])
    );
    let hook = |command: serde_json::Value| json!({"run": {"kind": "command", "command": command}, "timeout_seconds": 3600});
    assert_eq!(
        app["hooks"]["before_start"],
        json!([
            hook(json!(["mkdir", "-p", "-m", "700", "--", "/srv/b"])),
            {"run": {"kind": "command", "command": ["first", "1"]}, "timeout_seconds": 2,
             "working_directory": "/srv", "environment": {"A": {"kind": "literal", "value": "b"}}},
            hook(json!(["mv", "-T", "--", "/srv/a", "/srv/c"])),
            hook(json!(["rm", "-r", "--", "/srv/c"])),
        ])
    );
}

#[test]
fn a_file_that_is_written_twice_is_what_was_written_last() {
    let write =
        |content: &str| json!({"kind": "write_file", "path": "/a", "content_base64": content});
    let workload = workload(json!([write("YQ=="), write("Yg=="), run("a")])).unwrap();
    assert_eq!(workload.apps[0].files.len(), 1);
    assert_eq!(workload.apps[0].files[0].content_base64, "Yg==");
}

#[test]
fn what_a_workload_cannot_say_is_refused() {
    let write = json!({"kind": "write_file", "path": "/a", "content_base64": ""});
    assert_eq!(
        workload(json!([run("a"), write])).unwrap_err(),
        LowerError::FileAfterCommand {
            sandbox: 1,
            path: "/a".to_owned()
        }
    );
    assert_eq!(
        workload(json!([])).unwrap_err(),
        LowerError::NoCommand { sandbox: 1 }
    );
    let made_only = json!([run("a"), {"kind": "make_directory", "path": "/b", "parents": true}]);
    assert_eq!(
        workload(made_only).unwrap_err(),
        LowerError::NoCommand { sandbox: 1 }
    );
    let as_user = json!([{"kind": "run", "command": {"arguments": ["a"], "user": "nobody"}}]);
    assert_eq!(
        workload(as_user).unwrap_err(),
        LowerError::User {
            sandbox: 1,
            user: "nobody".to_owned()
        }
    );
    assert_eq!(
        Recording::new().workload("script").unwrap_err(),
        LowerError::NoSandbox
    );
    assert!(matches!(
        workload(json!([run("")])),
        Err(LowerError::Flaws(_))
    ));
}

#[test]
fn several_sandboxes_are_several_apps() {
    let sandbox = |spec: serde_json::Value| json!({"spec": spec, "operations": [run("a")]});
    let document =
        json!({"version": 1, "sandboxes": [sandbox(json!({})), sandbox(json!({"name": "db"}))]});
    let recording = Recording::read(document.to_string().as_bytes()).unwrap();
    let workload = recording.workload("script").unwrap();
    let names: Vec<&str> = workload.apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["app-1", "db"]);
}
