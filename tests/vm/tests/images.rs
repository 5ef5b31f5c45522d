//! Images through the whole path: what is accepted runs as it was packed, what is not is refused.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{Cursor, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mvm_vm_tests::{Bench, Value, json, prepared_home, sha256};
use tar::{Builder, EntryType, Header};

/// An OCI layout with one layer.
struct Layout {
    directory: tempfile::TempDir,
    layer: String,
}

impl Layout {
    fn new(layer: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let blobs = directory.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            let digest = sha256(bytes);
            fs::write(blobs.join(&digest), bytes).unwrap();
            (digest, bytes.len())
        };
        let (layer_digest, layer_size) = put(layer);
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        });
        let (config_digest, config_size) = put(config.to_string().as_bytes());
        let descriptor = |kind: &str, digest: &str, size: usize| {
            json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": format!("sha256:{digest}"), "size": size,
            })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config_digest, config_size),
            "layers": [descriptor("layer.v1.tar", &layer_digest, layer_size)],
        });
        let (manifest_digest, manifest_size) = put(manifest.to_string().as_bytes());
        let index = json!({
            "schemaVersion": 2,
            "manifests": [descriptor("manifest.v1+json", &manifest_digest, manifest_size)],
        });
        fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
        fs::write(
            directory.path().join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        Self {
            directory,
            layer: layer_digest,
        }
    }

    fn name(&self) -> String {
        format!("oci-layout:{}", self.directory.path().display())
    }
}

/// A tar archive of one entry.
fn one_entry(kind: EntryType, path: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, kind, path, link, content);
    builder.into_inner().unwrap()
}

fn append(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    // The crate would refuse or clean the paths that these tests are about.
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    builder.append(&header, Cursor::new(content)).unwrap();
}

/// Refused with these words, and neither a sandbox nor a blob is left behind.
#[track_caller]
fn refused(layer: &[u8], words: &[&str]) {
    let layout = Layout::new(layer);
    let (bench, store) = with_own_store();
    bench
        .run(["run", "--image", &layout.name(), "--", "true"])
        .refused_with(words);
    assert_store_empty(&store);
    bench.assert_nothing_left();
}

fn with_own_store() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let store = bench.path().join("store");
    fs::remove_file(&store).unwrap();
    (bench, store)
}

fn assert_store_empty(store: &Path) {
    let output = Command::new("find")
        .arg(store)
        .args(["-type", "f", "-size", "+0"])
        .output();
    assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), "");
}

#[test]
fn a_path_that_climbs_out() {
    refused(
        &one_entry(EntryType::Regular, "../evil", "", b"x"),
        &["../evil"],
    );
}

#[test]
fn an_entry_below_a_symlink_that_leads_out() {
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, EntryType::Symlink, "out", "../../..", b"");
    append(&mut builder, EntryType::Regular, "out/evil", "", b"x");
    refused(&builder.into_inner().unwrap(), &["out/evil"]);
}

#[test]
fn a_hard_link_to_what_is_not_there() {
    refused(
        &one_entry(EntryType::Link, "a", "none", b""),
        &["`a`", "none"],
    );
}

#[test]
fn a_block_device() {
    refused(
        &one_entry(EntryType::Block, "dev/sda", "", b""),
        &["dev/sda", "block device"],
    );
}

#[test]
fn an_archive_that_breaks_off() {
    let whole = one_entry(EntryType::Regular, "file", "", &[7; 4096]);
    refused(&whole[..2000], &["layer"]);
}

