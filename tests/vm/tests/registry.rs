//! Sandboxes of images from a registry: Debian's `docker-registry`, over TLS, with a password.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

#[path = "../../../host/mvm-image/tests/support/registry_daemon.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of images")]
mod registry_daemon;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
};

use mvm_vm_tests::{Bench, Run, Value, finish, prepared_home};
use registry_daemon::RegistryDaemon;

/// Runs a tool that the tests need, which `package` brings.
fn run(package: &str, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!("cannot run `{program}` ({error}); install it with `apt install {package}`")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output
}

/// A bench with images and templates of its own: what it removes is nobody else's.
struct Scene {
    bench: Bench,
    docker: PathBuf,
}

impl Scene {
    fn new(docker: PathBuf) -> Self {
        let bench = Bench::with_own_templates();
        fs::remove_file(bench.path().join("store")).unwrap();
        Self { bench, docker }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.command(arguments);
        command.env("DOCKER_CONFIG", &self.docker);
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments).spawn().unwrap())
    }

    fn images(&self) -> Vec<Value> {
        let listed = self.run(&["image", "list", "--json"]).exits(0).json();
        listed.as_array().unwrap().clone()
    }

    /// The kinds of what uses the only image.
    fn users(&self) -> Vec<String> {
        let images = self.images();
        assert_eq!(images.len(), 1, "{images:?}");
        let users = images[0]["used_by"].as_array().unwrap();
        let kind = |user: &Value| user["kind"].as_str().unwrap().to_owned();
        users.iter().map(kind).collect()
    }
}

#[test]
fn an_image_of_a_registry_runs_and_stays_while_anything_needs_it() {
    let Some(daemon) = RegistryDaemon::start() else {
        return;
    };
    let layout = prepared_home().join("layouts/python");
    daemon.push(&layout.display().to_string(), "team/python:3", &[]);
    daemon.options();
    let scene = Scene::new(daemon.path("docker"));
    let tag = daemon.reference("team/python:3");

    // Pulled, made into an image and a template, while another process tries to remove them.
    let python = [
        "run",
        "--memory",
        "128M",
        "--image",
        &tag,
        "--",
        "python3",
        "-c",
        "print(6*7)",
    ];
    let over = AtomicBool::new(false);
    let first = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let pruned = scene.run(&["image", "prune"]);
                assert!([0, 125].contains(&pruned.code), "{pruned:?}");
            }
        });
        let first = scene.run(&python);
        over.store(true, Ordering::SeqCst);
        first
    });
    let first = first.exits(0);
    assert_eq!(first.out(), "42\n");
    assert!(
        first.stderr.contains("team/python:3` is `sha256:"),
        "{}",
        first.stderr
    );
    assert_eq!(scene.users(), ["template"]);

    let create = ["create", "--memory", "128M", "--image", &tag];
    let id = scene.run(&create).exits(0).out().trim().to_owned();
    assert_eq!(scene.users(), ["sandbox", "template"]);
    scene
        .run(&["image", "remove", &tag])
        .refused_with(&["is used by", &id]);
    let snapshot = scene.run(&["snapshot", "create", &id]).exits(0).out();
    scene.run(&["destroy", &id]).exits(0);
    assert_eq!(scene.users(), ["template", "snapshot"]);
    assert_eq!(scene.run(&["image", "prune"]).exits(0).out(), "");
    scene.run(&["snapshot", "remove", snapshot.trim()]).exits(0);

    // The registry is gone, and everything is here.
    drop(daemon);
    let mut offline = python.to_vec();
    offline.splice(1..1, ["--pull", "never"]);
    assert_eq!(scene.run(&offline).exits(0).out(), "42\n");
    let mut always = python.to_vec();
    always.splice(1..1, ["--pull", "always"]);
    scene.run(&always).refused_with(&["failed to connect"]);

    exported_and_removed(&scene, &tag, &offline);
}

fn exported_and_removed(scene: &Scene, tag: &str, offline: &[&str]) {
    let image = scene.images()[0].clone();
    let digest = image["digest"].as_str().unwrap();
    let at = |name: &str| scene.bench.path().join(name).display().to_string();
    let (archive, filesystem) = (at("image.tar"), at("image.erofs"));
    let export = ["image", "export", tag, &archive, "--format", "oci-archive"];
    scene.run(&export).exits(0);
    scene.run(&export).refused_with(&["is there already"]);
    scene
        .run(&["image", "export", &digest[7..19], &filesystem])
        .exits(0);
    assert_eq!(
        format!(
            "sha256:{}",
            mvm_vm_tests::sha256(&fs::read(&filesystem).unwrap())
        ),
        digest
    );
    assert_eq!(
        scene.run(&["image", "verify"]).exits(0).out().trim(),
        digest
    );

    for template in scene
        .run(&["template", "list", "--json"])
        .exits(0)
        .json()
        .as_array()
        .unwrap()
    {
        let key = template["key"].as_str().unwrap();
        assert_eq!(template["stale"], Value::Null);
        scene.run(&["template", "remove", key]).exits(0);
    }
    // A byte that nobody was to change.
    let file = scene
        .bench
        .path()
        .join("store/blobs/sha256")
        .join(&digest[7..]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[5000] ^= 1;
    fs::write(&file, bytes).unwrap();
    scene
        .run(&["image", "verify", tag])
        .refused_with(&["digest"]);

    assert_eq!(
        scene.run(&["image", "remove", tag]).exits(0).out().trim(),
        digest
    );
    assert!(scene.images().is_empty());
    scene
        .run(&["image", "remove", tag])
        .refused_with(&["there is no image"]);
    scene.run(offline).refused_with(&["was not pulled before"]);
    for folder in [
        "store/blobs/sha256",
        "store/pulled/blobs/sha256",
        "store/pulled/records/tags",
    ] {
        let left = scene.bench.entries(folder);
        assert!(left.is_empty(), "{left:?}");
    }
    // What was exported is the same image.
    let again = scene
        .run(&["image", "pull", &format!("oci-archive:{archive}")])
        .exits(0);
    assert_eq!(again.out().trim(), digest);
}

#[test]
fn production_asks_no_registry_about_a_tag_and_none_without_tls() {
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let pinned = format!("oci:{host}/app@sha256:{}", "0".repeat(64));
    let tag = format!("oci:{host}/app:1");
    let refused = |arguments: &[&str], words: &[&str]| {
        let run = bench.run_with(("MVM_INSECURE_REGISTRIES", &host), arguments);
        run.refused_with(words);
        let connected = listener.accept();
        assert!(connected.is_err(), "{arguments:?}");
    };
    let profile = ["--profile", "production"];
    refused(
        &[&["run"][..], &profile, &["--image", &tag]].concat(),
        &["A-056"],
    );
    refused(
        &[&["image", "pull"][..], &profile, &[&tag]].concat(),
        &["A-056"],
    );
    refused(
        &[&["image", "pull"][..], &profile, &[&pinned]].concat(),
        &["without TLS"],
    );
    // Who names no registry is told how.
    bench
        .run(["image", "pull", "oci:ubuntu:24.04"])
        .refused_with(&["in which registry"]);
}
