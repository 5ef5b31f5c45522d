//! Templates: made once, made anew when they are not what they were, and empty of any user.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    process::Command,
};

use mvm_vm_tests::{Bench, Value, finish};

/// The templates there are.
fn list(bench: &Bench) -> Vec<Value> {
    let list = bench.run(["template", "list", "--json"]).exits(0).json();
    list.as_array().unwrap().clone()
}

/// The folder of the only template.
fn folder(bench: &Bench) -> PathBuf {
    let mut folders = bench.entries("templates");
    folders.retain(|path| path.is_dir());
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.remove(0)
}

#[test]
fn a_damaged_template_is_made_anew_by_the_next_who_needs_it() {
    let bench = Bench::with_own_templates();
    bench
        .run(["run", "--memory", "128M", "--", "true"])
        .exits(0);
    for (name, damage) in [
        ("memory", "a flipped bit"),
        ("disk.img", "a cut"),
        ("template.json", "garbage"),
        ("state", "its loss"),
    ] {
        let path = folder(&bench).join(name);
        let before = fs::metadata(folder(&bench)).unwrap().ino();
        match damage {
            "a flipped bit" => {
                let mut options = fs::OpenOptions::new();
                let file = options.read(true).write(true).open(&path).unwrap();
                let mut byte = [0];
                let middle = file.metadata().unwrap().len() / 2;
                file.read_exact_at(&mut byte, middle).unwrap();
                file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
            }
            "a cut" => {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(1 << 20).unwrap();
            }
            "garbage" => fs::write(&path, b"{ garbage").unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        let stale = list(&bench)[0]["stale"].clone();
        assert!(stale.is_string(), "{name}: {stale}");
        let key = list(&bench)[0]["key"].as_str().unwrap().to_owned();
        bench
            .run(["template", "verify", &key])
            .refused_with(&[&key, "mvmctl create"]);
        let id = bench.create(&["--memory", "128M"]);
        bench.sh(&id, "python3 -c 'print(1)'").exits(0);
        assert_eq!(bench.inspect(&id)["origin"]["from"], "template");
        assert_ne!(
            fs::metadata(folder(&bench)).unwrap().ino(),
            before,
            "{name}"
        );
        assert!(list(&bench)[0]["stale"].is_null());
        bench.run(["template", "verify", &key]).exits(0);
    }
}

#[test]
fn two_that_need_the_same_template_at_once_make_one() {
    let bench = Bench::with_own_templates();
    let create = || {
        let mut command = bench.command(["create", "--memory", "128M"]);
        command.spawn().unwrap()
    };
    for child in [create(), create()] {
        let id = finish(child).exits(0).out().trim().to_owned();
        assert_eq!(bench.inspect(&id)["origin"]["from"], "template");
    }
    folder(&bench);
    assert_eq!(list(&bench).len(), 1);
    assert_eq!(bench.entries("staging").len(), 0);
}

#[test]
fn a_template_goes_when_nobody_needs_it_and_stale_ones_by_themselves() {
    let bench = Bench::with_own_templates();
    let build = |memory: &str| {
        let run = bench
            .run(["template", "build", "--memory", memory])
            .exits(0);
        run.out().trim().to_owned()
    };
    let (large, small) = (build("256M"), build("128M"));
    assert_ne!(large, small);
    assert_eq!(build("128M"), small);
    let id = bench.create(&["--memory", "128M"]);
    let snapshot = bench.snapshot(&id);
    let remove = || bench.run(["template", "remove", &small]);
    remove().refused_with(&[&small, &id, &snapshot, "--force"]);
    bench.run(["cold", &id]).exits(0);
    remove().refused_with(&[&id, &snapshot]);
    assert_eq!(
        list(&bench)
            .iter()
            .filter(|one| one["needed_by"] == Value::Array(vec![]))
            .count(),
        1
    );

    let state = bench.path().join("templates").join(&small).join("state");
    let truth = fs::read(&state).unwrap();
    fs::write(&state, b"").unwrap();
    // It is stale, but needed.
    assert_eq!(bench.run(["template", "prune"]).exits(0).out(), "");
    fs::write(&state, truth).unwrap();
    bench.run(["destroy", &id]).exits(0);
    remove().refused_with(&[&snapshot]);
    bench.run(["snapshot", "remove", &snapshot]).exits(0);
    // Touched, it is not trusted any more; the other is as it was.
    assert_eq!(
        bench.run(["template", "prune"]).exits(0).out().trim(),
        small
    );
    let left = list(&bench);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["key"], large.as_str());
    bench.run(["template", "remove", &large]).exits(0);
    bench
        .run(["template", "remove", &large])
        .refused_with(&[&large, "mvmctl template list"]);
    assert_eq!(list(&bench).len(), 0);
}

#[test]
fn a_template_holds_nothing_of_who_first_needed_it() {
    let bench = Bench::with_own_templates();
    let secret = "canary-7f3a91c5d2e84b06";
    let variable = format!("SECRET={secret}");
    let id = bench.create(&["--env", &variable, "--name", "canary-named"]);
    assert_eq!(bench.sh(&id, "echo $SECRET").out().trim(), secret);
    let holds = |text: &str| {
        let mut grep = Command::new("grep");
        let found = grep
            .args(["-r", "-l", "-F", "-e", text])
            .arg(folder(&bench));
        !found.output().unwrap().stdout.is_empty()
    };
    assert!(holds("Linux version"), "what is there is found");
    for text in [secret, "canary-named", &id] {
        assert!(!holds(text), "`{text}` is in the template");
    }
}

#[test]
fn a_host_that_has_templates_turned_off_boots() {
    let bench = Bench::with_own_templates();
    let run = bench.run_with(("MVM_TEMPLATES", "off"), ["create", "--memory", "128M"]);
    let record = bench.inspect(run.exits(0).out().trim());
    assert_eq!(record["origin"]["from"], "boot");
    assert!(
        record["origin"]["reason"]
            .as_str()
            .unwrap()
            .contains("MVM_TEMPLATES")
    );
    assert_eq!(list(&bench).len(), 0);
}
