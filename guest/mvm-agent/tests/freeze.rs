//! A guest that stands still, and what makes it go on.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_agent::SessionEnd;
use mvm_wire::{
    AttachProcess, EndOfData, EndOfFile, Failure, FailureKind, FileKind, Freeze, Operation, Ping,
    ReadFile, RemovePath, SendSignal, Shutdown, Thaw, TreeEntry, UploadTree, WriteFile, reply,
};
use support::{Connection, Exchange, Guest, Running, hello, shell, with_connection};

/// How long nothing may happen before it counts as nothing.
const STILLNESS: Duration = Duration::from_millis(200);

/// What the kernel's control files look like to the agent: files stay what was written to them, so
/// nothing is frozen, but everything around it happens.
struct Pretence(tempfile::TempDir);

impl Pretence {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cgroup.freeze"), "0").unwrap();
        std::fs::write(
            directory.path().join("cgroup.events"),
            "populated 0\nfrozen 1\n",
        )
        .unwrap();
        Self(directory)
    }

    fn guest(&self) -> Guest {
        Guest::with_groups(Some(self.0.path().to_owned()))
    }

    fn is_frozen(&self) -> bool {
        std::fs::read_to_string(self.0.path().join("cgroup.freeze")).unwrap() == "1"
    }

    /// Waits for what the agent does without an answer.
    async fn becomes(&self, frozen: bool) {
        while self.is_frozen() != frozen {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn freeze(connection: &Connection) -> Result<Exchange, Failure> {
    let mut exchange = connection.begin(Operation::Freeze(Freeze {})).await;
    match exchange.answer().await? {
        reply::Kind::Frozen(_) => Ok(exchange),
        other => panic!("{other:?}"),
    }
}

async fn thaw(mut exchange: Exchange) {
    exchange.say(Thaw {}).await;
    let answer = exchange.answer().await.unwrap();
    assert!(matches!(answer, reply::Kind::Done(_)), "{answer:?}");
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn write_request(path: &Path) -> Operation {
    Operation::WriteFile(WriteFile {
        path: bytes(path),
        ..WriteFile::default()
    })
}

/// The agent answers, so whatever it was sent before has reached it.
async fn settle(connection: &Connection) {
    tokio::time::sleep(STILLNESS).await;
    connection.ask(Operation::Ping(Ping {})).await.unwrap();
}

fn hidden(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains(".mvm-"))
        .collect()
}

#[test]
fn without_control_groups_it_is_not_done() {
    support::run(Guest::with_groups(None), async |guest| {
        let connection = guest.enter().await;
        let refused = freeze(&connection).await.err().unwrap();
        assert_eq!(refused.kind(), FailureKind::Unsupported);
        connection.run(shell("true")).await.unwrap();
    });
    // Nor where they cannot be frozen.
    let pretence = Pretence::new();
    std::fs::remove_file(pretence.0.path().join("cgroup.freeze")).unwrap();
    support::run(pretence.guest(), async |guest| {
        let connection = guest.enter().await;
        let refused = freeze(&connection).await.err().unwrap();
        assert_eq!(refused.kind(), FailureKind::Unsupported);
    });
}

#[test]
fn processes_that_do_not_freeze_in_time_are_left_running() {
    let pretence = Pretence::new();
    std::fs::write(pretence.0.path().join("cgroup.events"), "frozen 0\n").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    support::run(pretence.guest(), async |guest| {
        let connection = guest.enter().await;
        let refused = freeze(&connection).await.err().unwrap();
        assert_eq!(refused.kind(), FailureKind::Io);
        assert!(!pretence.is_frozen());
        let mut write = connection.begin(write_request(file.path())).await;
        write.say(EndOfData {}).await;
        write.answer().await.unwrap();
    });
}

#[test]
fn processes_stand_still_and_go_on() {
    with_connection(async |guest, connection| {
        if !guest.has_control_groups() {
            println!("skipped: no control groups here");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        let script = format!(
            "at=0; while :; do at=$((at+1)); echo $at; echo $at >> {}; done",
            count.display()
        );
        let mut request = shell(&script);
        request.detached = true;
        let mut running = connection.start(request).await.unwrap();
        running.until("\n100\n").await;
        let process_id = running.started.process_id;
        let frozen = freeze(&connection).await.unwrap();
        let before = std::fs::read_to_string(&count).unwrap();
        settle(&connection).await;
        assert_eq!(std::fs::read_to_string(&count).unwrap(), before);
        let refused = freeze(&connection).await.err().unwrap();
        assert_eq!(refused.kind(), FailureKind::InvalidRequest);
        assert_eq!(std::fs::read_to_string(&count).unwrap(), before);
        thaw(frozen).await;
        while std::fs::read_to_string(&count).unwrap() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        // As in a restored guest: the connection is lost, and a hello comes on the other port.
        let frozen = freeze(&connection).await.unwrap();
        connection.lose().await;
        drop((frozen, running));
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::HungUp);
        let before = std::fs::read_to_string(&count).unwrap();
        let connection = guest.connect_on(1).await;
        tokio::time::sleep(STILLNESS).await;
        assert_eq!(std::fs::read_to_string(&count).unwrap(), before);
        connection.hello(hello([7; 32])).await.unwrap();
        let attach = Operation::AttachProcess(AttachProcess {
            process_id,
            ..AttachProcess::default()
        });
        let mut attached = Running::new(connection.begin(attach).await).await.unwrap();
        // What it said before, behind the last freeze, and since: without a hole.
        let last: u64 = before.lines().last().unwrap().parse().unwrap();
        let said = attached.until(&format!("\n{}\n", last + 100)).await.text();
        for (line, number) in said.lines().zip(1..=last + 100) {
            assert_eq!(line.parse(), Ok(number));
        }
    });
}

#[test]
fn a_frozen_process_can_be_killed() {
    with_connection(async |guest, connection| {
        if !guest.has_control_groups() {
            println!("skipped: no control groups here");
            return;
        }
        let mut running = connection
            .start(shell("echo up; sleep 1000"))
            .await
            .unwrap();
        running.until("up").await;
        let frozen = freeze(&connection).await.unwrap();
        running.exchange.say(SendSignal { signal: 9 }).await;
        running.finish().await.unwrap();
        thaw(frozen).await;
        let finished = connection.run(shell("echo again")).await.unwrap();
        assert_eq!(finished.text(), "again\n");
    });
}

#[test]
fn what_writes_waits_and_is_whole_afterwards() {
    let pretence = Pretence::new();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let tree = directory.path().join("tree");
    let content: Vec<u8> = (0..200_003).map(|at| (at % 253) as u8).collect();
    support::run(pretence.guest(), async |guest| {
        let connection = guest.enter().await;
        let mut begun = connection.begin(write_request(&file)).await;
        begun.data(&content[..70_000]).await;
        let upload = Operation::UploadTree(UploadTree {
            path: bytes(&tree),
            ..UploadTree::default()
        });
        let entry = |path: &str, kind: FileKind| TreeEntry {
            path: path.into(),
            kind: kind.into(),
            mode: 0o755,
            ..TreeEntry::default()
        };
        let mut uploading = connection.begin(upload).await;
        uploading.say(entry("", FileKind::Directory)).await;
        settle(&connection).await;
        let frozen = freeze(&connection).await.unwrap();

        begun.data(&content[70_000..]).await;
        begun.say(EndOfData {}).await;
        uploading.say(entry("leaf", FileKind::Regular)).await;
        uploading.data(b"leaf").await;
        uploading.say(EndOfFile {}).await;
        uploading.say(EndOfData {}).await;
        let new = directory.path().join("new");
        let mut beginning = connection.begin(write_request(&new)).await;
        beginning.say(EndOfData {}).await;
        settle(&connection).await;
        assert!(!file.exists() && !new.exists() && !tree.join("leaf").exists());
        let sizes: Vec<u64> = hidden(directory.path())
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .collect();
        assert_eq!(sizes, [70_000]);

        thaw(frozen).await;
        for exchange in [&mut begun, &mut uploading, &mut beginning] {
            let answer = exchange.answer().await.unwrap();
            assert!(matches!(answer, reply::Kind::Done(_)), "{answer:?}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), content);
        assert_eq!(std::fs::read(tree.join("leaf")).unwrap(), b"leaf");
        assert_eq!(std::fs::read(&new).unwrap(), b"");
    });
}

#[test]
fn what_reads_goes_on() {
    let pretence = Pretence::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let size = 8 << 20;
    std::fs::write(file.path(), vec![7; size]).unwrap();
    support::run(pretence.guest(), async |guest| {
        let connection = guest.enter().await;
        let read = Operation::ReadFile(ReadFile {
            path: bytes(file.path()),
            ..ReadFile::default()
        });
        let mut reading = connection.begin(read).await;
        reading.answer().await.unwrap();
        let frozen = freeze(&connection).await.unwrap();
        let mut count = 0;
        while count < size {
            count += reading.reader.next().await.unwrap().unwrap().payload.len();
        }
        reading.answer().await.unwrap();
        thaw(frozen).await;
    });
}

#[test]
fn the_end_of_its_stream_thaws() {
    let pretence = Pretence::new();
    support::run(pretence.guest(), async |guest| {
        let connection = guest.enter().await;
        drop(freeze(&connection).await.unwrap());
        pretence.becomes(false).await;
        let mut frozen = freeze(&connection).await.unwrap();
        frozen.writer.close().await.unwrap();
        pretence.becomes(false).await;
        // Nor does a wrong word leave anything frozen.
        let mut frozen = freeze(&connection).await.unwrap();
        frozen.say(EndOfData {}).await;
        let refused = frozen.answer().await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::InvalidRequest);
        assert!(!pretence.is_frozen());
    });
}

#[test]
fn the_loss_of_its_connection_leaves_it_frozen_until_a_hello() {
    let pretence = Pretence::new();
    let directory = tempfile::tempdir().unwrap();
    let (file, doomed) = (
        directory.path().join("file"),
        directory.path().join("doomed"),
    );
    std::fs::write(&doomed, "").unwrap();
    support::run(pretence.guest(), async |guest| {
        let connection = guest.enter().await;
        let mut unfinished = connection.begin(write_request(&file)).await;
        unfinished.data(b"half").await;
        settle(&connection).await;
        let frozen = freeze(&connection).await.unwrap();
        connection.lose().await;
        drop((frozen, unfinished));
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::HungUp);

        let stranger = guest.connect_on(1).await;
        stranger.hello(hello([8; 32])).await.unwrap_err();
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::Refused);
        tokio::time::sleep(STILLNESS).await;
        assert!(pretence.is_frozen());
        // Not removed before it may be.
        assert_eq!(hidden(directory.path()).len(), 1);

        let connection = guest.connect_on(1).await;
        connection.hello(hello([7; 32])).await.unwrap();
        assert!(!pretence.is_frozen());
        let remove = Operation::RemovePath(RemovePath {
            path: bytes(&doomed),
            ..RemovePath::default()
        });
        connection.ask(remove).await.unwrap();
        while !hidden(directory.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!file.exists());
    });
}

#[test]
fn what_the_parent_was_asked_is_not_begun_in_the_child() {
    let pretence = Pretence::new();
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (
        directory.path().join("before"),
        directory.path().join("after"),
    );
    support::run(pretence.guest(), async |guest| {
        let old = guest.enter().await;
        let new = guest.connect_on(1).await;
        let frozen = freeze(&old).await.unwrap();
        // The old connection's end is not noticed when the hello comes.
        let mut stale = old.begin(write_request(&before)).await;
        stale.say(EndOfData {}).await;
        settle(&old).await;
        new.hello(hello([7; 32])).await.unwrap();
        assert!(stale.reply().await.is_none());
        assert!(!before.exists() && !pretence.is_frozen());
        let mut fresh = new.begin(write_request(&after)).await;
        fresh.say(EndOfData {}).await;
        fresh.answer().await.unwrap();

        // The word that thaws comes too late to thaw what another froze.
        let second = freeze(&new).await.unwrap();
        thaw(frozen).await;
        assert!(pretence.is_frozen());
        thaw(second).await;
        assert!(!pretence.is_frozen());
    });
}

#[test]
fn shutdown_thaws_first() {
    with_connection(async |guest, connection| {
        if !guest.has_control_groups() {
            println!("skipped: no control groups here");
            return;
        }
        let script = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done";
        let mut running = connection.start(shell(script)).await.unwrap();
        running.until("up").await;
        let frozen = freeze(&connection).await.unwrap();
        let shutdown = Operation::Shutdown(Shutdown {
            grace_milliseconds: 30_000,
        });
        connection.ask(shutdown).await.unwrap();
        let finished = running.finish().await.unwrap();
        assert_eq!((finished.text().as_str(), finished.code()), ("asked\n", 5));
        assert_eq!(guest.ends.recv().unwrap(), SessionEnd::Shutdown);
        drop(frozen);
    });
}
