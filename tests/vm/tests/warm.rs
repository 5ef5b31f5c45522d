//! Functions whose workers are kept warm: later calls go on from the snapshot that the first left.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, fs, thread};

use mvm_vm_tests::Bench;
use serde_json::{Value, json};

const APP: &str = r#"
import os, random, time
import mvm

mvm.workload(id="warm")

LOADED = os.urandom(8).hex()
random.seed(1)
CALLS = 0

@mvm.func(
    name="warm",
    primary=True,
    warm=mvm.warm_process(max_calls_per_worker=100, max_memory_mib=128, pool_size=2),
    before_start="echo begun >> /root/hooks",
    after_start=["sh", "-c", "echo loaded >> /root/hooks"],
)
def look(text: str) -> dict[str, object]:
    global CALLS
    CALLS += 1
    print("called with", text)
    with open("/root/hooks") as file:
        hooks = file.read().split()
    with open("/root/left", "a+") as file:
        file.write("x")
        file.seek(0)
        left = file.read()
    return {"loaded": LOADED, "random": random.random(), "calls": CALLS, "hooks": hooks, "left": left, "time": time.time()}

@mvm.func(name="warm", warm=mvm.warm_process(max_calls_per_worker=1, max_memory_mib=64))
def nap(seconds: float) -> list[float]:
    begun = time.time()
    time.sleep(seconds)
    return [begun, time.time()]
"#;

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), APP).unwrap();
    folder
}

fn call(bench: &Bench, folder: &tempfile::TempDir, function: &str, arguments: &str) -> Value {
    let file = folder.path().join("app.py");
    let arguments = [
        "--json",
        "invoke",
        function,
        arguments,
        "--from",
        file.to_str().unwrap(),
    ];
    bench.run(arguments).exits(0).json()
}

fn phases(called: &Value) -> Vec<&str> {
    let phases = called["phases"].as_array().unwrap().iter();
    phases
        .map(|phase| phase["name"].as_str().unwrap())
        .collect()
}

fn snapshots(bench: &Bench) -> Vec<Value> {
    let listed = bench.run(["--json", "snapshot", "list"]).exits(0).json();
    listed.as_array().unwrap().clone()
}

