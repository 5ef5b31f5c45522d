//! One store, many builders; one input, the same bytes; nothing half-written
//! when the disk is full or read-only.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mvm_image::{ImageSource, Limits, MaterializeOptions, Progress, Silent, Store, materialize};
use support::{Bench, Layout, Member, chain, files_below, is_root, stored_below, tar};

const SCRATCH: &str = "MVM_IMAGE_TEST_SCRATCH";

fn layout() -> Layout {
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    Layout::of(&[
        tar(&[Member::file("large", &content), Member::file("small", b"x")]),
        tar(&[
            Member::hard_link("again", "large"),
            Member::file(".wh.small", b""),
        ]),
    ])
}

/// Materializes `scratch/layout` into `scratch/store`.
fn build(scratch: &Path) -> Result<mvm_image::Image, String> {
    let source = ImageSource::OciLayout {
        directory: scratch.join("layout"),
        reference: None,
    };
    let store = Store::open(scratch.join("store"))
        .map_err(|error| format!("{} (hint: {:?})", chain(&error), error.hint()))?;
    let options = MaterializeOptions {
        limits: Limits::default(),
        debian_layouts: scratch,
        nix: support::no_nix(),
        registry: &mvm_image::registry::RegistryOptions::default(),
        progress: &Silent,
    };
    materialize(&store, &source, &options)
        .map_err(|error| format!("{} (hint: {:?})", chain(&error), error.hint()))
}

/// A command that runs one of the `child_` tests below in another process.
fn child(name: &str, scratch: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", name, "--include-ignored", "--nocapture"])
        .env(SCRATCH, scratch)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn scratch_of_child() -> Option<PathBuf> {
    env::var_os(SCRATCH).map(PathBuf::from)
}

#[test]
fn processes_and_threads_build_the_same_image_at_once() {
    let bench = Bench::new();
    layout().write(&bench.path("layout"));
    let children: Vec<_> = (0..4)
        .map(|_| child("child_builds", bench.scratch.path()).spawn().unwrap())
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| build(bench.scratch.path()).unwrap());
        }
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let image = build(bench.scratch.path()).unwrap();
    let blobs = files_below(&bench.path("store/blobs"));
    assert_eq!(blobs, [image.path]);
    assert_eq!(
        files_below(&bench.path("store/staging")),
        Vec::<PathBuf>::new()
    );
    assert_eq!(
        files_below(&bench.path("store/locks")),
        Vec::<PathBuf>::new()
    );
}

#[test]
#[ignore = "runs in the child processes of the tests here"]
fn child_builds() {
    if let Some(scratch) = scratch_of_child() {
        build(&scratch).unwrap();
    }
}

