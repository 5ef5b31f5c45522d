use serde_json::{Value, json};

use super::*;

fn minimal() -> Value {
    json!({
        "version": 1,
        "id": "hello",
        "apps": [{
            "name": "web",
            "source": {"kind": "local", "path": "."},
            "image": {"kind": "source", "reference": "debian:python"},
            "entrypoints": [
                {"kind": "function", "name": "greet", "language": "python", "module": "app.main",
                 "function": "greet", "primary": true},
                {"kind": "command", "name": "serve", "command": ["python3", "-m", "http.server"]},
            ],
        }],
    })
}

fn read(document: &Value) -> Result<Workload, ReadWorkloadError> {
    Workload::read(document.to_string().as_bytes())
}

/// The codes and places of what is wrong in the minimal workload after a change.
fn flaws(change: impl FnOnce(&mut Value)) -> Vec<(String, &'static str)> {
    let mut document = minimal();
    change(&mut document);
    match read(&document) {
        Ok(_) => Vec::new(),
        Err(ReadWorkloadError::Flaws { flaws, .. }) => flaws
            .into_iter()
            .map(|flaw| (flaw.at, flaw.flaw.code()))
            .collect(),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn what_is_left_out_is_not_written() {
    let mut document = minimal();
    let workload = read(&document).unwrap();
    let mut shortest: Value = serde_json::from_slice(&workload.write().unwrap()).unwrap();
    // Resources are written, as their defaults may change and the workload shall not.
    document["apps"][0]["resources"] = shortest["apps"][0]["resources"].take();
    shortest["apps"][0]["resources"] = document["apps"][0]["resources"].clone();
    assert_eq!(shortest, document);
}

#[test]
fn a_default_that_is_written_out_is_the_same_workload() {
    let digest = read(&minimal()).unwrap().digest().unwrap();
    let mut spelled = minimal();
    let app = &mut spelled["apps"][0];
    app["source"]["include"] = json!(["**"]);
    app["environment"] = json!({});
    app["network"] = json!({"mode": "none"});
    app["dependencies"] = json!({"kind": "none"});
    app["hooks"] = json!({"before_start": []});
    app["restart"] = json!("never");
    app["entrypoints"][1]["primary"] = json!(false);
    assert_eq!(read(&spelled).unwrap().digest().unwrap(), digest);
}

#[test]
fn a_field_that_is_not_known_is_refused_at_every_place() {
    for pointer in [
        "",
        "/apps/0",
        "/apps/0/source",
        "/apps/0/image",
        "/apps/0/entrypoints/0",
        "/apps/0/entrypoints/1",
    ] {
        let mut document = minimal();
        document.pointer_mut(pointer).unwrap()["colour"] = json!(1);
        assert!(
            matches!(read(&document), Err(ReadWorkloadError::Shape(_))),
            "{pointer}"
        );
    }
}

#[test]
fn another_version_says_so_before_anything_else() {
    let mut document = minimal();
    document["version"] = json!(2);
    document["shape"] = json!("unknown");
    assert!(matches!(
        read(&document),
        Err(ReadWorkloadError::Version { version: 2 })
    ));
}

type Change = fn(&mut Value);

#[test]
fn every_rule_has_its_code_and_its_place() {
    let cases: &[(&str, &str, Change)] = &[
        ("E_INVALID_ID", "/id", |w| w["id"] = json!("Hello")),
        ("E_EMPTY_APPS", "/apps", |w| w["apps"] = json!([])),
        ("E_INVALID_ID", "/apps/0/name", |w| {
            w["apps"][0]["name"] = json!("-")
        }),
        ("E_DUPLICATE_NAME", "/apps/1", |w| {
            let app = w["apps"][0].clone();
            w["apps"].as_array_mut().unwrap().push(app);
        }),
        ("E_SOURCE_PATH", "/apps/0/source/path", |w| {
            w["apps"][0]["source"]["path"] = json!("../other")
        }),
        ("E_SOURCE_GLOB_INVALID", "/apps/0/source/exclude/0", |w| {
            w["apps"][0]["source"]["exclude"] = json!(["/etc/**"])
        }),
        ("E_SOURCE_EMPTY", "/apps/0/source/include", |w| {
            w["apps"][0]["source"]["include"] = json!([])
        }),
        ("E_IMAGE_REFERENCE", "/apps/0/image/reference", |w| {
            w["apps"][0]["image"]["reference"] = json!("python:3.12")
        }),
        ("E_IMAGE_VERSION", "/apps/0/image/version", |w| {
            w["apps"][0]["image"] = json!({"kind": "python", "version": "three"})
        }),
        ("E_IMAGE_PACKAGE", "/apps/0/image/packages/0", |w| {
            w["apps"][0]["image"] = json!({"kind": "nix_packages", "packages": ["a b"]})
        }),
        ("E_IMAGE_PACKAGE", "/apps/0/image/packages", |w| {
            w["apps"][0]["image"] = json!({"kind": "nix_packages", "packages": []})
        }),
        ("E_NO_ENTRYPOINTS", "/apps/0/entrypoints", |w| {
            w["apps"][0]["entrypoints"] = json!([])
        }),
        ("E_NO_PRIMARY_ENTRYPOINT", "/apps/0/entrypoints", |w| {
            w["apps"][0]["entrypoints"][0]["primary"] = json!(false)
        }),
        (
            "E_MULTIPLE_PRIMARY_ENTRYPOINTS",
            "/apps/0/entrypoints",
            |w| w["apps"][0]["entrypoints"][1]["primary"] = json!(true),
        ),
        ("E_INVALID_COMMAND", "/apps/0/entrypoints/1/command", |w| {
            w["apps"][0]["entrypoints"][1]["command"] = json!([])
        }),
        ("E_INVALID_COMMAND", "/apps/0/entrypoints/1/command", |w| {
            w["apps"][0]["entrypoints"][1]["command"] = json!(["sh", "a\u{0}b"])
        }),
        ("E_INVALID_MODULE", "/apps/0/entrypoints/0/module", |w| {
            w["apps"][0]["entrypoints"][0]["module"] = json!("__main__")
        }),
        ("E_INVALID_MODULE", "/apps/0/entrypoints/0/module", |w| {
            w["apps"][0]["entrypoints"][0]["module"] = json!("../x")
        }),
        (
            "E_INVALID_FUNCTION",
            "/apps/0/entrypoints/0/function",
            |w| w["apps"][0]["entrypoints"][0]["function"] = json!("a.b"),
        ),
        ("E_FUNCTION_WITHOUT_SOURCE", "/apps/0/entrypoints/0", |w| {
            w["apps"][0].as_object_mut().unwrap().remove("source");
        }),
        (
            "E_INVALID_SCHEMA",
            "/apps/0/entrypoints/0/result_schema",
            |w| w["apps"][0]["entrypoints"][0]["result_schema"] = json!({"pattern": "a"}),
        ),
        (
            "E_INVALID_WORKING_DIRECTORY",
            "/apps/0/entrypoints/0/working_directory",
            |w| w["apps"][0]["entrypoints"][0]["working_directory"] = json!("app"),
        ),
        (
            "E_INVALID_CONCURRENCY",
            "/apps/0/entrypoints/0/warm/pool_size",
            |w| {
                w["apps"][0]["entrypoints"][0]["warm"] =
                    json!({"pool_size": 65, "max_calls_per_worker": 1, "max_memory_mib": 64})
            },
        ),
        (
            "E_UNSUPPORTED_CONCURRENCY_FOR_LANGUAGE",
            "/apps/0/entrypoints/0/warm",
            |w| {
                w["apps"][0]["entrypoints"][0]["language"] = json!("rust");
                w["apps"][0]["entrypoints"][0]["warm"] =
                    json!({"pool_size": 1, "max_calls_per_worker": 1, "max_memory_mib": 64});
            },
        ),
        ("E_INVALID_VARIABLE", "/apps/0/environment/A=B", |w| {
            w["apps"][0]["environment"] = json!({"A=B": {"kind": "literal", "value": ""}})
        }),
        (
            "E_SECRET_WITHOUT_BINDING",
            "/apps/0/environment/T/hosts",
            |w| {
                w["apps"][0]["environment"] =
                    json!({"T": {"kind": "secret", "name": "t", "hosts": []}})
            },
        ),
        ("E_INVALID_SECRET", "/apps/0/environment/T/name", |w| {
            w["apps"][0]["environment"] =
                json!({"T": {"kind": "secret", "name": "a b", "hosts": ["a"]}})
        }),
        ("E_NETWORK_WILDCARD", "/apps/0/environment/T/hosts/0", |w| {
            w["apps"][0]["environment"] =
                json!({"T": {"kind": "secret", "name": "t", "hosts": ["*.example.com"]}})
        }),
        ("E_NETWORK_WILDCARD", "/apps/0/network/egress/0/host", |w| {
            w["apps"][0]["network"] =
                json!({"mode": "grants", "egress": [{"host": "*", "port": 443, "protocol": "tls"}]})
        }),
        (
            "E_NETWORK_INVALID_HOST",
            "/apps/0/network/egress/0/host",
            |w| w["apps"][0]["network"] = json!({"mode": "grants", "egress": [{"host": "https://a", "port": 443, "protocol": "tls"}]}),
        ),
        (
            "E_NETWORK_INVALID_PORT",
            "/apps/0/network/egress/0/port",
            |w| {
                w["apps"][0]["network"] = json!({"mode": "grants", "egress": [{"host": "a", "port": 0, "protocol": "tls"}]})
            },
        ),
        ("E_NETWORK_GRANTS_WITH_NONE", "/apps/0/network", |w| {
            w["apps"][0]["network"] = json!({"mode": "none", "ports": [{"guest_port": 80}]})
        }),
        ("E_NETWORK_GRANTS_WITH_NONE", "/apps/0/network", |w| {
            w["apps"][0]["network"] = json!({"mode": "grants"})
        }),
        ("E_INGRESS_DUPLICATE", "/apps/0/network/ports/1", |w| {
            w["apps"][0]["network"] =
                json!({"mode": "grants", "ports": [{"guest_port": 80}, {"guest_port": 80}]})
        }),
        (
            "E_INGRESS_INVALID_ADDRESS",
            "/apps/0/network/ports/0/address",
            |w| {
                w["apps"][0]["network"] =
                    json!({"mode": "grants", "ports": [{"guest_port": 80, "address": "here"}]})
            },
        ),
        ("E_INVALID_GUEST_PATH", "/apps/0/mounts/0/target", |w| {
            w["apps"][0]["mounts"] =
                json!([{"source": {"kind": "tmpfs", "size_mib": 1}, "target": "/a/../b"}])
        }),
        ("E_INVALID_HOST_PATH", "/apps/0/mounts/0/source/path", |w| {
            w["apps"][0]["mounts"] =
                json!([{"source": {"kind": "host_path", "path": "a"}, "target": "/a"}])
        }),
        ("E_UNKNOWN_VOLUME", "/apps/0/mounts/0/source/name", |w| {
            w["apps"][0]["mounts"] =
                json!([{"source": {"kind": "volume", "name": "a"}, "target": "/a"}])
        }),
        ("E_INVALID_SIZE", "/volumes/0/size_mib", |w| {
            w["volumes"] = json!([{"name": "a", "size_mib": 0}])
        }),
        ("E_SOURCE_PATH", "/apps/0/dependencies/lockfile", |w| {
            w["apps"][0]["dependencies"] =
                json!({"kind": "python", "tool": "uv", "lockfile": "/uv.lock"})
        }),
        (
            "E_INVALID_COMMAND",
            "/apps/0/hooks/before_start/0/run",
            |w| {
                w["apps"][0]["hooks"] =
                    json!({"before_start": [{"run": {"kind": "shell", "line": ""}}]})
            },
        ),
        (
            "E_INVALID_DURATION",
            "/apps/0/hooks/before_stop/0/timeout_seconds",
            |w| w["apps"][0]["hooks"] = json!({"before_stop": [{"run": {"kind": "shell", "line": "a"}, "timeout_seconds": 0}]}),
        ),
        ("E_INVALID_RETRIES", "/apps/0/health_check/retries", |w| {
            w["apps"][0]["health_check"] = json!({"command": ["true"], "retries": 0})
        }),
        (
            "E_INVALID_FILE_CONTENT",
            "/apps/0/files/0/content_base64",
            |w| w["apps"][0]["files"] = json!([{"path": "/a", "content_base64": "!"}]),
        ),
        ("E_INVALID_FILE_MODE", "/apps/0/files/0/mode", |w| {
            w["apps"][0]["files"] = json!([{"path": "/a", "content_base64": "", "mode": 2541}])
        }),
        ("E_UNKNOWN_APP", "/apps/0/depends_on/0", |w| {
            w["apps"][0]["depends_on"] = json!(["db"])
        }),
        ("E_DEPENDENCY_CYCLE", "/apps/0/depends_on", |w| {
            w["apps"][0]["depends_on"] = json!(["web"])
        }),
        ("E_RESOURCES", "/apps/0/resources", |w| {
            w["apps"][0]["resources"] = json!({"memory_mib": 1})
        }),
    ];
    for (code, at, change) in cases {
        assert_eq!(flaws(change), [((*at).to_owned(), *code)], "{code} at {at}");
    }
    for code in WorkloadFlaw::CODES {
        // A document of another version is refused before its rules are looked at.
        let tested = *code == "E_UNSUPPORTED_VERSION" || cases.iter().any(|case| case.0 == *code);
        assert!(tested, "no case breaks {code}");
    }
}

#[test]
fn every_flaw_is_found_at_once() {
    let found = flaws(|workload| {
        workload["id"] = json!("");
        workload["apps"][0]["name"] = json!("");
        workload["apps"][0]["entrypoints"][1]["command"] = json!([""]);
    });
    assert_eq!(found.len(), 3, "{found:?}");
}