#[test]
fn later_calls_go_on_from_where_the_first_had_loaded_the_module() {
    let bench = Bench::new();
    let project = project();
    let first = call(&bench, &project, "warm", r#"["once"]"#);
    assert!(phases(&first).contains(&"leave a snapshot"), "{first}");
    let second = call(&bench, &project, "warm", r#"["again"]"#);
    let third = call(&bench, &project, "warm", r#"{"text": "again"}"#);
    for later in [&second, &third] {
        assert!(phases(later).contains(&"attach to the worker"), "{later}");
        assert!(!phases(later).contains(&"load the module"), "{later}");
    }
    // One module, loaded once; each call in a sandbox of its own that no other has touched.
    let of = |field: &str| [&first, &second, &third].map(|called| called["value"][field].clone());
    assert_eq!(
        BTreeSet::from(of("loaded").map(|it| it.to_string())).len(),
        1
    );
    assert_eq!(
        BTreeSet::from(of("random").map(|it| it.to_string())).len(),
        3
    );
    assert_eq!(of("calls"), [1, 1, 1]);
    assert_eq!(of("left"), ["x", "x", "x"]);
    assert_eq!(of("hooks"), [(); 3].map(|()| json!(["begun", "loaded"])));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - third["value"]["time"].as_f64().unwrap()).abs() < 30.0);
    assert!(second["run_id"].is_string() && second["run_id"] != third["run_id"]);

    let kept = snapshots(&bench);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let name = kept[0]["name"].as_str().unwrap();
    assert!(name.starts_with("warm-warm-look-"), "{name}");

    // Another source is another function.
    let other = APP.replace("called with", "called by");
    fs::write(project.path().join("app.py"), other).unwrap();
    let changed = call(&bench, &project, "warm", r#"["once"]"#);
    assert_ne!(changed["value"]["loaded"], first["value"]["loaded"]);
    assert_eq!(snapshots(&bench).len(), 2);
    remove_snapshots(&bench);
}

const TYPESCRIPT: &str = r#"import crypto, { randomBytes, randomFillSync, randomInt, randomUUID } from "node:crypto";
import * as mvm from "@mvm/sdk";

mvm.workload({ id: "warm" });
const loaded = randomBytes(8).toString("hex");
let calls = 0;

export const look = mvm.app({
  warm: mvm.warmProcess({ maxCallsPerWorker: 100, maxMemoryMib: 128 }),
})(async (text: string) => {
  calls += 1;
  await new Promise((resolve) => setTimeout(resolve, 10));
  const web = crypto.webcrypto;
  const random = [
    Math.random(), randomUUID(), web.randomUUID(), randomInt(2 ** 40), randomBytes(8).toString("hex"),
    String(crypto.getRandomValues(new Uint32Array(2))), String(web.getRandomValues(new Uint32Array(2))),
    String(randomFillSync(new Uint32Array(2))),
  ].map(String);
  return { loaded, calls, text, random, time: Date.now() / 1000 };
});
"#;

#[test]
fn node_is_kept_warm_too() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.ts");
    fs::write(&file, TYPESCRIPT).unwrap();
    let call = |text: &str| {
        let arguments = json!([text]).to_string();
        let from = file.to_str().unwrap();
        let run = bench.run(["invoke", "look", &arguments, "--from", from]);
        run.exits(0).json()
    };
    let (first, second, third) = (call("one"), call("two"), call("three"));
    assert_eq!(first["loaded"], second["loaded"]);
    assert_eq!(second["loaded"], third["loaded"]);
    // Nor does one draw again what another drew.
    let drawn =
        [&first, &second, &third].map(|called| called["random"].as_array().unwrap().clone());
    let all: BTreeSet<&str> = drawn
        .iter()
        .flatten()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert_eq!(all.len(), 24, "{drawn:?}");
    assert_eq!(
        (&third["calls"], &third["text"]),
        (&json!(1), &json!("three"))
    );
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - third["time"].as_f64().unwrap()).abs() < 30.0);
    remove_snapshots(&bench);
}

#[test]
fn a_damaged_snapshot_is_made_again_and_said_so() {
    let bench = Bench::new();
    let project = project();
    let first = call(&bench, &project, "warm", r#"["once"]"#);
    let id = snapshots(&bench)[0]["id"].as_str().unwrap().to_owned();
    let folder = bench.path().join("snapshots").join(id);
    let files = fs::read_dir(&folder).unwrap();
    let state = files
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&state, bytes).unwrap();

    let file = project.path().join("app.py");
    let arguments = [
        "invoke",
        "warm",
        r#"["again"]"#,
        "--from",
        file.to_str().unwrap(),
    ];
    let second = bench.run(arguments).exits(0);
    assert!(second.stderr.contains("is made again"), "{}", second.stderr);
    assert_ne!(second.json()["loaded"], first["value"]["loaded"]);
    remove_snapshots(&bench);
}

#[test]
fn no_more_workers_answer_at_once_than_the_pool_has() {
    let bench = Bench::new();
    let project = project();
    let naps: Vec<(f64, f64)> = thread::scope(|scope| {
        let call = || call(&bench, &project, "warm.nap", "[2]");
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(call)).collect();
        let nap = |called: Value| {
            let at = |index: usize| called["value"][index].as_f64().unwrap();
            (at(0), at(1))
        };
        calls
            .into_iter()
            .map(|it| nap(it.join().unwrap()))
            .collect()
    });
    for (index, (begun, ended)) in naps.iter().enumerate() {
        for (other_begun, other_ended) in &naps[..index] {
            assert!(
                ended <= other_begun || other_ended <= begun,
                "one after the other: {naps:?}"
            );
        }
    }
    assert_eq!(snapshots(&bench).len(), 1, "made once");
    remove_snapshots(&bench);
}

fn remove_snapshots(bench: &Bench) {
    for snapshot in snapshots(bench) {
        let id = snapshot["id"].as_str().unwrap();
        bench.run(["snapshot", "remove", id]).exits(0);
    }
}
