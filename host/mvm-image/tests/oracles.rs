//! The image against what others make of it: GNU tar extracts the same layer,
//! `fsck.erofs` and the kernel read the image back.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use support::{Bench, Layout, Member, fsck, is_root, run, tar};

/// What two trees must agree on.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: char,
    mode: u32,
    owner: Option<(u32, u32)>,
    modified: (i64, i64),
    links: u64,
    device: u64,
    content: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// How much of a tree was kept by whoever extracted it.
#[derive(Clone, Copy)]
struct Fidelity {
    owners: bool,
    set_id_bits: bool,
    hard_links: bool,
    xattrs: bool,
}

const EXACT: Fidelity = Fidelity {
    owners: true,
    set_id_bits: true,
    hard_links: true,
    xattrs: true,
};

fn look(root: &Path, fidelity: Fidelity) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let file_type = metadata.file_type();
        let (kind, content) = if file_type.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            ('d', Vec::new())
        } else if file_type.is_symlink() {
            (
                'l',
                fs::read_link(&path)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec(),
            )
        } else if file_type.is_char_device() {
            ('c', Vec::new())
        } else if file_type.is_fifo() {
            ('p', Vec::new())
        } else {
            ('f', fs::read(&path).unwrap())
        };
        let at_root = path == root;
        let name = path
            .strip_prefix(root)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec();
        let mask = if fidelity.set_id_bits { 0o7777 } else { 0o777 };
        let value = Seen {
            kind,
            mode: if at_root { 0 } else { metadata.mode() & mask },
            owner: (fidelity.owners && !at_root).then(|| (metadata.uid(), metadata.gid())),
            modified: if at_root {
                (0, 0)
            } else {
                (metadata.mtime(), metadata.mtime_nsec())
            },
            // A directory's links are counted differently by every filesystem.
            links: if kind == 'd' || !fidelity.hard_links {
                0
            } else {
                metadata.nlink()
            },
            device: metadata.rdev(),
            content,
            xattrs: if fidelity.xattrs {
                xattrs(&path)
            } else {
                BTreeMap::new()
            },
        };
        seen.insert(name, value);
    }
    seen
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let count = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..count]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 1 << 16];
        let name_text = std::str::from_utf8(name).unwrap();
        let size = rustix::fs::lgetxattr(path, name_text, &mut value[..]).unwrap();
        found.insert(name.to_vec(), value[..size].to_vec());
    }
    found
}

#[track_caller]
fn assert_same(expected: &BTreeMap<Vec<u8>, Seen>, found: &BTreeMap<Vec<u8>, Seen>, what: &str) {
    let names = |seen: &BTreeMap<Vec<u8>, Seen>| {
        seen.keys()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(expected), names(found), "{what}");
    for (name, seen) in expected {
        assert_eq!(
            seen,
            &found[name],
            "{what}: {}",
            String::from_utf8_lossy(name)
        );
    }
}

/// Calls `check` with the image mounted by this machine's kernel, where that
/// is possible; says why where it is not.
fn with_mount(bench: &Bench, image: &Path, check: impl FnOnce(&Path)) {
    let target = bench.path("mounted");
    fs::create_dir_all(&target).unwrap();
    if !is_root() {
        eprintln!("skipped: mounting an image takes root");
        return;
    }
    let mounted = Command::new("mount")
        .args(["-t", "erofs", "-o", "loop,ro"])
        .args([image, &target])
        .output()
        .unwrap();
    if !mounted.status.success() {
        let known = fs::read_to_string("/proc/filesystems")
            .unwrap()
            .contains("erofs");
        let loops = Path::new("/dev/loop-control").exists();
        let reason = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(
            !(known && loops),
            "the kernel knows erofs and refuses the image: {reason}"
        );
        eprintln!("skipped: this kernel cannot mount erofs here: {reason}");
        return;
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&target)));
    run("mount", "umount", &[target.to_str().unwrap()]);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Materializes one layer and compares with what GNU tar makes of it.
