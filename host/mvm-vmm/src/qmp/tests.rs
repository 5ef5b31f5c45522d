use std::os::fd::AsFd;
use std::process::{Child, Command};

use super::*;

/// A real QEMU without a machine, ended with the test.
struct Bare {
    child: Child,
    qmp: Qmp,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn bare_qemu() -> Bare {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    // Standard input is inherited by nature: QMP runs over it.
    let child = Command::new("qemu-system-x86_64")
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "none",
            "-S",
        ])
        .args([
            "-chardev",
            "socket,id=control,fd=0",
            "-mon",
            "chardev=control,mode=control",
        ])
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    ours.set_nonblocking(true).unwrap();
    let qmp = Qmp::connect(UnixStream::from_std(ours).unwrap())
        .await
        .unwrap();
    Bare { child, qmp }
}

fn pair() -> (Qmp, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let qmp = Qmp {
        stream: ours,
        received: Vec::new(),
        searched: 0,
        unsent: Vec::new(),
        next_id: 0,
        events: VecDeque::new(),
    };
    (qmp, theirs)
}

#[tokio::test]
async fn real_qemu_answers_refuses_and_takes_descriptors() {
    let mut bare = bare_qemu().await;
    let status = bare.qmp.execute("query-status", Value::Null).await.unwrap();
    assert_eq!(status["running"], false);
    match bare
        .qmp
        .execute("no-such-command", Value::Null)
        .await
        .unwrap_err()
    {
        QmpError::Refused { command, class, .. } => {
            assert_eq!(
                (command.as_str(), class.as_str()),
                ("no-such-command", "CommandNotFound")
            );
        }
        other => panic!("{other:?}"),
    }
    let file = tempfile::tempfile().unwrap();
    let name = json!({ "fdname": "state" });
    bare.qmp
        .execute_with_fd("getfd", name.clone(), file.as_fd())
        .await
        .unwrap();
    bare.qmp.execute("closefd", name.clone()).await.unwrap();
    assert!(matches!(
        bare.qmp.execute("closefd", name).await,
        Err(QmpError::Refused { .. })
    ));
    let schema = bare
        .qmp
        .execute("query-qmp-schema", Value::Null)
        .await
        .unwrap();
    assert!(schema.as_array().unwrap().len() > 100);
    bare.qmp.execute("quit", Value::Null).await.unwrap();
    let event = bare.qmp.next_event().await.unwrap();
    assert_eq!(event.name, "SHUTDOWN");
    assert_eq!(event.data["reason"], "host-qmp-quit");
    assert!(matches!(bare.qmp.next_event().await, Err(QmpError::Closed)));
}

#[tokio::test]
async fn an_answer_nobody_waits_for_is_skipped() {
    let (mut qmp, mut qemu) = pair();
    let abandoned = tokio::select! {
        biased;
        answer = qmp.execute("stop", Value::Null) => Some(answer),
        () = tokio::task::yield_now() => None,
    };
    assert!(abandoned.is_none());
    let answers =
        b"{\"return\": 1, \"id\": 0}\n{\"event\": \"STOP\"}\n{\"return\": 2, \"id\": 1}\n";
    qemu.write_all(answers).await.unwrap();
    assert_eq!(qmp.execute("cont", Value::Null).await.unwrap(), json!(2));
    assert_eq!(qmp.next_event().await.unwrap().name, "STOP");
}

#[tokio::test]
async fn hostile_lines_are_errors() {
    let (mut qmp, mut qemu) = pair();
    qemu.write_all(b"[[[\n").await.unwrap();
    assert!(matches!(qmp.next_event().await, Err(QmpError::NotJson(_))));
    let nested = [vec![b'['; 100_000], b"\n".to_vec()].concat();
    qemu.write_all(&nested[..50_000]).await.unwrap();
    let rest = tokio::spawn(async move {
        qemu.write_all(&nested[50_000..]).await.unwrap();
        let endless = vec![b' '; 64 << 10];
        while qemu.write_all(&endless).await.is_ok() {}
    });
    assert!(matches!(qmp.next_event().await, Err(QmpError::NotJson(_))));
    assert!(matches!(qmp.next_event().await, Err(QmpError::LineTooLong)));
    assert!(qmp.received.len() <= 2 * LINE_LIMIT);
    drop(qmp);
    rest.await.unwrap();
}

#[tokio::test]
async fn events_are_bounded() {
    let (mut qmp, mut qemu) = pair();
    tokio::spawn(async move {
        for number in 0..2 * EVENT_LIMIT {
            let line = format!("{{\"event\": \"E{number}\"}}\n");
            qemu.write_all(line.as_bytes()).await.unwrap();
        }
        qemu.write_all(b"{\"return\": {}, \"id\": 0}\n")
            .await
            .unwrap();
        // Held until the client is gone.
        let _ = qemu.read(&mut [0; 256]).await;
        let _ = qemu.read(&mut [0; 256]).await;
    });
    qmp.execute("stop", Value::Null).await.unwrap();
    assert_eq!(qmp.events.len(), EVENT_LIMIT);
    assert_eq!(
        qmp.next_event().await.unwrap().name,
        format!("E{EVENT_LIMIT}")
    );
}
