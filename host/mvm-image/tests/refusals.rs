//! What an image must not do. Each refusal names the thing, and leaves nothing
//! in the store.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::fs;

use mvm_image::{Digest, ImageSource, Limits};
use serde_json::json;
use support::{Bench, LAYER, Layout, Member, chain, gzip, tar};

/// Builds and expects a refusal that contains every one of `words`.
#[track_caller]
fn refused(bench: &Bench, source: &ImageSource, limits: Limits, words: &[&str]) {
    let error = bench
        .build_within(source, limits)
        .expect_err("this image must be refused");
    let text = chain(&error);
    for word in words {
        assert!(text.contains(word), "`{word}` is not named in: {text}");
    }
    assert_eq!(
        bench.stored_files(),
        Vec::<std::path::PathBuf>::new(),
        "left behind"
    );
}

#[track_caller]
fn refused_layers(layers: &[Vec<u8>], words: &[&str]) {
    let bench = Bench::new();
    let source = Layout::of(layers).write(&bench.path("layout"));
    refused(&bench, &source, Limits::default(), words);
}

#[track_caller]
fn refused_members(members: &[Member], words: &[&str]) {
    refused_layers(&[tar(members)], words);
}

#[track_caller]
fn refused_layout(layout: &Layout, words: &[&str]) {
    let bench = Bench::new();
    let source = layout.write(&bench.path("layout"));
    refused(&bench, &source, Limits::default(), words);
}

#[track_caller]
fn refused_archive(bytes: &[u8], words: &[&str]) {
    let bench = Bench::new();
    let file = bench.path("image.tar");
    fs::write(&file, bytes).unwrap();
    let source = ImageSource::OciArchive {
        file,
        reference: None,
    };
    refused(&bench, &source, Limits::default(), words);
}

#[test]
fn an_image_that_does_not_exist() {
    let bench = Bench::new();
    for text in [
        "oci-layout:/nonexistent/dir",
        "oci-archive:/nonexistent/file",
        "debian:nothing",
    ] {
        let source: ImageSource = text.parse().unwrap();
        let error = bench.build(&source).unwrap_err();
        assert!(chain(&error).contains(text), "{}", chain(&error));
        assert!(error.hint().is_some());
        let place = text.split_once(':').unwrap().1;
        refused(&bench, &source, Limits::default(), &[place]);
    }
    let source = Layout::of(&[tar(&[])]).write(&bench.path("layout"));
    let ImageSource::OciLayout { directory, .. } = source else {
        unreachable!()
    };
    let source = ImageSource::OciLayout {
        directory,
        reference: Some("v9".into()),
    };
    refused(&bench, &source, Limits::default(), &["has no `v9`"]);
    fs::create_dir(bench.path("empty")).unwrap();
    let source = ImageSource::OciLayout {
        directory: bench.path("empty"),
        reference: None,
    };
    refused(
        &bench,
        &source,
        Limits::default(),
        &["not an image", "`oci-layout`"],
    );
}

#[test]
fn a_layer_whose_bytes_do_not_match_its_digest() {
    let mut layout = Layout::of(&[tar(&[Member::file("a", b"good")])]);
    layout.layer_mut()[512] = b'b';
    refused_layout(
        &layout,
        &[
            "failed to unpack layer `sha256:",
            "the manifest says `sha256:",
        ],
    );
}

#[test]
fn a_layer_that_unpacks_to_something_else_than_its_config_says() {
    let good = tar(&[Member::file("a", b"good")]);
    let layout = Layout::of_stored(&format!("{LAYER}+gzip"), gzip(&good), b"something else");
    refused_layout(
        &layout,
        &["the unpacked layer has digest", "the config says"],
    );
}

#[test]
fn documents_that_do_not_match_their_digests() {
    let mut layout = Layout::of(&[tar(&[])]);
    for (name, bytes) in &mut layout.files {
        if name.starts_with("blobs/") && bytes.starts_with(b"{") {
            let at = bytes.len() - 1;
            bytes[at] = b' ';
        }
    }
    refused_layout(&layout, &["document `sha256:", "has digest `sha256:"]);
}

#[test]
fn a_blob_of_another_size_or_none() {
    let mut layout = Layout::of(&[tar(&[])]);
    layout.layer_mut().push(0);
    refused_layout(&layout, &["blob `sha256:", "has 1025 bytes", "says 1024"]);
    let mut layout = Layout::of(&[tar(&[])]);
    let layer = Digest::of(&tar(&[])).hex();
    layout.files.remove(&format!("blobs/sha256/{layer}"));
    refused_layout(&layout, &["has no `blobs/sha256/", &layer]);
}

