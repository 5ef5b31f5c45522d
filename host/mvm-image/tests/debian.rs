//! Debian's recipes with the real `mmdebstrap`, checked by `skopeo` and GNU tar.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use mvm_contract::workload::Image;
use mvm_image::logical::{self, Catalog};
use mvm_image::{ImageSource, Progress, debian};

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

fn stdout(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{error}: apt-get install {program}"));
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_python_image_is_an_oci_layout_and_is_made_twice_with_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("python");
    let recipe = debian::recipe("python").unwrap();
    let build = || {
        debian::build_layout(recipe, &out, &Silent)
            .unwrap_or_else(|error| panic!("{error:?}\nhint: {:?}", error.hint()))
    };
    let first = build();
    // The second replaces the first in its place.
    assert_eq!(build(), first);
    let mut left: Vec<_> = fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["python", "python.log"]);

    let inspected = stdout(
        "skopeo",
        &["inspect", &format!("oci:{}:python", out.display())],
    );
    assert!(
        inspected.contains(&first.manifest_digest.to_string()),
        "{inspected}"
    );

    let layer = out.join("blobs/sha256").join(first.layer_digest.hex());
    let image = Image::Python {
        version: "3.11".into(),
        packages: ["ca-certificates", "procps", "python3-pip", "python3-venv"]
            .map(Into::into)
            .into(),
    };
    assert_catalogued(&image, &layer, "python3");
    let names = stdout("tar", &["--list", "--file", layer.to_str().unwrap()]);
    let has = |name: &str| names.lines().any(|line| line == name);
    assert!(has("./usr/bin/python3") && has("./usr/bin/pip3") && has("./usr/bin/sh"));
    assert!(has("./usr/share/doc/bash/copyright"));
    for left_out in [
        "./etc/resolv.conf",
        "./etc/hostname",
        "./dev/null",
        "./usr/share/man/man1/",
    ] {
        assert!(!has(left_out), "{left_out}");
    }
    for directory in [
        "./var/log/",
        "./var/cache/",
        "./var/lib/apt/lists/",
        "./run/",
        "./tmp/",
    ] {
        let files: Vec<_> = names
            .lines()
            .filter(|line| {
                line.starts_with(directory) && !line.ends_with('/') && !line.ends_with("/lock")
            })
            .collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

#[test]
fn a_failure_leaves_what_was_there() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), b"").unwrap();
    let inside_a_file = home.path().join("file/python");
    let error = debian::build_layout(debian::recipe("python").unwrap(), &inside_a_file, &Silent);
    assert!(error.unwrap_err().to_string().contains("file/python"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

/// `dpkg`'s record of a package in a layer.
fn version_of(layer: &std::path::Path, package: &str) -> String {
    let arguments = [
        "--extract",
        "--to-stdout",
        "--file",
        layer.to_str().unwrap(),
        "./var/lib/dpkg/status",
    ];
    let status = stdout("tar", &arguments);
    let record = status
        .split("\n\n")
        .find(|record| {
            record
                .lines()
                .any(|line| line == format!("Package: {package}"))
        })
        .unwrap_or_else(|| panic!("{package} is not installed"));
    let version = record
        .lines()
        .find_map(|line| line.strip_prefix("Version: "));
    version.unwrap().to_owned()
}

/// What the catalog of every host says of the image that a recipe makes is so.
fn assert_catalogued(image: &Image, layer: &std::path::Path, package: &str) {
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::load(home.path(), None).unwrap();
    let source = logical::resolve(&catalog, image).unwrap();
    assert!(matches!(source, ImageSource::Debian { .. }));
    let (Image::Python { version, packages } | Image::Node { version, packages }) = image else {
        panic!("not of a language");
    };
    let installed = version_of(layer, package);
    assert!(installed.starts_with(&format!("{version}.")), "{installed}");
    for package in packages {
        version_of(layer, package);
    }
}