#[test]
fn a_builder_that_is_killed_leaves_nothing_after_the_next_open() {
    let bench = Bench::new();
    layout().write(&bench.path("layout"));
    let mut killed = child("child_stops_while_writing", bench.scratch.path())
        .spawn()
        .unwrap();
    // The child says so through a file once it holds staged bytes and a lock.
    while !bench.path("writing").exists() {
        assert!(
            killed.try_wait().unwrap().is_none(),
            "the child ended too early"
        );
        std::thread::yield_now();
    }
    assert_eq!(files_below(&bench.path("store/staging")).len(), 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    Store::open(bench.path("store")).unwrap();
    assert_eq!(bench.stored_files(), Vec::<PathBuf>::new());
    build(bench.scratch.path()).unwrap();
}

/// Stops for good in the second stage, when part of the image is staged.
struct StopWhileWriting(PathBuf);

impl Progress for StopWhileWriting {
    fn stage(&self, stage: &str, _total: Option<u64>) {
        if stage.starts_with("writing") {
            fs::write(&self.0, b"").unwrap();
            loop {
                std::thread::park();
            }
        }
    }
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

#[test]
#[ignore = "runs in the child processes of the tests here"]
fn child_stops_while_writing() {
    let Some(scratch) = scratch_of_child() else {
        return;
    };
    let store = Store::open(scratch.join("store")).unwrap();
    let source = ImageSource::OciLayout {
        directory: scratch.join("layout"),
        reference: None,
    };
    let options = MaterializeOptions {
        limits: Limits::default(),
        debian_layouts: &scratch,
        nix: support::no_nix(),
        registry: &mvm_image::registry::RegistryOptions::default(),
        progress: &StopWhileWriting(scratch.join("writing")),
    };
    materialize(&store, &source, &options).unwrap();
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (one, other) = (Bench::new(), Bench::new());
    for bench in [&one, &other] {
        layout().write(&bench.path("layout"));
    }
    let (one, other) = (
        build(one.scratch.path()).unwrap(),
        build(other.scratch.path()).unwrap(),
    );
    assert_eq!(one.digest, other.digest);
    assert_ne!(one.path, other.path);
}

#[test]
fn the_bytes_of_an_image_are_pinned() {
    let bench = Bench::new();
    let members = [
        Member::directory("d").owner(70_000, 1).mtime(5),
        Member::file("d/f", &[7; 5000])
            .xattr("user.x", b"y")
            .mtime(6),
        Member::symlink("l", "d/f"),
        Member::device("null", b'3', 1, 3),
    ];
    let image = bench.build_layers(&[tar(&members)]).unwrap();
    // Another digest means other bytes: raise the writer's version with it, or
    // stores would keep what the old one wrote.
    assert_eq!(
        image.digest.to_string(),
        "sha256:2e55cfa5c19f18de2cae8110b58e7afe07cfa2dd9b1add2e5dc4cdbaa6db31e9"
    );
}

#[test]
fn a_hit_does_not_read_layers_and_a_broken_one_is_rebuilt() {
    let bench = Bench::new();
    let layout = layout();
    let source = layout.write(&bench.path("layout"));
    let first = bench.build(&source).unwrap();
    for file in files_below(&bench.path("layout/blobs")) {
        if fs::metadata(&file).unwrap().len() > 3_000_000 {
            let size = fs::metadata(&file).unwrap().len() as usize;
            fs::write(&file, vec![0; size]).unwrap();
        }
    }
    let hit = bench.build(&source).unwrap();
    assert_eq!((hit.digest, hit.config), (first.digest, first.config));

    // Gone, or touched: the layers are needed again, and now they are wrong.
    fs::remove_file(&first.path).unwrap();
    assert!(chain(&bench.build(&source).unwrap_err()).contains("the manifest says"));
    layout.write(&bench.path("layout"));
    let rebuilt = bench.build(&source).unwrap();
    assert_eq!(rebuilt.digest, first.digest);
    let mut bytes = fs::read(&rebuilt.path).unwrap();
    bytes[5000] ^= 1;
    fs::remove_file(&rebuilt.path).unwrap();
    fs::write(&rebuilt.path, &bytes).unwrap();
    let mended = bench.build(&source).unwrap();
    bench
        .store
        .verify(&mended.digest)
        .unwrap()
        .check_seal()
        .unwrap();
}

/// Changes one byte of a blob after the first pass has checked it.
struct Meddle(PathBuf);

impl Progress for Meddle {
    fn stage(&self, stage: &str, _total: Option<u64>) {
        if stage.starts_with("writing") {
            let mut bytes = fs::read(&self.0).unwrap();
            bytes[10_000] ^= 1;
            fs::write(&self.0, bytes).unwrap();
        }
    }
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

#[test]
fn a_layer_that_changes_between_the_passes_is_refused() {
    let bench = Bench::new();
    let source = layout().write(&bench.path("layout"));
    let blob = files_below(&bench.path("layout/blobs"))
        .into_iter()
        .find(|file| fs::metadata(file).unwrap().len() > 3_000_000)
        .unwrap();
    let options = MaterializeOptions {
        limits: Limits::default(),
        debian_layouts: bench.scratch.path(),
        nix: support::no_nix(),
        registry: &mvm_image::registry::RegistryOptions::default(),
        progress: &Meddle(blob),
    };
    let error = materialize(&bench.store, &source, &options).unwrap_err();
    assert!(
        chain(&error).contains("while it was being read"),
        "{}",
        chain(&error)
    );
    assert_eq!(bench.stored_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_read_only_state_directory_is_refused_with_a_hint() {
    let bench = Bench::new();
    layout().write(&bench.path("layout"));
    for path in [bench.path("store/staging"), bench.path("store/locks")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    }
    let mut command = child("child_expects_a_hint", bench.scratch.path());
    if is_root() {
        // Permissions do not bind root: give all to a user whom they do.
        let nobody = 65_534;
        let chown = |path: &Path| std::os::unix::fs::chown(path, Some(nobody), Some(nobody));
        let mut pending = vec![bench.scratch.path().to_path_buf()];
        while let Some(path) = pending.pop() {
            chown(&path).unwrap();
            if path.is_dir() {
                pending.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        }
        command.uid(nobody).gid(nobody);
    }
    let output = command
        .env("MVM_IMAGE_TEST_WORD", "locks` writable")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(bench.stored_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_full_disk_is_refused_with_a_hint_and_nothing_stays() {
    let bench = Bench::new();
    layout().write(&bench.path("layout"));
    let program = env::current_exe().unwrap();
    // A filesystem of its own, too small for the image, in a mount namespace
    // that needs no root.
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1/store\" && exec \"$2\" --exact \
                  child_expects_a_hint --include-ignored --nocapture";
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .args([bench.scratch.path(), &program])
        .env(SCRATCH, bench.scratch.path())
        .env("MVM_IMAGE_TEST_WORD", "free some space")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare failed") {
        eprintln!("skipped: user namespaces are not available here: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
}

#[test]
#[ignore = "runs in the child processes of the tests here"]
fn child_expects_a_hint() {
    let Some(scratch) = scratch_of_child() else {
        return;
    };
    let error = build(&scratch).expect_err("the store cannot take the image");
    let word = env::var("MVM_IMAGE_TEST_WORD").unwrap();
    assert!(
        error.contains(&word) && error.contains("hint: Some"),
        "{error}"
    );
    assert_eq!(stored_below(&scratch.join("store")), Vec::<PathBuf>::new());
}