#[test]
fn paths_out_of_the_root() {
    for path in ["../evil", "a/../../evil", "..", "a/.."] {
        refused_members(&[Member::file(path, b"x")], &[&format!("`{path}`"), "`..`"]);
    }
}

#[test]
fn parents_that_are_symlinks_out_of_the_root() {
    for target in [
        "..",
        "../../outside",
        "/../outside",
        "/no/such/place",
        "no-such-place",
    ] {
        refused_members(
            &[
                Member::symlink("link", target),
                Member::file("link/evil", b"x"),
            ],
            &["`link/evil`", &format!("`{target}`"), "out of the image"],
        );
    }
    refused_layers(
        &[
            tar(&[Member::symlink("link", "../up")]),
            tar(&[Member::file("link/evil", b"x")]),
        ],
        &["`link/evil`", "`../up`"],
    );
    refused_members(
        &[
            Member::symlink("a", "b"),
            Member::symlink("b", "a"),
            Member::file("a/x", b""),
        ],
        &["`a/x`", "loop"],
    );
    refused_members(
        &[Member::file("file", b""), Member::file("file/x", b"")],
        &["`file/x`", "`file`", "not a directory"],
    );
}

#[test]
fn hard_links_to_what_is_not_there() {
    refused_members(
        &[Member::hard_link("a", "missing")],
        &["`a`", "`missing`", "does not exist"],
    );
    refused_members(
        &[Member::hard_link("a", "../etc/passwd")],
        &["`a`", "`../etc/passwd`"],
    );
    refused_members(
        &[Member::directory("d"), Member::hard_link("a", "d")],
        &["`a`", "`d`", "is a directory"],
    );
    refused_members(
        &[Member::symlink("up", "/.."), Member::hard_link("a", "up/x")],
        &["`a`", "out of the image"],
    );
}

#[test]
fn block_devices_and_unknown_types() {
    refused_members(
        &[Member::device("dev/sda", b'4', 8, 0)],
        &["`dev/sda`", "block device (8:0)"],
    );
    for flag in [b'7', b'V', b'M', b'D', b'Z'] {
        let strange = Member {
            flag,
            ..Member::file("strange", b"")
        };
        refused_members(&[strange], &["`strange`", "unsupported type"]);
    }
}

#[test]
fn sparse_files() {
    let sparse = Member {
        flag: b'S',
        ..Member::file("hole", b"")
    };
    refused_members(&[sparse], &["`hole`", "sparse"]);
    let sparse = Member::file("hole", b"")
        .pax("path", b"hole")
        .pax("GNU.sparse.major", b"1");
    refused_members(&[sparse], &["`hole`", "sparse"]);
}

#[test]
fn truncated_archives() {
    let whole = tar(&[
        Member::file("first", b"x"),
        Member::file("second", &[7; 3000]),
    ]);
    for length in [
        whole.len() - 1024,
        whole.len() - 1024 - 700,
        1500,
        1024,
        100,
        0,
    ] {
        refused_layers(&[whole[..length].to_vec()], &["truncated at byte"]);
    }
    let compressed = gzip(&whole);
    let half = compressed[..compressed.len() / 2].to_vec();
    let layout = Layout::of_stored(&format!("{LAYER}+gzip"), half, &whole);
    refused_layout(&layout, &["sha256:"]);
    let archive = Layout::of(&[whole]).archive();
    for length in [archive.len() - 1024, archive.len() / 2, 700] {
        refused_archive(&archive[..length], &["image.tar", "truncated"]);
    }
}

#[test]
fn decompression_bombs() {
    let zeros = tar(&[Member::file("zeros", &vec![0; 70 << 20])]);
    let packed = zstd::encode_all(&zeros[..], 3).unwrap();
    let layout = Layout::of_stored(&format!("{LAYER}+zstd"), packed, &zeros);
    refused_layout(&layout, &["sha256:", "decompression bomb"]);
    let zeros = tar(&[Member::file("zeros", &vec![0; 10 << 20])]);
    let layout = Layout::of_stored(&format!("{LAYER}+gzip"), gzip(&zeros), &zeros);
    let bench = Bench::new();
    let source = layout.write(&bench.path("layout"));
    let limits = Limits {
        ratio_free_bytes: 1 << 20,
        ..Limits::default()
    };
    refused(&bench, &source, limits, &["sha256:", "decompression bomb"]);
}

