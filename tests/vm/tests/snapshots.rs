//! Snapshots are input like any other: what is not as it was is refused, whole.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::Cursor,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use mvm_vm_tests::{Bench, Run, Value, json};

const FILES: [&str; 5] = ["pages", "state", "disk", "manifest.json", "manifest.mac"];

fn folder(bench: &Bench, snapshot: &str) -> PathBuf {
    bench.path().join("snapshots").join(snapshot)
}

/// Changes one bit in the middle of a file.
fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// Asserts that this was refused because of what was saved, naming all of these words.
#[track_caller]
fn mismatch(run: Run, words: &[&str]) {
    let run = run.exits(125);
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["error"]["code"], "SnapshotMismatch", "{error}");
    assert!(error["error"]["hint"].is_string(), "{error}");
    let said = format!("{} {}", error["error"]["message"], error["error"]["causes"]);
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in {error:#}");
    }
}

/// Asserts that a snapshot is neither restored nor forked, and leaves nothing.
#[track_caller]
fn unusable(bench: &Bench, snapshot: &str, words: &[&str]) {
    let before = bench.entries("sandboxes").len();
    mismatch(bench.run(["restore", "--json", snapshot]), words);
    mismatch(bench.run(["fork", "--json", snapshot]), words);
    assert_eq!(bench.entries("sandboxes").len(), before);
    assert_eq!(bench.entries("staging").len(), 0);
}

/// Gives a changed manifest the code that this host would give it.
fn authenticate(bench: &Bench, snapshot: &str) {
    let key = fs::read(bench.path().join("keys/snapshot.key")).unwrap();
    let manifest = fs::read(folder(bench, snapshot).join("manifest.json")).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(&manifest);
    let path = folder(bench, snapshot).join("manifest.mac");
    let mut code: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    code["mac"] = hex::encode(mac.finalize().into_bytes()).into();
    fs::write(&path, code.to_string()).unwrap();
}

#[test]
fn any_file_that_is_not_what_it_was_is_refused_by_name() {
    let bench = Bench::new();
    let id = bench.create(&[]);
    let snapshot = bench.snapshot(&id);
    bench.sh(&id, "echo changed > /root/file; sync").exits(0);
    let other = bench.snapshot(&id);
    for name in FILES {
        let path = folder(&bench, &snapshot).join(name);
        let replacement = folder(&bench, &other).join(name);
        let saved = fs::read(&path).unwrap();
        // A manifest that is not the code's is as wrong as a code that is not the manifest's.
        let named: &[&str] = match name {
            "manifest.mac" => &[],
            "manifest.json" => &["manifest"],
            name => &[name],
        };
        flip_a_bit(&path);
        unusable(&bench, &snapshot, named);
        truncate(&path);
        unusable(&bench, &snapshot, named);
        fs::write(&path, b"").unwrap();
        unusable(&bench, &snapshot, named);
        fs::remove_file(&path).unwrap();
        unusable(&bench, &snapshot, &[name]);
        fs::copy(&replacement, &path).unwrap();
        unusable(&bench, &snapshot, named);
        fs::write(&path, &saved).unwrap();
    }
    // With everything as it was, it is a snapshot again.
    let child = bench.fork(&snapshot, 1).remove(0);
    bench.sh(&child, "test ! -e /root/file").exits(0);
    // The damaged do not hide the others from a list.
    flip_a_bit(&folder(&bench, &other).join("manifest.json"));
    let list = bench.run(["snapshot", "list", "--json"]).exits(0);
    assert_eq!(list.json()[0]["id"], snapshot.as_str());
    assert!(list.stderr.contains("SnapshotMismatch"), "{}", list.stderr);
    bench.run(["snapshot", "remove", &other]).exits(0);
}

