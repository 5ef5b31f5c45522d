//! What several layers become together: whiteouts, replacements, links.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use support::{Bench, Member, fsck, run, tar};

/// Paths of the merged image to what they are: `d`, the text of a file, or
/// `-> target`.
fn merged(layers: &[Vec<Member>]) -> BTreeMap<String, String> {
    let bench = Bench::new();
    let layers: Vec<_> = layers.iter().map(|layer| tar(layer)).collect();
    let image = bench.build_layers(&layers).unwrap();
    let root = bench.path("extracted");
    fsck(&image.path, &[&format!("--extract={}", root.display())]);
    let mut seen = BTreeMap::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let value = if metadata.is_dir() {
                pending.push(path.clone());
                "d".into()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                fs::read_to_string(&path).unwrap()
            };
            seen.insert(
                path.strip_prefix(&root).unwrap().display().to_string(),
                value,
            );
        }
    }
    seen
}

#[track_caller]
fn check(layers: &[Vec<Member>], expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> = expected
        .iter()
        .map(|(path, value)| ((*path).into(), (*value).into()))
        .collect();
    assert_eq!(merged(layers), expected);
}

fn file(path: &str, text: &str) -> Member {
    Member::file(path, text.as_bytes())
}

#[test]
fn later_layers_and_later_entries_replace() {
    check(
        &[
            vec![
                file("a", "old"),
                file("b", "kept"),
                file("same", "first"),
                file("same", "second"),
            ],
            vec![file("a", "new")],
        ],
        &[("a", "new"), ("b", "kept"), ("same", "second")],
    );
}

#[test]
fn directories_and_files_replace_each_other() {
    check(
        &[
            vec![
                file("d/inside", "x"),
                file("f", "x"),
                Member::symlink("l", "d"),
            ],
            vec![
                file("d", "file now"),
                Member::directory("f"),
                file("f/inside", "y"),
                Member::directory("l"),
                file("l/inside", "z"),
            ],
        ],
        &[
            ("d", "file now"),
            ("f", "d"),
            ("f/inside", "y"),
            ("l", "d"),
            ("l/inside", "z"),
        ],
    );
}

#[test]
fn a_directory_entry_updates_metadata_and_keeps_children() {
    let bench = Bench::new();
    let image = bench
        .build_layers(&[
            tar(&[Member::directory("d"), file("d/x", "x")]),
            tar(&[Member::directory("d/").mode(0o700).mtime(77)]),
        ])
        .unwrap();
    let root = bench.path("extracted");
    fsck(
        &image.path,
        &[&format!("--extract={}", root.display()), "--preserve-perms"],
    );
    let metadata = fs::metadata(root.join("d")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o700, 77));
    assert!(root.join("d/x").exists());
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    check(
        &[
            vec![
                file("a", "old"),
                file("d/x", "old"),
                file("d/y", "old"),
                file("e/z", "old"),
            ],
            vec![
                file("new", "new"),
                file(".wh.new", ""),
                file(".wh.a", ""),
                file(".wh.e", ""),
                file(".wh.never-there", ""),
                file("no/such/directory/.wh.x", ""),
                file("d/.wh.x", ""),
            ],
        ],
        &[("d", "d"), ("d/y", "old"), ("new", "new")],
    );
}

#[test]
fn a_whiteout_may_stand_before_or_after_what_replaces_it() {
    let lower = vec![file("d/old", "old"), file("d/sub/old", "old")];
    let upper = [
        file(".wh.d", ""),
        Member::directory("d"),
        file("d/sub/new", "new"),
    ];
    let expected = [("d", "d"), ("d/sub", "d"), ("d/sub/new", "new")];
    check(&[lower.clone(), upper.to_vec()], &expected);
    let reversed: Vec<_> = upper.iter().rev().cloned().collect();
    check(&[lower, reversed], &expected);
}

