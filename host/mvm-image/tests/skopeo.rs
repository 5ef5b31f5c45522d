//! Images as real tools write them: what `skopeo copy` makes of one layout, in
//! every format this crate reads, gives the same root filesystem.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::fs;

use mvm_image::{ImageSource, SourceError};
use serde_json::json;
use support::{Bench, LAYER, Layout, Member, chain, gzip, run, tar};

fn source(text: &str) -> ImageSource {
    text.parse().unwrap()
}

fn skopeo(from: &str, to: &str, extra: &[&str]) {
    let arguments = [
        &["copy", "--quiet", "--insecure-policy"],
        extra,
        &[from, to],
    ]
    .concat();
    run("skopeo", "skopeo", &arguments);
}

/// Two layers, one of them compressed.
fn layout() -> Layout {
    let lower = tar(&[
        Member::directory("bin"),
        Member::file("bin/sh", &[9; 10_000])
            .mode(0o4755)
            .owner(1, 2),
        Member::file("gone", b"x"),
    ]);
    let upper = tar(&[
        Member::file(".wh.gone", b""),
        Member::symlink("sh", "bin/sh"),
    ]);
    let layers = [
        (
            format!("{LAYER}+gzip"),
            gzip(&lower),
            mvm_image::Digest::of(&lower),
        ),
        (
            LAYER.to_owned(),
            upper.clone(),
            mvm_image::Digest::of(&upper),
        ),
    ];
    let mut layout = Layout::empty();
    let manifest = layout.add_image(&layers, json!({}));
    layout.manifests.push(manifest);
    layout
}

#[test]
fn every_format_gives_the_same_image() {
    let bench = Bench::new();
    let original = bench.build(&layout().write(&bench.path("layout"))).unwrap();
    let at = |name: &str| bench.path(name).display().to_string();
    let from = format!("oci:{}", at("layout"));

    skopeo(&from, &format!("oci:{}:v1", at("named")), &[]);
    skopeo(&from, &format!("oci-archive:{}:v1", at("oci.tar")), &[]);
    skopeo(
        &from,
        &format!("docker-archive:{}:name/image:v1", at("docker.tar")),
        &[],
    );
    let zstd = ["--dest-compress-format", "zstd", "--dest-compress"];
    skopeo(&from, &format!("oci:{}", at("zstd")), &zstd);
    skopeo(
        &format!("docker-archive:{}", at("docker.tar")),
        &format!("oci:{}", at("back")),
        &[],
    );

    for text in [
        format!("oci-layout:{}", at("named")),
        format!("oci-layout:{}:v1", at("named")),
        format!("oci-archive:{}", at("oci.tar")),
        format!("oci-archive:{}:v1", at("oci.tar")),
        format!("oci-archive:{}", at("docker.tar")),
        format!("oci-layout:{}", at("zstd")),
        format!("oci-layout:{}", at("back")),
    ] {
        let image = bench.build(&source(&text)).unwrap_or_else(|error| {
            panic!("{text}: {}", chain(&error));
        });
        assert_eq!(image.digest, original.digest, "{text}");
        assert_eq!(image.config, original.config, "{text}");
        assert_eq!(image.source, text);
    }
    let pinned = format!("oci-layout:{}@{}", at("layout"), original.manifest);
    assert_eq!(
        bench.build(&source(&pinned)).unwrap().manifest,
        original.manifest
    );
}

#[test]
fn tags_in_archives_choose_and_wrong_ones_list_what_there_is() {
    let bench = Bench::new();
    layout().write(&bench.path("layout"));
    let from = format!("oci:{}", bench.path("layout").display());
    let archive = bench.path("docker.tar").display().to_string();
    skopeo(
        &from,
        &format!("docker-archive:{archive}:name/image:v1"),
        &[],
    );
    let tag = {
        let output = run(
            "skopeo",
            "skopeo",
            &["list-tags", &format!("docker-archive:{archive}")],
        );
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        listed["Tags"][0].as_str().unwrap().to_owned()
    };
    bench
        .build(&source(&format!("oci-archive:{archive}:{tag}")))
        .unwrap();
    let error = bench
        .build(&source(&format!("oci-archive:{archive}:other:v9")))
        .unwrap_err();
    assert!(chain(&error).contains("`other:v9`"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains(&tag));
}

#[test]
fn an_index_gives_the_image_of_this_platform() {
    let mut layout = Layout::empty();
    let layer = |name: &str| {
        let layer = tar(&[Member::file(name, b"x")]);
        [(
            LAYER.to_owned(),
            layer.clone(),
            mvm_image::Digest::of(&layer),
        )]
    };
    let mut arm = layout.add_image(&layer("arm"), json!({"architecture": "arm64"}));
    arm["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let mut intel = layout.add_image(&layer("intel"), json!({}));
    intel["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut attestation = layout.add_image(&layer("attestation"), json!({}));
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let media_type = "application/vnd.oci.image.index.v1+json";
    let manifests = [arm, attestation, intel.clone()];
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let index = layout.add_json(media_type, &index);
    layout.manifests.push(index);
    let bench = Bench::new();
    let image = bench.build(&layout.write(&bench.path("layout"))).unwrap();
    assert_eq!(json!(image.manifest), intel["digest"]);
}

#[test]
fn a_saved_image_whose_layer_or_config_was_changed_is_refused() {
    let bench = Bench::new();
    layout().write(&bench.path("layout"));
    let archive = bench.path("docker.tar");
    let to = format!("docker-archive:{}:name/image:v1", archive.display());
    skopeo(&format!("oci:{}", bench.path("layout").display()), &to, &[]);
    let good = fs::read(&archive).unwrap();
    for (old, new, word) in [
        (&[9; 5000][..], &[8; 5000][..], "the config says `sha256:"),
        (b"\"A=b\"", b"\"A=c\"", "has digest"),
    ] {
        let mut bytes = good.clone();
        let at = bytes
            .windows(old.len())
            .position(|window| window == old)
            .unwrap();
        bytes[at..at + new.len()].copy_from_slice(new);
        fs::write(&archive, bytes).unwrap();
        let source = ImageSource::OciArchive {
            file: archive.clone(),
            reference: None,
        };
        let error = bench.build(&source).unwrap_err();
        assert!(chain(&error).contains(word), "{}", chain(&error));
        assert!(bench.stored_files().is_empty());
    }
}

#[test]
fn a_plain_directory_of_blobs_is_named_as_not_being_an_image() {
    let bench = Bench::new();
    layout().write(&bench.path("layout"));
    let plain = bench.path("plain").display().to_string();
    skopeo(
        &format!("oci:{}", bench.path("layout").display()),
        &format!("dir:{plain}"),
        &[],
    );
    let error = bench
        .build(&source(&format!("oci-layout:{plain}")))
        .unwrap_err();
    let mvm_image::MaterializeError::Source { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(
        source,
        SourceError::NotAnImage {
            missing: "oci-layout",
            ..
        }
    ));
    assert!(error.hint().unwrap().contains("skopeo copy"));
}