#[test]
fn whatever_exceeds_a_limit() {
    let base = Limits::default();
    let deep = "d/".repeat(40);
    let long = "n".repeat(256);
    let many: Vec<_> = (0..20)
        .map(|number| Member::file(&format!("f{number}"), b""))
        .collect();
    let cases: Vec<(Vec<Member>, Limits, &str)> = vec![
        (
            many.clone(),
            Limits {
                entries: 10,
                ..base
            },
            "more than 10 entries",
        ),
        (
            vec![Member::directory(&deep)],
            Limits {
                entries: 10,
                ..base
            },
            "more than 10 entries",
        ),
        (
            many,
            Limits {
                metadata_bytes: 30,
                ..base
            },
            "limit of 30 bytes",
        ),
        (
            vec![Member::directory(&deep)],
            Limits {
                path_depth: 30,
                ..base
            },
            "30 directories",
        ),
        (
            vec![Member::file("long-path", b"")],
            Limits {
                path_bytes: 5,
                ..base
            },
            "limit is 5",
        ),
        (vec![Member::file(&long, b"")], base, "more than 255 bytes"),
        (
            vec![Member::file("f", &[1; 999])],
            Limits {
                file_bytes: 99,
                ..base
            },
            "file is 99",
        ),
        (
            vec![Member::file("f", &[1; 9999])],
            Limits {
                unpacked_bytes: 5000,
                ..base
            },
            "more than 5000 bytes",
        ),
        (
            vec![Member::file("f", b"").xattr("user.x", &[1; 999])],
            Limits {
                xattr_bytes: 500,
                ..base
            },
            "the limit is 500",
        ),
        (
            vec![Member::file("f", b"").xattr("user.x", &[1; 9999])],
            Limits {
                header_bytes: 5000,
                ..base
            },
            "the limit is 5000",
        ),
        (
            vec![Member::file("f", b"").xattr("user.x", &[1; 65_536])],
            base,
            "65536 bytes",
        ),
        (
            vec![],
            Limits { layers: 0, ..base },
            "has 1 layers, the limit is 0",
        ),
        (
            vec![],
            Limits {
                document_bytes: 10,
                ..base
            },
            "the limit is 10",
        ),
    ];
    for (members, limits, word) in cases {
        let bench = Bench::new();
        let source = Layout::of(&[tar(&members)]).write(&bench.path("layout"));
        refused(&bench, &source, limits, &[word]);
    }
    let bench = Bench::new();
    let file = bench.path("image.tar");
    fs::write(&file, Layout::of(&[tar(&[])]).archive()).unwrap();
    let source = ImageSource::OciArchive {
        file,
        reference: None,
    };
    refused(
        &bench,
        &source,
        Limits {
            archive_entries: 2,
            ..base
        },
        &["more than 2 members"],
    );
}

#[test]
fn names_reserved_for_whiteouts() {
    for path in [
        ".wh.",
        ".wh..",
        ".wh...",
        ".wh..wh.plnk",
        "d/.wh..wh.aufs",
        ".wh.d/x",
    ] {
        refused_members(
            &[Member::file(path, b"")],
            &[&format!("`{path}`"), "whiteout"],
        );
    }
    refused_members(&[Member::directory(".wh.d")], &["`.wh.d`", "whiteout"]);
}

#[test]
fn attributes_that_linux_does_not_store_or_overlays_act_on() {
    for name in [
        "com.apple.quarantine",
        "system.other",
        "user.",
        "trusted.overlay.opaque",
    ] {
        refused_members(&[Member::file("f", b"").xattr(name, b"y")], &["`f`", name]);
    }
}