#[test]
fn opaque_directories_hide_lower_layers_only() {
    let lower = vec![
        file("d/a", "old"),
        file("d/sub/b", "old"),
        file("d/sub/c", "old"),
    ];
    let upper = [
        file("d/.wh..wh..opq", ""),
        file("d/sub/.wh..wh..opq", ""),
        file("d/sub/c", "new"),
        file("d/e", "new"),
    ];
    let expected = [
        ("d", "d"),
        ("d/e", "new"),
        ("d/sub", "d"),
        ("d/sub/c", "new"),
    ];
    check(&[lower.clone(), upper.to_vec()], &expected);
    let reversed: Vec<_> = upper.iter().rev().cloned().collect();
    check(&[lower.clone(), reversed], &expected);
    check(
        &[
            lower,
            vec![file(".wh..wh..opq", "")],
            vec![file("top", "x")],
        ],
        &[("top", "x")],
    );
}

#[test]
fn parents_that_are_symlinks_inside_the_image_are_followed() {
    check(
        &[
            vec![
                Member::directory("usr/lib"),
                Member::symlink("lib", "usr/lib"),
                Member::symlink("absolute", "/usr/lib"),
                Member::symlink("usr/up", "../usr/./lib/../lib"),
            ],
            vec![
                file("lib/one", "1"),
                file("absolute/two", "2"),
                file("usr/up/three/deep", "3"),
                Member::hard_link("linked", "lib/one"),
                file("lib/gone", ""),
            ],
            vec![file("absolute/.wh.gone", "")],
        ],
        &[
            ("absolute", "-> /usr/lib"),
            ("lib", "-> usr/lib"),
            ("linked", "1"),
            ("usr", "d"),
            ("usr/lib", "d"),
            ("usr/lib/one", "1"),
            ("usr/lib/three", "d"),
            ("usr/lib/three/deep", "3"),
            ("usr/lib/two", "2"),
            ("usr/up", "-> ../usr/./lib/../lib"),
        ],
    );
}

#[test]
fn symlinks_are_data_wherever_they_point() {
    check(
        &[vec![
            Member::symlink("absolute", "/etc/passwd"),
            Member::symlink("outside", "../../../etc/passwd"),
        ]],
        &[
            ("absolute", "-> /etc/passwd"),
            ("outside", "-> ../../../etc/passwd"),
        ],
    );
}

#[test]
fn hard_links_reach_lower_layers_and_survive_their_target() {
    let bench = Bench::new();
    let image = bench
        .build_layers(&[
            tar(&[file("a", "content"), file("b", "other")]),
            tar(&[Member::hard_link("c", "a"), Member::hard_link("d/e", "a")]),
            tar(&[file(".wh.a", ""), Member::hard_link("b", "b")]),
        ])
        .unwrap();
    let links = |path: &str| {
        let arguments = [&format!("--path={path}"), image.path.to_str().unwrap()];
        let output = run("erofs-utils", "dump.erofs", &arguments);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(links("/c").contains("Links: 2"), "{}", links("/c"));
    assert!(links("/d/e").contains("Links: 2"));
    assert!(links("/b").contains("Links: 1"));
}

#[test]
fn paths_may_be_written_in_any_way_that_stays_inside() {
    check(
        &[vec![
            file("./a", "1"),
            file("/b", "2"),
            file(".//c/./d", "3"),
            Member::directory("./"),
        ]],
        &[("a", "1"), ("b", "2"), ("c", "d"), ("c/d", "3")],
    );
}

#[test]
fn gnu_long_names_and_ustar_prefixes_are_read() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    let long = format!("{}/{}", "a".repeat(90), "b".repeat(150));
    fs::create_dir_all(tree.join(&long).parent().unwrap()).unwrap();
    fs::write(tree.join(&long), "x").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), tree.join("link")).unwrap();
    let mut images = Vec::new();
    for format in ["gnu", "pax"] {
        let archive = bench.path(&format!("{format}.tar"));
        let format = format!("--format={format}");
        let (archive, tree) = (archive.to_str().unwrap(), tree.to_str().unwrap());
        let arguments = [
            "--sort=name",
            "--mtime=@1",
            &format,
            "-cf",
            archive,
            "-C",
            tree,
            ".",
        ];
        run("tar", "tar", &arguments);
        images.push(
            bench
                .build_layers(&[fs::read(archive).unwrap()])
                .unwrap()
                .digest,
        );
    }
    assert_eq!(images[0], images[1]);
}
