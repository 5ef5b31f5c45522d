//! Every example of this repository, and what `mvmctl init` makes of those that are templates:
//! built, called and kept up in microVMs, as their pages say.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mvm_vm_tests::{Bench, Value, json};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
        .canonicalize()
        .unwrap()
}

/// Makes a project of a template in a directory that is not there yet.
fn init(bench: &Bench, template: &str, name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let project = project.to_str().unwrap();
    let arguments = [
        "--json",
        "init",
        project,
        "--template",
        template,
        "--name",
        name,
    ];
    let made = bench.run(arguments).exits(0).json();
    assert_eq!(
        (&made["workload"], &made["directory"]),
        (&json!(name), &json!(project))
    );
    folder
}

fn invoke(bench: &Bench, project: &Path, app: &str, arguments: &Value) -> Value {
    let arguments = arguments.to_string();
    let from = project.to_str().unwrap();
    let run = bench.run(["invoke", app, &arguments, "--from", from]);
    run.exits(0).json()
}

#[test]
fn every_example_has_a_test() {
    let tested = [
        "README.md",
        "command-worker",
        "index-at-build",
        "package-tests", // `real_package.rs`
        "python-function",
        "typescript-function",
    ];
    let found: BTreeSet<_> = fs::read_dir(example("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, tested.map(str::to_owned).into());
    let page = fs::read_to_string(example("README.md")).unwrap();
    for name in &tested[1..] {
        assert!(page.contains(&format!("]({name}/")), "{name}");
    }
}

#[test]
fn a_function_in_python_is_called() {
    let bench = Bench::new();
    let made = init(&bench, "python", "of-mine");
    for project in [example("python-function"), made.path().join("project")] {
        let called = |arguments| invoke(&bench, &project, "words", &arguments);
        assert_eq!(
            called(json!(["a rose is a rose", 1])),
            json!([{"text": "a", "times": 2}])
        );
        assert_eq!(
            called(json!({"text": "A rose is a rose is a rose."})),
            json!([{"text": "a", "times": 3}, {"text": "rose", "times": 3}, {"text": "is", "times": 2}])
        );
    }
}

#[test]
fn a_function_in_typescript_is_called() {
    let bench = Bench::new();
    let made = init(&bench, "node", "of-mine");
    let items = json!([{"name": "pen", "cents": 120, "count": 2}, {"name": "pad", "cents": 350}]);
    for project in [example("typescript-function"), made.path().join("project")] {
        assert_eq!(
            invoke(&bench, &project, "till", &json!([items, 10])),
            json!({"lines": ["2 x pen: 240", "1 x pad: 350"], "cents": 531})
        );
    }
    let from = made.path().join("project");
    let unsound = r#"[[{"name": "pen", "cents": "120"}]]"#;
    bench
        .run(["invoke", "till", unsound, "--from", from.to_str().unwrap()])
        .refused_with(&["/items/0/cents"]);
}

/// What `mvmctl ps` says of the worker of a workload.
fn worker(bench: &Bench, workload: &str) -> Value {
    let services = bench.run(["--json", "ps"]).exits(0).json();
    let services = services.as_array().unwrap().iter();
    let mut found = services.filter(|service| service["workload"] == *workload);
    found.next().unwrap()["apps"]["digests"].clone()
}

#[test]
fn a_worker_is_kept_up_and_started_again() {
    let bench = Bench::new();
    let made = init(&bench, "worker", "of-mine");
    for (workload, project) in [
        ("command-worker", example("command-worker")),
        ("of-mine", made.path().join("project")),
    ] {
        let project = project.to_str().unwrap();
        bench.run(["up", "--detach", project]).exits(0);
        let first = worker(&bench, workload);
        assert_eq!(
            (&first["status"], &first["health"]),
            (&json!("running"), &json!("healthy"))
        );
        let sandbox = first["sandbox"].as_str().unwrap().to_owned();
        let job = ["files", "write", &sandbox, "/srv/jobs/greeting.txt"];
        bench.run_with_input(job, b"hello\n").exits(0);
        let answer = format!("{}\n", mvm_vm_tests::sha256(b"hello\n"));
        bench.eventually("the job is answered", || {
            let path = "/srv/jobs/greeting.sha256";
            bench.run(["files", "cat", &sandbox, path]).stdout == answer.as_bytes()
        });
        let app = format!("{workload}.digests");
        bench.eventually("it is in the log", || {
            bench.run(["logs", &app]).exits(0).out()
                == "waiting for jobs in /srv/jobs\nanswered greeting.txt\n"
        });

        // The command fails: it goes on in another sandbox. Its end ends whoever asked for it.
        bench.sh(&sandbox, "pkill -KILL -f worker.py");
        bench.eventually("it is started again", || {
            let again = worker(&bench, workload);
            again["restarts"] == json!(1) && again["health"] == json!("healthy")
        });
        let again = worker(&bench, workload);
        assert_ne!(again["sandbox"], json!(sandbox));
        assert_eq!(again["exit_code"], json!(137));

        bench.run(["down", workload]).exits(0);
        assert_eq!(bench.run(["--json", "ps"]).exits(0).json(), json!([]));
    }
}

#[test]
fn an_index_is_made_when_its_image_is_built() {
    let bench = Bench::new();
    let project = tempfile::tempdir().unwrap();
    let copied = project.path().join("copied");
    let from = example("index-at-build");
    let copy = std::process::Command::new("cp")
        .args(["-r".as_ref(), from.as_os_str(), copied.as_os_str()])
        .status();
    assert!(copy.unwrap().success());
    let build = || bench.run(["--json", "build", copied.to_str().unwrap()]);
    let built = build().exits(0).json()[0].clone();
    let image = built["image"].as_str().unwrap();
    // It is in the image, and what made it is over.
    let listed = ["run", "--image", image, "--", "ls", "/srv"];
    assert_eq!(bench.run(listed).exits(0).out(), "notes.db\n");
    let found = invoke(&bench, &copied, "notes", &json!(["memory template"]));
    assert_eq!(found[0]["name"], "fork");
    assert_eq!(found.as_array().unwrap().len(), 1);

    fs::write(copied.join("notes/hook.txt"), "A hook has no network.\n").unwrap();
    let anew = build().exits(0).json()[0].clone();
    assert_ne!(anew["manifest_digest"], built["manifest_digest"]);
    let found = invoke(&bench, &copied, "notes", &json!({"words": "network"}));
    assert_eq!(
        found,
        json!([{"name": "hook", "excerpt": "A hook has no network."}])
    );
}

#[test]
fn a_project_is_not_made_over_another() {
    let bench = Bench::unprepared();
    let folder = tempfile::tempdir().unwrap();
    let init = |template: &str| {
        let directory = folder.path().to_str().unwrap();
        bench.run(["init", directory, "--name", "a", "--template", template])
    };
    fs::write(folder.path().join("README.md"), "mine").unwrap();
    init("python").refused_with(&["README.md` is there already", "nothing was written"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    init("ruby").refused_with(&["python, node, worker"]);

    fs::remove_file(folder.path().join("README.md")).unwrap();
    let made = init("worker").exits(0);
    let written: Vec<_> = made.out().lines().map(PathBuf::from).collect();
    assert!(written.len() >= 3 && written.iter().all(|path| path.is_file()));
    init("node").refused_with(&["README.md"]);
    fs::remove_file(folder.path().join("README.md")).unwrap();
    init("node").refused_with(&["app.py` may declare a workload already"]);
    // It needs nothing of this host, and makes nothing of its.
    assert_eq!(fs::read_dir(bench.path()).unwrap().count(), 0);
}