#[test]
fn headers_that_make_no_sense() {
    let pax = |key: &str, value: &[u8]| tar(&[Member::file("f", b"").pax(key, value)]);
    refused_layers(&[pax("size", b"-1")], &["malformed record `size`"]);
    refused_layers(&[pax("mtime", b"soon")], &["malformed record `mtime`"]);
    refused_layers(&[pax("path", b"a\0b")], &["malformed record `path`"]);
    refused_layers(
        &[pax("VENDOR.key", b"1")],
        &["unsupported record `VENDOR.key`"],
    );
    let twice = Member::file("f", b"").pax("path", b"a").pax("path", b"b");
    refused_members(&[twice], &["repeats `path`"]);
    let global = Member {
        flag: b'g',
        ..Member::file("pax", b"17 path=evil/path\n")
    };
    refused_members(&[global], &["record"]);
    let mut checksum = tar(&[Member::file("f", b"")]);
    checksum[0] = b'g';
    refused_layers(&[checksum], &["wrong checksum"]);
    let mut lone = vec![0; 512];
    lone.extend(tar(&[Member::file("hidden", b"")]));
    refused_layers(&[lone], &["followed by more entries"]);
    let mut user = tar(&[Member::file("f", b"").owner(5_000_000, 0)]);
    user[109] = 1;
    user[148..156].copy_from_slice(b"        ");
    let sum: u32 = user[..512].iter().map(|byte| u32::from(*byte)).sum();
    user[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    refused_layers(&[user], &["invalid `uid`"]);
    refused_members(
        &[Member::file("./", b"").mode(0o644), Member::fifo(".")],
        &["root"],
    );
}

#[test]
fn media_types_that_are_not_supported() {
    let bytes = tar(&[]);
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.v1.tar+lz4",
    ] {
        let layout = Layout::of_stored(media_type, bytes.clone(), &bytes);
        refused_layout(&layout, &["unsupported media type", media_type, "sha256:"]);
    }
    let mut layout = Layout::of(&[tar(&[])]);
    layout.manifests[0]["mediaType"] =
        json!("application/vnd.docker.distribution.manifest.v1+json");
    refused_layout(&layout, &["unsupported media type", "manifest.v1+json"]);
    let mut layout = Layout::of(&[tar(&[])]);
    layout.manifests[0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    refused_layout(&layout, &["invalid digest", "sha512"]);
    let mut layout = Layout::of(&[tar(&[])]);
    layout.manifests[0]["digest"] = json!("sha256:../../../etc/passwd");
    refused_layout(&layout, &["malformed digest"]);
}

#[test]
fn other_platforms() {
    let mut layout = Layout::empty();
    let manifest = layout.add_image(&[], json!({"architecture": "arm64"}));
    layout.manifests.push(manifest);
    refused_layout(&layout, &["linux/arm64", "not for linux/amd64"]);
    let mut layout = Layout::empty();
    let mut inner = layout.add_image(&[], json!({}));
    inner["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [inner]});
    let index = layout.add_json(media_type, &index);
    layout.manifests.push(index);
    refused_layout(&layout, &["no image for linux/amd64", "linux/arm64/v8"]);
}

#[test]
fn several_images_without_a_choice() {
    let mut layout = Layout::empty();
    for name in ["one", "two"] {
        let mut manifest = layout.add_image(&[], json!({"created": name}));
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        layout.manifests.push(manifest);
    }
    refused_layout(&layout, &["holds 2 images"]);
    let bench = Bench::new();
    let ImageSource::OciLayout { directory, .. } = layout.write(&bench.path("layout")) else {
        unreachable!()
    };
    let source = ImageSource::OciLayout {
        directory,
        reference: Some("two".into()),
    };
    bench.build(&source).unwrap();
}

#[test]
fn archives_with_strange_members() {
    let with = |member: Member| tar(&[Member::file("oci-layout", b"{}"), member]);
    refused_archive(
        &with(Member::file("oci-layout", b"{}")),
        &["`oci-layout`", "there twice"],
    );
    refused_archive(
        &with(Member::file("../x", b"")),
        &["`../x`", "out of the archive"],
    );
    refused_archive(&with(Member::file("/x", b"")), &["`/x`", "absolute"]);
    refused_archive(&with(Member::fifo("pipe")), &["`pipe`", "neither file"]);
    refused_archive(
        &with(Member::hard_link("x", "oci-layout")),
        &["`x`", "neither file"],
    );
    refused_archive(
        &tar(&[Member::symlink("oci-layout", "../up")]),
        &["`oci-layout`", "symlink out of the archive"],
    );
    refused_archive(&gzip(&tar(&[])), &["compressed with gzip"]);
    refused_archive(&tar(&[Member::file("x", b"")]), &["not an image"]);
    refused_archive(b"text", &["image.tar", "truncated"]);
}

#[test]
fn a_pipe_in_place_of_a_blob() {
    let bench = Bench::new();
    let source = Layout::of(&[tar(&[])]).write(&bench.path("layout"));
    let blob = bench
        .path("layout/blobs/sha256")
        .join(Digest::of(&tar(&[])).hex());
    fs::remove_file(&blob).unwrap();
    support::run("coreutils", "mkfifo", &[blob.to_str().unwrap()]);
    refused(
        &bench,
        &source,
        Limits::default(),
        &["is not a regular file"],
    );
}