#[test]
fn what_is_refused_does_not_tell_how_it_would_be_accepted() {
    let bench = Bench::new();
    let snapshot = bench.snapshot(&bench.create(&[]));
    let path = folder(&bench, &snapshot).join("manifest.json");
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(&path, manifest.replace("\"vcpus\": 1", "\"vcpus\": 2")).unwrap();
    let run = bench.run(["restore", &snapshot]);
    authenticate(&bench, &snapshot);
    let code = fs::read(folder(&bench, &snapshot).join("manifest.mac")).unwrap();
    let code: Value = serde_json::from_slice(&code).unwrap();
    let run = run.refused_with(&["manifest"]);
    let right = code["mac"].as_str().unwrap();
    assert!(!run.stderr.contains(right), "{}", run.stderr);
}

#[test]
fn a_snapshot_of_another_host_or_version_is_refused() {
    let (bench, elsewhere) = (Bench::new(), Bench::new());
    let snapshot = bench.snapshot(&bench.create(&[]));
    let path = folder(&bench, &snapshot).join("manifest.json");
    let manifest = fs::read_to_string(&path).unwrap();
    for version in ["0", "2", "4294967295"] {
        let changed = manifest.replacen("\"version\": 3", &format!("\"version\": {version}"), 1);
        assert_ne!(changed, manifest);
        fs::write(&path, changed).unwrap();
        authenticate(&bench, &snapshot);
        unusable(&bench, &snapshot, &["version", version]);
    }
    for (field, value) in [("qemu", "\"0.9.1\""), ("memory_mib", "128")] {
        let mut changed: Value = serde_json::from_str(&manifest).unwrap();
        changed["machine"][field] = serde_json::from_str(value).unwrap();
        fs::write(&path, changed.to_string()).unwrap();
        authenticate(&bench, &snapshot);
        unusable(&bench, &snapshot, &[value.trim_matches('"')]);
    }
    let mut changed: Value = serde_json::from_str(&manifest).unwrap();
    changed["image_digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    fs::write(&path, changed.to_string()).unwrap();
    authenticate(&bench, &snapshot);
    unusable(&bench, &snapshot, &["image"]);

    fs::write(&path, &manifest).unwrap();
    authenticate(&bench, &snapshot);
    elsewhere.snapshot(&elsewhere.create(&[]));
    let key = "keys/snapshot.key";
    let own = fs::read(bench.path().join(key)).unwrap();
    fs::copy(elsewhere.path().join(key), bench.path().join(key)).unwrap();
    unusable(&bench, &snapshot, &["host"]);
    fs::write(bench.path().join(key), own).unwrap();
    bench.run(["restore", &snapshot]).exits(0);
}

#[test]
fn a_snapshot_is_refused_without_the_template_it_was_made_over() {
    let bench = Bench::with_own_templates();
    let id = bench.create(&[]);
    let snapshot = bench.snapshot(&id);
    bench.run(["cold", &id]).exits(0);
    let key = bench.run(["template", "list", "--json"]).json()[0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let needed = bench.run(["template", "remove", &key]);
    needed.refused_with(&[&id, &snapshot, "--force"]);
    let memory = bench.path().join("templates").join(&key).join("memory");
    flip_a_bit(&memory);
    unusable(&bench, &snapshot, &["template", &key, "memory"]);
    mismatch(bench.run(["resume", "--json", &id]), &["template", &key]);
    assert_eq!(bench.state(&id), "cold");
    fs::remove_file(&memory).unwrap();
    unusable(&bench, &snapshot, &["template", &key, "memory"]);
    bench.run(["template", "remove", "--force", &key]).exits(0);
    unusable(&bench, &snapshot, &["template", &key]);
    // One that was made anew is not the one it was made over.
    bench.run(["template", "build"]).exits(0);
    unusable(&bench, &snapshot, &["template"]);
    mismatch(bench.run(["resume", "--json", &id]), &["template"]);
    assert_eq!(bench.state(&id), "cold");
}

#[test]
fn what_is_saved_is_closed_to_others() {
    let bench = Bench::with_own_templates();
    let id = bench.create(&[]);
    bench
        .run(["snapshot", "create", &id, "--name", "kept"])
        .exits(0);
    let archive = bench.path().join("archive");
    let exported = ["snapshot", "export", "kept", archive.to_str().unwrap()];
    bench.run(exported).exits(0);
    bench.run(["cold", &id]).exits(0);
    let mut places: Vec<PathBuf> = ["snapshots", "templates", "sandboxes", "keys", "archive"]
        .map(|name| bench.path().join(name))
        .into();
    let mut seen = 0;
    while let Some(path) = places.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            places.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if metadata.is_file() {
            // A template's memory may be closed to its owner's mistakes as well.
            let closed = [0o600, 0o400].contains(&mode);
            assert!(closed, "{} is {mode:o}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 5 + 5 + 5 + 1, "only {seen} files");
}

#[test]
fn a_whole_memory_is_saved_where_pages_would_not_do() {
    let bench = Bench::new();
    let run = bench
        .run_with(("MVM_TEMPLATES", "off"), ["create"])
        .exits(0);
    let booted = run.out().trim().to_owned();
    let forked = bench.create(&[]);
    for (id, options, reason) in [
        (&booted, &[][..], "not forked from a template"),
        (&forked, &["--stream"], "it was asked for"),
    ] {
        bench.start_counting(id);
        let before = bench.count(id);
        let create = ["snapshot", "create", id].into_iter();
        let run = bench.run(create.chain(options.iter().copied())).exits(0);
        assert!(run.stderr.contains(reason), "{}", run.stderr);
        let snapshot = run.out().trim().to_owned();
        let record = bench.run(["snapshot", "inspect", &snapshot]).json();
        assert_eq!(record["method"], "stream", "{record}");
        let list = bench.run(["snapshot", "list", "--json"]).exits(0).json();
        let listed = list.as_array().unwrap().iter();
        let listed = listed.filter(|listed| listed["id"] == snapshot.as_str());
        assert!(
            listed.clone().all(|listed| listed["reason"]
                .as_str()
                .is_some_and(|said| said.contains(reason))),
            "{list}"
        );
        assert_eq!(listed.count(), 1);
        let child = bench.fork(&snapshot, 1).remove(0);
        bench.counts_on_from(&child, before);
        // What went on from a stream is saved and brought back like any other.
        let grandchild = bench.fork(&child, 1).remove(0);
        bench.run(["cold", &grandchild]).exits(0);
        bench.run(["resume", &grandchild]).exits(0);
        bench.counts_on_from(&grandchild, before);
        let state = folder(&bench, &snapshot).join("state");
        flip_a_bit(&state);
        unusable(&bench, &snapshot, &["state"]);
    }
}

#[test]
fn an_exported_snapshot_comes_back_with_its_template() {
    let bench = Bench::with_own_templates();
    let id = bench.create(&[]);
    bench.start_counting(&id);
    let before = bench.count(&id);
    let snapshot = bench.snapshot(&id);
    let file = bench.path().join("snapshot.mvm");
    let file = file.to_str().unwrap();
    bench.run(["snapshot", "export", &snapshot, file]).exits(0);
    bench
        .run(["snapshot", "export", &snapshot, file])
        .exits(125);
    bench.run(["destroy", &id]).exits(0);
    bench.run(["snapshot", "remove", &snapshot]).exits(0);
    let key = bench.run(["template", "list", "--json"]).json()[0]["key"].clone();
    let key = key.as_str().unwrap();
    bench.run(["template", "remove", key]).exits(0);

    let run = bench.run(["snapshot", "import", file]).exits(0);
    assert_eq!(run.out().trim(), snapshot);
    bench.run(["template", "verify", key]).exits(0);
    let child = bench.fork(&snapshot, 1).remove(0);
    bench.counts_on_from(&child, before);
    // What is there already is not replaced.
    bench.run(["snapshot", "import", file]).exits(125);
    assert_eq!(bench.entries("staging").len(), 0);
    // The template that came with it is one like any other.
    let id = bench.create(&[]);
    assert_eq!(bench.inspect(&id)["origin"]["from"], "template");
}

type Entry = (String, Vec<u8>);

fn entries(archive: &Path) -> Vec<Entry> {
    let bytes = zstd::decode_all(fs::File::open(archive).unwrap()).unwrap();
    let mut reader = tar::Archive::new(Cursor::new(bytes));
    let entries = reader.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        append(&mut builder, name, content, tar::EntryType::Regular);
    }
    compressed(builder)
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8], kind: tar::EntryType) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    header.set_entry_type(kind);
    // The crate would refuse the names that these tests are about.
    header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    builder.append(&header, Cursor::new(content)).unwrap();
}

fn compressed(builder: tar::Builder<Vec<u8>>) -> Vec<u8> {
    zstd::encode_all(Cursor::new(builder.into_inner().unwrap()), 1).unwrap()
}

#[test]
fn an_archive_is_believed_in_nothing() {
    let (bench, elsewhere) = (Bench::with_own_templates(), Bench::new());
    let id = bench.create(&["--memory", "128M"]);
    let snapshot = bench.snapshot(&id);
    let archive = bench.path().join("archive");
    let export = ["snapshot", "export", &snapshot, archive.to_str().unwrap()];
    bench.run(export).exits(0);
    bench.run(["destroy", &id]).exits(0);
    bench.run(["snapshot", "remove", &snapshot]).exits(0);
    let key = bench.run(["template", "list", "--json"]).json()[0]["key"].clone();
    bench
        .run(["template", "remove", key.as_str().unwrap()])
        .exits(0);

    let bad = bench.path().join("bad");
    let refused = |what: &str, bytes: &[u8], words: &[&str]| {
        fs::write(&bad, bytes).unwrap();
        let run = bench.run(["snapshot", "import", bad.to_str().unwrap()]);
        let run = run.exits(125);
        for word in words {
            let said = &run.stderr;
            assert!(said.contains(word), "{what}: `{word}` is missing in {said}");
        }
        for folder in ["staging", "snapshots", "templates"] {
            let mut left = bench.entries(folder);
            left.retain(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                !name.starts_with('.')
            });
            assert!(left.is_empty(), "{what}: {left:?}");
        }
        assert!(!bench.path().join("x").exists(), "{what}");
    };

    let whole = fs::read(&archive).unwrap();
    for part in 1..4 {
        let mut bytes = whole.clone();
        let at = bytes.len() * part / 4;
        bytes[at] ^= 1;
        refused("a flipped bit", &bytes, &["error: "]);
    }
    refused("a cut", &whole[..whole.len() / 2], &["archive"]);
    refused("nothing", b"", &["archive"]);
    refused("noise", &mvm_vm_tests::noise(100_000), &["archive"]);
    for name in ["../x", "/x", "snapshot/../../x", "snapshot/extra", "x"] {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, name, b"x", tar::EntryType::Regular);
        refused(name, &compressed(builder), &[name]);
    }
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Fifo,
    ] {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "snapshot/state", b"", kind);
        refused("a link", &compressed(builder), &["snapshot/state"]);
    }
    let original = entries(&archive);
    for (index, (name, content)) in original.iter().enumerate() {
        let mut changed = original.clone();
        // One is missing, the next is another.
        if index % 2 == 0 {
            changed.remove(index);
        } else {
            changed[index].1[content.len() * 2 / 3] ^= 1;
        }
        refused(name, &packed(&changed), &["error: "]);
    }
    let mut twice = original[..2].to_vec();
    twice.push(original[0].clone());
    refused(
        "an entry that is there twice",
        &packed(&twice),
        &["error: "],
    );

    let foreign = elsewhere.snapshot(&elsewhere.create(&["--memory", "128M"]));
    let path = elsewhere.path().join("archive");
    let export = ["snapshot", "export", &foreign, path.to_str().unwrap()];
    elsewhere.run(export).exits(0);
    refused(
        "a foreign archive",
        &fs::read(&path).unwrap(),
        &["host", "hint: "],
    );

    // After all of this, the true one is taken.
    bench
        .run(["snapshot", "import", archive.to_str().unwrap()])
        .exits(0);
    bench.run(["restore", &snapshot]).exits(0);
}
