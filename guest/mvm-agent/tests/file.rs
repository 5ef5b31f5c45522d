//! Files, on a real file system.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::{
    os::unix::{ffi::OsStrExt as _, fs as unix, fs::PermissionsExt as _},
    path::Path,
};

use mvm_wire::{
    Done, DownloadTree, EndOfData, EndOfFile, Failure, FailureKind, FileKind, FrameKind,
    ListDirectory, MakeDirectory, Operation, ReadFile, RemovePath, RenamePath, Reply, StatPath,
    TreeEntry, UploadTree, WriteFile, reply,
};
use prost::Message as _;
use support::{Connection, with_connection};

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

async fn write(connection: &Connection, path: &Path, content: &[u8]) -> Result<Done, Failure> {
    let request = WriteFile {
        path: bytes(path),
        ..WriteFile::default()
    };
    write_as(connection, request, content).await
}

async fn write_as(
    connection: &Connection,
    request: WriteFile,
    content: &[u8],
) -> Result<Done, Failure> {
    let mut exchange = connection.begin(Operation::WriteFile(request)).await;
    for part in content.chunks(100_000) {
        if exchange.writer.data(FrameKind::Data, part).await.is_err() {
            break;
        }
    }
    let end = mvm_wire::Input::from(EndOfData {});
    let _ = exchange.writer.message(&end).await;
    match exchange.answer().await? {
        reply::Kind::Done(done) => Ok(done),
        other => panic!("{other:?}"),
    }
}

async fn read(connection: &Connection, request: ReadFile) -> Result<Vec<u8>, Failure> {
    let mut exchange = connection.begin(Operation::ReadFile(request)).await;
    exchange.answer().await?;
    let mut content = Vec::new();
    loop {
        let frame = exchange.reader.next().await.unwrap().expect("an end");
        if frame.kind == FrameKind::Data {
            content.extend_from_slice(frame.payload);
            continue;
        }
        match Reply::decode(frame.payload).unwrap().kind.unwrap() {
            reply::Kind::Done(done) => {
                assert_eq!(done.bytes, content.len() as u64);
                return Ok(content);
            }
            reply::Kind::Failure(failure) => return Err(failure),
            other => panic!("{other:?}"),
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_written_as_a_whole_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/below/file");
    let content: Vec<u8> = (0..3_000_017).map(|at| (at % 253) as u8).collect();
    with_connection(async |_, connection| {
        let missing = write(&connection, &path, b"").await.unwrap_err();
        assert_eq!(missing.kind(), FailureKind::NotFound);
        let request = WriteFile {
            path: bytes(&path),
            make_parents: true,
            mode: Some(0o4750),
            ..WriteFile::default()
        };
        let done = write_as(&connection, request, &content).await.unwrap();
        assert_eq!(done.bytes, content.len() as u64);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o4750);
        let whole = ReadFile {
            path: bytes(&path),
            ..ReadFile::default()
        };
        assert_eq!(read(&connection, whole.clone()).await.unwrap(), content);
        let part = ReadFile {
            offset: 1_000_000,
            length: Some(300_000),
            ..whole.clone()
        };
        let read_part = read(&connection, part).await.unwrap();
        assert_eq!(read_part, content[1_000_000..1_300_000]);
        let behind = ReadFile {
            offset: u64::MAX,
            ..whole.clone()
        };
        assert!(read(&connection, behind).await.is_err());

        // Through a symlink, keeping the mode; nothing hidden stays behind.
        let link = directory.path().join("link");
        unix::symlink("deep/below/file", &link).unwrap();
        write(&connection, &link, b"new").await.unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o7777,
            0o4750
        );
        let dangling = directory.path().join("dangling");
        unix::symlink("deep/made", &dangling).unwrap();
        write(&connection, &dangling, b"made").await.unwrap();
        assert_eq!(
            std::fs::read(directory.path().join("deep/made")).unwrap(),
            b"made"
        );
        assert_eq!(names(path.parent().unwrap()), ["file"]);
    });
}

#[test]
fn an_interrupted_write_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "before").unwrap();
    with_connection(async |_, connection| {
        let request = WriteFile {
            path: bytes(&path),
            ..WriteFile::default()
        };
        let mut exchange = connection.begin(Operation::WriteFile(request)).await;
        exchange.data(&vec![1; 500_000]).await;
        while names(directory.path()).len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(exchange);
        while names(directory.path()).len() > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
    });
}