#[track_caller]
fn compare_with_tar(members: &[Member]) {
    let bench = Bench::new();
    let layer = tar(members);
    let archive = bench.path("layer.tar");
    fs::write(&archive, &layer).unwrap();
    let expected = bench.path("expected");
    fs::create_dir(&expected).unwrap();
    run(
        "tar",
        "tar",
        &[
            "--extract",
            "--preserve-permissions",
            "--delay-directory-restore",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--file",
            archive.to_str().unwrap(),
            "--directory",
            expected.to_str().unwrap(),
        ],
    );
    let image = bench
        .build(&Layout::of(&[layer]).write(&bench.path("layout")))
        .unwrap();
    let extracted = bench.path("extracted");
    let extract = format!("--extract={}", extracted.display());
    fsck(&image.path, &[&extract, "--preserve-perms"]);
    // `fsck.erofs` sets the owner after the mode, which clears set-id bits,
    // extracts every name of a file by itself, and no attributes.
    let partial = Fidelity {
        owners: is_root(),
        set_id_bits: false,
        hard_links: false,
        xattrs: false,
    };
    assert_same(
        &look(&expected, partial),
        &look(&extracted, partial),
        "fsck.erofs",
    );
    with_mount(&bench, &image.path, |mounted| {
        assert_same(&look(&expected, EXACT), &look(mounted, EXACT), "the kernel");
    });
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// The value of `security.capability` that grants `cap_net_raw`.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// `user::rw-,user:7:r--,group::r--,mask::r--,other::---`
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255,
    255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

#[test]
fn files_of_every_size_around_blocks_and_inline_tails() {
    let sizes = [
        0, 1, 31, 32, 511, 512, 513, 2047, 2048, 2049, 4000, 4095, 4096, 4097, 6143, 6144,
    ];
    let members: Vec<_> = sizes
        .into_iter()
        .chain([6145, 8191, 8192, 8193, 300_000, 1 << 20])
        .map(|size| Member::file(&format!("file-{size}"), &pattern(size)))
        .collect();
    compare_with_tar(&members);
}

#[test]
fn directories_of_every_size() {
    let mut members = vec![Member::directory("empty")];
    for count in [1, 2, 100, 300, 1000] {
        let directory = format!("with-{count}");
        members.push(Member::directory(&directory));
        for number in 0..count {
            // Names around `.` and `..` in byte order, and of all lengths.
            let name = format!(
                "{directory}/{}{number}{}",
                ["!", "-", ".", "z"][number % 4],
                "x".repeat(number % 200)
            );
            members.push(Member::file(&name, b""));
        }
    }
    // Extracting changed the directory times; they come last, as tar does it.
    compare_with_tar(&members);
}

#[test]
fn roots_too_large_for_the_first_block() {
    for count in [80, 100, 120, 150, 200, 1000] {
        let members: Vec<_> = (0..count)
            .map(|number| Member::file(&format!("entry-{number:010}"), b"x"))
            .collect();
        compare_with_tar(&members);
    }
    let bench = Bench::new();
    let root = Member::directory("./").xattr("user.large", &pattern(20_000));
    let image = bench
        .build_layers(&[tar(&[root, Member::file("f", b"x")])])
        .unwrap();
    fsck(&image.path, &["--extract"]);
    with_mount(&bench, &image.path, |mounted| {
        assert_eq!(xattrs(mounted)[&b"user.large"[..]], pattern(20_000));
        assert_eq!(fs::read(mounted.join("f")).unwrap(), b"x");
    });
}

#[test]
fn links_modes_owners_and_times() {
    let mut members = vec![
        Member::directory("d").mode(0o1777).owner(5, 6),
        Member::file("d/plain", b"x").mtime(1),
        Member::symlink("d/absolute", "/usr/bin/../bin/env"),
        Member::symlink("d/relative", "../../../out/of/here"),
        Member::symlink("d/long", &"long/".repeat(700)).mtime(7),
        Member::hard_link("second", "d/plain"),
        Member::hard_link("third", "./d//plain"),
        Member::hard_link("symlink-too", "d/absolute"),
        Member::file("fraction", b"x").pax("mtime", b"1234567890.123456789"),
        Member::file("before-1970", b"x").pax("mtime", b"-1.5"),
        Member::file("latin-\u{e9}\n", b"x"),
        Member::directory(&"p".repeat(200)),
        Member::file(
            &format!("{}/{}", "p".repeat(200), "n".repeat(255)),
            b"long name",
        ),
    ];
    if is_root() {
        members.extend([
            Member::file("set-user", b"x").mode(0o4755).owner(0, 42),
            Member::file("set-group", b"x")
                .mode(0o2755)
                .owner(70_000, 3_000_000_000),
            Member::directory("set-group-directory")
                .mode(0o2775)
                .owner(65_535, 65_536),
        ]);
    }
    compare_with_tar(&members);
}

#[test]
fn extended_attributes() {
    let mut members = vec![
        Member::file("user", &pattern(100))
            .xattr("user.one", b"1")
            .xattr("user.empty", b""),
        // tmpfs and ext4 bound what the oracle can hold; this crosses a block.
        Member::file("big", &pattern(5000)).xattr("user.big", &pattern(3500)),
        Member::directory("directory").xattr("user.of-directory", b"yes"),
    ];
    if is_root() {
        members.extend([
            Member::file("capable", b"x")
                .mode(0o755)
                .xattr("security.capability", &CAPABILITY),
            Member::file("trusted", b"x").xattr("trusted.thing", b"\0\xff"),
            Member::symlink("symlink", "user").xattr("trusted.of-symlink", b"yes"),
            Member::file("acl", b"x")
                .mode(0o640)
                .xattr("system.posix_acl_access", &ACL),
        ]);
    }
    compare_with_tar(&members);
}

#[test]
fn special_files() {
    let mut members = vec![Member::fifo("pipe").mode(0o640)];
    if is_root() {
        members.extend([
            Member::device("null", b'3', 1, 3).mode(0o666),
            Member::device("large", b'3', 300, 70_000),
        ]);
    } else {
        eprintln!("skipped: extracting device nodes with tar takes root");
    }
    compare_with_tar(&members);
}

#[test]
fn attributes_larger_than_a_block() {
    let bench = Bench::new();
    let value = pattern(60_000);
    let members = [
        Member::file("f", &pattern(9000))
            .xattr("user.a", &value)
            .xattr("user.b", &value),
        Member::file("g", &pattern(10)).xattr("user.c", &pattern(4060)),
        Member::symlink("s", "target").xattr("trusted.c", &pattern(4090)),
    ];
    let image = bench.build_layers(&[tar(&members)]).unwrap();
    fsck(&image.path, &["--extract"]);
    with_mount(&bench, &image.path, |mounted| {
        let found = xattrs(&mounted.join("f"));
        assert_eq!(found[&b"user.a"[..]], value);
        assert_eq!(found[&b"user.b"[..]], value);
        assert_eq!(fs::read(mounted.join("f")).unwrap(), pattern(9000));
        assert_eq!(fs::read(mounted.join("g")).unwrap(), pattern(10));
        assert_eq!(xattrs(&mounted.join("s"))[&b"trusted.c"[..]], pattern(4090));
        assert_eq!(
            fs::read_link(mounted.join("s")).unwrap(),
            Path::new("target")
        );
    });
}

#[test]
fn dump_erofs_agrees_about_the_superblock_and_an_inode() {
    let bench = Bench::new();
    let members = [
        Member::file("a", b"1").mode(0o4711).owner(70_000, 80_000),
        Member::hard_link("b", "a"),
    ];
    let image = bench.build_layers(&[tar(&members)]).unwrap();
    let dump = |arguments: &[&str]| {
        let image = [image.path.to_str().unwrap()];
        let output = run("erofs-utils", "dump.erofs", &[arguments, &image].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let superblock = dump(&["-s"]);
    for line in [
        "0xE0F5E1E2",
        "sb_csum",
        "inode count:                       2",
    ] {
        assert!(superblock.contains(line), "{superblock}");
    }
    let inode = dump(&["--path=/b"]);
    for line in ["Links: 2", "Uid: 70000", "Gid: 80000", "Size: 1 "] {
        assert!(inode.contains(line), "{inode}");
    }
}

#[test]
fn the_superblock_checksum_guards_the_first_block() {
    let bench = Bench::new();
    let image = bench
        .build_layers(&[tar(&[Member::file("a", b"1")])])
        .unwrap();
    let mut bytes = fs::read(&image.path).unwrap();
    bytes[2000] ^= 1;
    let damaged = bench.path("damaged");
    fs::write(&damaged, bytes).unwrap();
    let output = run("erofs-utils", "fsck.erofs", &[damaged.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("failed to verify superblock checksum"),
        "{said}"
    );
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "[!-.]x", "[a-z]{1,30}"]
}

fn member() -> impl Strategy<Value = (String, u8, usize, u32)> {
    let path = proptest::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"));
    (
        path,
        0_u8..4,
        prop_oneof![0_usize..100, 0_usize..9000],
        0_u32..0o1000,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random trees without conflicting paths, as any archiver would write them.
    #[test]
    fn random_trees(wanted in proptest::collection::vec(member(), 1..60)) {
        let mut kinds: BTreeMap<String, char> = BTreeMap::new();
        let mut members = Vec::new();
        let mut files: Vec<String> = Vec::new();
        for (path, kind, size, mode) in wanted {
            let parents: Vec<_> =
                path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
            if kinds.contains_key(&path)
                || parents.iter().any(|parent| kinds.get(parent).is_some_and(|kind| *kind != 'd'))
            {
                continue;
            }
            for parent in parents {
                if kinds.insert(parent.clone(), 'd').is_none() {
                    members.push(Member::directory(&parent));
                }
            }
            let mode = mode | 0o400;
            let (member, letter) = match (kind, files.last()) {
                (0, _) => (Member::directory(&path).mode(mode | 0o300), 'd'),
                (1, _) => (Member::symlink(&path, &"t/".repeat(size % 2000 + 1)), 'l'),
                (2, Some(target)) => (Member::hard_link(&path, target), 'f'),
                _ => (Member::file(&path, &pattern(size)).mode(mode).mtime(size as u64), 'f'),
            };
            if letter == 'f' {
                files.push(path.clone());
            }
            kinds.insert(path, letter);
            members.push(member);
        }
        compare_with_tar(&members);
    }
}