#[test]
fn a_decompression_bomb() {
    let zeros = std::io::repeat(0).take(2 << 30);
    let mut gzip = Command::new("gzip")
        .arg("-1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    let header = {
        let mut header = Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_size(2 << 30);
        header.set_cksum();
        header
    };
    let feeding = std::thread::spawn(move || {
        stdin.write_all(header.as_bytes()).unwrap();
        std::io::copy(&mut { zeros }, &mut stdin).unwrap();
    });
    let bomb = gzip.wait_with_output().unwrap().stdout;
    feeding.join().unwrap();

    let layout = Layout::new(&bomb);
    let manifests = layout.directory.path().join("blobs/sha256");
    for entry in fs::read_dir(&manifests).unwrap().flatten() {
        // The one layer is compressed: say so in the manifest, and name it anew everywhere.
        let Ok(text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        if text.contains("layer.v1.tar\"") {
            let changed = text.replace("layer.v1.tar\"", "layer.v1.tar+gzip\"");
            let digest = sha256(changed.as_bytes());
            fs::write(manifests.join(&digest), &changed).unwrap();
            let index = layout.directory.path().join("index.json");
            let mut document: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
            document["manifests"][0]["digest"] = format!("sha256:{digest}").into();
            document["manifests"][0]["size"] = changed.len().into();
            fs::write(&index, document.to_string()).unwrap();
        }
    }
    let (bench, store) = with_own_store();
    let run = bench.run(["run", "--image", &layout.name(), "--", "true"]);
    run.refused_with(&["decompression bomb"]);
    assert_store_empty(&store);
}

#[test]
fn a_layer_whose_bytes_do_not_match_its_digest() {
    let layout = Layout::new(&one_entry(EntryType::Regular, "file", "", b"good"));
    let blob = layout
        .directory
        .path()
        .join("blobs/sha256")
        .join(&layout.layer);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[512] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let (bench, store) = with_own_store();
    let run = bench.run(["run", "--image", &layout.name(), "--", "true"]);
    run.refused_with(&[&layout.layer, "digest"]);
    assert_store_empty(&store);
}

#[test]
fn an_image_of_one_program_and_nothing_else_boots() {
    // The agent is a static program at hand; by itself it says that it is not PID 1 and fails.
    let layer = one_entry(EntryType::Regular, "program", "", mvm_image::boot::AGENT);
    let layout = Layout::new(&layer);
    let bench = Bench::new();
    bench
        .run(["run", "--image", &layout.name(), "--", "/program"])
        .exits(1);
    bench
        .run(["run", "--image", &layout.name(), "--", "/bin/sh"])
        .exits(127);
    let run = bench.run(["run", "--image", &layout.name()]);
    run.refused_with(&["no command"]);
}

/// What the guest's kernel sees in the image, name by name: kind, mode, owner, size, time, link
/// count, link target, and what is in each file.
const LISTING: &str = "cd ROOT && find . -printf '%P|%y|%m|%U:%G|%Ts|%n|%l\\n' | sort && \
                       find . -type f -print0 | sort -z | xargs -0 sha256sum";

#[test]
fn the_guest_kernel_sees_the_default_image_as_tar_unpacks_it() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: tar keeps owners and devices for root only");
        return;
    }
    let layout = prepared_home().join("layouts/python");
    let tree = tempfile::tempdir().unwrap();
    let layer = largest_blob(&layout);
    let unpacked = Command::new("tar")
        .args([
            "--extract",
            "--numeric-owner",
            "--same-owner",
            "--same-permissions",
            "--file",
        ])
        .arg(&layer)
        .arg("--directory")
        .arg(tree.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    let here = LISTING.replace("ROOT", tree.path().to_str().unwrap());
    let here = Command::new("sh")
        .args(["-c", &here])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let here = String::from_utf8(here.stdout).unwrap();

    let bench = Bench::new();
    let line = format!(
        "mount -t erofs -o ro /dev/vda /mnt && {}",
        LISTING.replace("ROOT", "/mnt")
    );
    let options = [
        "run", "--memory", "512M", "-e", "LC_ALL=C", "--", "sh", "-c", &line,
    ];
    let there = bench.run(options).exits(0).out();
    assert!(here.lines().count() > 5_000);
    for (here, there) in here.lines().zip(there.lines()) {
        // Of the root itself, tar's target directory has its own time and mode.
        assert!(
            here == there || here.starts_with('|'),
            "\nhere  {here}\nthere {there}"
        );
    }
    assert_eq!(here.lines().count(), there.lines().count());
}

fn largest_blob(layout: &Path) -> PathBuf {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().flatten();
    blobs
        .max_by_key(|blob| blob.metadata().unwrap().len())
        .unwrap()
        .path()
}

#[test]
fn archives_of_skopeo_and_docker_run() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let source = format!(
        "oci:{}:python",
        prepared_home().join("layouts/python").display()
    );
    for (format, file) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar")] {
        let file = directory.path().join(file);
        let target = format!("{format}:{}:mvm.test/python:1", file.display());
        let copied = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", &source, &target])
            .output()
            .expect("skopeo is installed by `make test`");
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let image = format!("oci-archive:{}", file.display());
        let run = bench.run([
            "run",
            "--image",
            &image,
            "--",
            "python3",
            "-c",
            "print('in')",
        ]);
        assert_eq!(run.exits(0).out(), "in\n");
    }
}