#[test]
fn devices_and_pipes_are_written_through_and_never_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    with_connection(async |_, connection| {
        write(&connection, Path::new("/dev/null"), b"gone")
            .await
            .unwrap();
        let nobody = write(&connection, &pipe, b"x").await.unwrap_err();
        assert_eq!(nobody.errno, libc::ENXIO);
        let request = ReadFile {
            path: bytes(&pipe),
            ..ReadFile::default()
        };
        let refused = read(&connection, request).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::InvalidRequest);
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        let content = vec![9; 1_000_000];
        while write(&connection, &pipe, &content).await.is_err() {}
        assert_eq!(reader.join().unwrap(), content);
    });
}

#[test]
fn paths_are_looked_at_made_renamed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    with_connection(async |_, connection| {
        let ask = async |operation| connection.ask(operation).await;
        let make = |path: &Path, make_parents| {
            Operation::MakeDirectory(MakeDirectory {
                path: bytes(path),
                mode: Some(0o1777),
                make_parents,
            })
        };
        let deep = root.join("a/b/c");
        let missing = ask(make(&deep, false)).await.unwrap_err();
        assert_eq!(missing.kind(), FailureKind::NotFound);
        ask(make(&deep, true)).await.unwrap();
        ask(make(&deep, true)).await.unwrap();
        assert_eq!(
            deep.metadata().unwrap().permissions().mode() & 0o7777,
            0o1777
        );
        assert_eq!(
            root.join("a").metadata().unwrap().permissions().mode() & 0o7777,
            0o755
        );
        let there = ask(make(&deep, false)).await.unwrap_err();
        assert_eq!(there.kind(), FailureKind::AlreadyExists);

        std::fs::write(root.join("outside"), "stays").unwrap();
        unix::symlink(&root, deep.join("link")).unwrap();
        let stat = |path: &Path, follow_symlink| {
            Operation::StatPath(StatPath {
                path: bytes(path),
                follow_symlink,
            })
        };
        let Ok(reply::Kind::Metadata(link)) = ask(stat(&deep.join("link"), false)).await else {
            panic!()
        };
        assert_eq!(
            (link.kind(), link.link_target),
            (FileKind::Symlink, bytes(&root))
        );
        let Ok(reply::Kind::Metadata(target)) = ask(stat(&deep.join("link"), true)).await else {
            panic!()
        };
        assert_eq!(target.kind(), FileKind::Directory);

        let rename = RenamePath {
            from: bytes(&root.join("a")),
            to: bytes(&root.join("z")),
        };
        ask(Operation::RenamePath(rename)).await.unwrap();
        let remove = |path: &Path, recursive| {
            Operation::RemovePath(RemovePath {
                path: bytes(path),
                recursive,
            })
        };
        let full = ask(remove(&root.join("z"), false)).await.unwrap_err();
        assert_eq!(full.kind(), FailureKind::NotEmpty);
        let removed = ask(remove(&root.join("z"), true)).await;
        let expected = Done {
            bytes: 0,
            entries: 4,
        };
        assert_eq!(removed, Ok(reply::Kind::Done(expected)));
        assert_eq!(names(&root), ["outside"]);
        for path in ["/", "//", "/.", "/tmp/..", "relative", ""] {
            let refused = ask(remove(Path::new(path), true)).await.unwrap_err();
            assert_eq!(refused.kind(), FailureKind::InvalidRequest, "{path}");
        }
        let mount_point = ask(remove(Path::new("/proc"), true)).await.unwrap_err();
        assert_eq!(mount_point.errno, libc::EBUSY);
    });
}

#[test]
fn a_large_directory_is_listed_by_name() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        std::fs::write(directory.path().join(format!("{number:04}")), "").unwrap();
    }
    with_connection(async |_, connection| {
        let request = ListDirectory {
            path: bytes(directory.path()),
        };
        let mut exchange = connection.begin(Operation::ListDirectory(request)).await;
        let mut listed = Vec::new();
        loop {
            match exchange.answer().await.unwrap() {
                reply::Kind::DirectoryBatch(batch) => listed.extend(batch.entries),
                reply::Kind::Done(done) => break assert_eq!(done.entries, 1000),
                other => panic!("{other:?}"),
            }
        }
        assert!(listed.iter().map(|entry| &entry.name).is_sorted());
        assert_eq!(listed.len(), 1000);
    });
}

/// Downloads `from` and uploads what came to `to`.
async fn copy(connection: &Connection, from: &Path, to: &Path) -> Result<Done, Failure> {
    let request = DownloadTree { path: bytes(from) };
    let mut down = connection.begin(Operation::DownloadTree(request)).await;
    let request = UploadTree {
        path: bytes(to),
        ..UploadTree::default()
    };
    let mut up = connection.begin(Operation::UploadTree(request)).await;
    loop {
        let frame = down.reader.next().await.unwrap().expect("an end");
        if frame.kind == FrameKind::Data {
            up.writer
                .data(FrameKind::Data, frame.payload)
                .await
                .unwrap();
            continue;
        }
        match Reply::decode(frame.payload).unwrap().kind.unwrap() {
            reply::Kind::TreeEntry(entry) => up.say(entry).await,
            reply::Kind::EndOfFile(end) => up.say(end).await,
            reply::Kind::Failure(failure) => return Err(failure),
            _ => break,
        }
    }
    up.say(EndOfData {}).await;
    match up.answer().await? {
        reply::Kind::Done(done) => Ok(done),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::create_dir_all(from.join("sub/empty")).unwrap();
    std::fs::write(from.join("sub/large"), vec![5; 700_000]).unwrap();
    std::fs::write(from.join("nothing"), "").unwrap();
    unix::symlink("sub/large", from.join("link")).unwrap();
    let locked = std::fs::Permissions::from_mode(0o555);
    std::fs::set_permissions(from.join("sub"), locked).unwrap();
    let same = || {
        std::process::Command::new("diff")
            .args(["-r", "--no-dereference"])
            .args([&from, &to])
            .status()
            .unwrap()
            .success()
    };
    with_connection(async |_, connection| {
        let done = copy(&connection, &from, &to).await.unwrap();
        assert_eq!((done.bytes, done.entries), (700_000, 6));
        assert!(same());
        for name in ["", "sub", "sub/large", "nothing"] {
            let (one, other) = (from.join(name), to.join(name));
            let facts = |path: &Path| {
                let metadata = path.metadata().unwrap();
                (metadata.permissions().mode(), metadata.modified().unwrap())
            };
            assert_eq!(facts(&one), facts(&other), "{name}");
        }
        // Again over what is there.
        std::fs::write(to.join("extra"), "").unwrap();
        copy(&connection, &from, &to).await.unwrap();
        assert!(to.join("extra").exists());
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        let refused = copy(&connection, &from, &directory.path().join("other")).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Unsupported);
        assert_eq!(refused.subject, bytes(&from.join("socket")));
    });
}

#[test]
fn a_tree_cannot_lead_out_of_its_root() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    with_connection(async |_, connection| {
        let entry = |path: &[u8], kind: FileKind, target: &[u8]| TreeEntry {
            path: path.to_vec(),
            kind: kind.into(),
            mode: 0o755,
            link_target: target.to_vec(),
            ..TreeEntry::default()
        };
        for path in [
            &b"../x"[..],
            b"a/../../x",
            b"/x",
            b"x/",
            b"a//b",
            b".",
            b"x\0y",
            b"link/x",
        ] {
            let request = UploadTree {
                path: bytes(&directory.path().join("tree")),
                ..UploadTree::default()
            };
            let mut exchange = connection.begin(Operation::UploadTree(request)).await;
            exchange.say(entry(b"", FileKind::Directory, b"")).await;
            let link = entry(b"link", FileKind::Symlink, outside.as_os_str().as_bytes());
            exchange.say(link).await;
            exchange.say(entry(path, FileKind::Regular, b"")).await;
            let end = mvm_wire::Input::from(EndOfFile {});
            let _ = exchange.writer.message(&end).await;
            assert!(exchange.answer().await.is_err(), "{path:?}");
        }
        assert_eq!(names(&outside), [""; 0]);
        assert_eq!(names(directory.path()), ["outside", "tree"]);
        assert_eq!(names(&directory.path().join("tree")), ["link"]);
    });
}
