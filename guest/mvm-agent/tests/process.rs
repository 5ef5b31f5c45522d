//! Processes, with real pipes, terminals, users and control groups.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use mvm_wire::{
    AttachProcess, EndOfData, ExitStatus, FailureKind, ForgetProcess, ListProcesses, Operation,
    ResizeTerminal, ResourceLimit, SendSignal, SignalProcess, TerminalSize, reply,
};
use support::{Finished, Running, command, shell, variable, with_connection};

#[test]
fn exit_codes_signals_and_streams_are_told_apart() {
    with_connection(async |_, connection| {
        let finished = connection
            .run(shell("printf out; printf err >&2; exit 3"))
            .await
            .unwrap();
        assert_eq!(
            (&finished.output[..], &finished.error[..]),
            (&b"out"[..], &b"err"[..])
        );
        assert_eq!(finished.code(), 3);
        let finished = connection.run(shell("kill -SEGV $$")).await.unwrap();
        let status = finished.exited.unwrap().status.unwrap();
        assert_eq!(status, ExitStatus::Signal(libc::SIGSEGV as u32));
    });
}

#[test]
fn signals_and_descriptors_are_as_a_program_expects() {
    with_connection(async |_, connection| {
        let script = "cat /proc/self/status; umask; ls -l /proc/self/fd";
        let text = connection.run(shell(script)).await.unwrap().text();
        let mask = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
        };
        assert_eq!((mask("SigBlk:"), mask("SigCgt:")), (0, 0), "{text}");
        assert_eq!(mask("SigIgn:") & (1 << (libc::SIGPIPE - 1)), 0, "{text}");
        assert!(text.contains("\n0022\n"), "{text}");
        // What the agent watches is not handed down.
        assert!(!text.contains("anon_inode"), "{text}");
    });
}

#[test]
fn input_and_output_of_any_size_flow_both_ways() {
    with_connection(async |_, connection| {
        let mut request = command(&["cat"]);
        request.standard_input = true;
        let Running { exchange, .. } = connection.start(request).await.unwrap();
        let support::Exchange {
            mut reader,
            mut writer,
        } = exchange;
        let size: usize = 64 << 20;
        let block: Vec<u8> = (0..100_003).map(|at| (at % 251) as u8).collect();
        let send = async {
            let mut left = size;
            while left > 0 {
                let count = left.min(block.len());
                writer
                    .data(mvm_wire::FrameKind::Data, &block[..count])
                    .await
                    .unwrap();
                left -= count;
            }
            let end = mvm_wire::Input::from(EndOfData {});
            writer.message(&end).await.unwrap();
        };
        let receive = async {
            let mut at = 0;
            while let Some(frame) = reader.next().await.unwrap() {
                if frame.kind == mvm_wire::FrameKind::Data {
                    let mut rest = frame.payload;
                    while !rest.is_empty() {
                        let from = at % block.len();
                        let count = rest.len().min(block.len() - from);
                        assert_eq!(rest[..count], block[from..from + count]);
                        rest = &rest[count..];
                        at += count;
                    }
                }
            }
            at
        };
        assert_eq!(futures::future::join(send, receive).await.1, size);
    });
}

#[test]
fn input_nobody_reads_is_dropped() {
    with_connection(async |_, connection| {
        let mut request = shell("exec 0<&-; sleep 0.2; echo done");
        request.standard_input = true;
        let mut running = connection.start(request).await.unwrap();
        running.exchange.data(&vec![1; 200_000]).await;
        running.exchange.say(EndOfData {}).await;
        assert_eq!(running.finish().await.unwrap().text(), "done\n");
    });
}

#[test]
fn a_background_child_that_holds_the_pipe_does_not_hang_the_exit() {
    with_connection(async |_, connection| {
        let finished = connection
            .run(shell(
                "(while :; do echo more; sleep 0.01; done) & echo pid $!",
            ))
            .await
            .unwrap();
        assert_eq!(finished.code(), 0);
        let text = finished.text();
        let pid = text
            .lines()
            .find_map(|line| line.strip_prefix("pid "))
            .unwrap();
        assert!(Path::new("/proc").join(pid).exists(), "it lives on");
        let _ = std::process::Command::new("kill")
            .args(["-9", pid])
            .status();
    });
}

#[test]
fn a_timeout_ends_also_what_left_the_session() {
    with_connection(async |guest, connection| {
        let mut request =
            shell("setsid sh -c 'trap \"\" TERM; echo pid $$; while :; do sleep 0.1; done' & wait");
        request.timeout_milliseconds = 500;
        request.grace_milliseconds = 300;
        let finished = connection.run(request).await.unwrap();
        let exited = finished.exited.clone().unwrap();
        assert!(exited.timed_out);
        assert_eq!(
            exited.status,
            Some(ExitStatus::Signal(libc::SIGTERM as u32))
        );
        if !guest.has_control_groups() {
            println!("skipped the rest: no control groups here");
            return;
        }
        let text = finished.text();
        let pid = text.trim().strip_prefix("pid ").unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        assert!(status.is_err() || status.unwrap().contains("(zombie)"));
    });
}

#[test]
fn the_grace_is_given_and_then_over() {
    with_connection(async |_, connection| {
        let mut request = shell("trap 'echo asked; exit 5' TERM; while :; do sleep 0.05; done");
        request.timeout_milliseconds = 300;
        request.grace_milliseconds = 30_000;
        let finished = connection.run(request).await.unwrap();
        assert_eq!((finished.text().as_str(), finished.code()), ("asked\n", 5));
        assert!(finished.exited.unwrap().timed_out);
        let mut request = shell("trap '' TERM; while :; do sleep 0.05; done");
        request.timeout_milliseconds = 100;
        let finished = connection.run(request).await.unwrap();
        let status = finished.exited.unwrap().status.unwrap();
        assert_eq!(status, ExitStatus::Signal(libc::SIGKILL as u32));
    });
}

#[test]
fn output_waits_for_its_client_and_is_dropped_with_a_gap_without_one() {
    with_connection(async |guest, connection| {
        let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2; sleep 1000";
        let mut request = shell(script);
        request.detached = true;
        let running = connection.start(request).await.unwrap();
        let process_id = running.started.process_id;
        // Nobody reads: the pipe is not emptied beyond the windows on the way.
        tokio::time::sleep(Duration::from_millis(300)).await;
        connection.lose().await;
        let connection = guest.enter().await;
        let attach = |output_offset| {
            Operation::AttachProcess(AttachProcess {
                process_id,
                output_offset,
                ..AttachProcess::default()
            })
        };
        // Without a client it runs on, and the oldest bytes drop.
        let mut attached = Running::new(connection.begin(attach(10)).await)
            .await
            .unwrap();
        let mut finished = Finished::default();
        while finished.error != b"end\n" {
            attached.next(&mut finished).await.unwrap();
        }
        let gap = finished.gaps.first().expect("a gap").clone();
        assert_eq!(gap.from, 10);
        while gap.to + (finished.output.len() as u64) < 3_000_000 {
            attached.next(&mut finished).await.unwrap();
        }
        assert_eq!(gap.to + finished.output.len() as u64, 3_000_000);
        drop(attached);
        let listed = connection
            .ask(Operation::ListProcesses(ListProcesses {}))
            .await;
        let Ok(reply::Kind::ProcessList(list)) = listed else {
            panic!("{listed:?}")
        };
        assert!(list.processes[0].exited.is_none() && list.processes[0].detached);
        let signal = Operation::SignalProcess(SignalProcess {
            process_id,
            signal: 9,
            group: true,
        });
        connection.ask(signal).await.unwrap();
        let replay = Running::new(connection.begin(attach(2_999_990)).await)
            .await
            .unwrap();
        let replayed = replay.finish().await.unwrap();
        assert_eq!(replayed.output, b"xxxxxxxxxx");
        let forget = || Operation::ForgetProcess(ForgetProcess { process_id });
        connection.ask(forget()).await.unwrap();
        let forgotten = connection.ask(forget()).await.unwrap_err();
        assert_eq!(forgotten.kind(), FailureKind::NotFound);
    });
}

#[test]
fn a_process_dies_with_its_stream_and_survives_the_connection() {
    with_connection(async |guest, connection| {
        let mut running = connection
            .start(shell("echo up; sleep 1000"))
            .await
            .unwrap();
        running.until("up").await;
        let (first, id) = (running.started.pid, running.started.process_id);
        drop(running);
        let exited = async |connection: &support::Connection, id: u64| loop {
            let listed = connection
                .ask(Operation::ListProcesses(ListProcesses {}))
                .await;
            let Ok(reply::Kind::ProcessList(list)) = listed else {
                panic!("{listed:?}")
            };
            let process = list
                .processes
                .into_iter()
                .find(|known| known.process_id == id);
            if let Some(exited) = process.unwrap().exited {
                return exited;
            }
        };
        let status = exited(&connection, id).await.status;
        assert_eq!(status, Some(ExitStatus::Signal(9)), "pid {first}");

        let running = connection
            .start(shell("sleep 0.5; echo later"))
            .await
            .unwrap();
        let process_id = running.started.process_id;
        connection.lose().await;
        drop(running);
        let connection = guest.enter().await;
        let attach = AttachProcess {
            process_id,
            ..AttachProcess::default()
        };
        let attached = connection.begin(Operation::AttachProcess(attach)).await;
        let finished = Running::new(attached)
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert_eq!((finished.text().as_str(), finished.code()), ("later\n", 0));
    });
}

#[test]
fn a_terminal_has_its_size_its_signals_and_its_end() {
    with_connection(async |_, connection| {
        let mut request = shell(
            "stty size; tty; trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done",
        );
        request.terminal = Some(TerminalSize {
            columns: 91,
            rows: 33,
        });
        request.standard_input = true;
        let mut running = connection.start(request.clone()).await.unwrap();
        let seen = running.until("ready").await.text();
        assert!(
            seen.contains("33 91") && seen.contains("/dev/pts/"),
            "{seen}"
        );
        let size = TerminalSize {
            columns: 100,
            rows: 40,
        };
        running.exchange.say(ResizeTerminal { size }).await;
        let finished = running.finish().await.unwrap();
        assert!(finished.text().contains("40 100"), "{finished:?}");
        assert_eq!(finished.code(), 7);

        request.arguments = command(&["cat"]).arguments;
        let mut running = connection.start(request.clone()).await.unwrap();
        running.exchange.data(b"line\n").await;
        running.exchange.say(EndOfData {}).await;
        let finished = running.finish().await.unwrap();
        assert_eq!(
            (finished.text().as_str(), finished.code()),
            ("line\r\nline\r\n", 0)
        );

        request.arguments = command(&["sleep", "1000"]).arguments;
        let mut running = connection.start(request).await.unwrap();
        running.exchange.say(SendSignal { signal: 2 }).await;
        let status = running.finish().await.unwrap().exited.unwrap().status;
        assert_eq!(status, Some(ExitStatus::Signal(2)));
    });
}

#[test]
fn the_environment_the_directory_and_the_limits_are_set() {
    with_connection(async |_, connection| {
        let mut request = shell("echo $PATH $HOME $A; pwd; ulimit -c; ulimit -n");
        request.environment = vec![
            variable("A", "1"),
            variable("A", "2"),
            variable("HOME", "/x"),
        ];
        request.working_directory = b"/usr".to_vec();
        request.limits = vec![
            ResourceLimit {
                resource: libc::RLIMIT_CORE,
                soft: 0,
                hard: 0,
            },
            ResourceLimit {
                resource: libc::RLIMIT_NOFILE,
                soft: 77,
                hard: 99,
            },
        ];
        let finished = connection.run(request).await.unwrap();
        assert_eq!(
            finished.text(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /x 2\n/usr\n0\n77\n"
        );
        let mut request = command(&["printf", "%s"]);
        request.arguments.push(vec![0xff, 0xfe, b'\n']);
        assert_eq!(
            connection.run(request).await.unwrap().output,
            [0xff, 0xfe, b'\n']
        );
    });
}

#[test]
fn what_cannot_be_started_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &[u8], mode| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = path("plain", b"text", 0o644);
    let script = path("script", b"echo from a script $1\n", 0o755);
    let foreign = path("foreign", b"\x7fELF\x02\x01\x01\0\0\0\0", 0o755);
    let dangling = path("dangling", b"#!/no/such/interpreter\n", 0o755);
    with_connection(async |_, connection| {
        let kind = async |request| connection.run(request).await.unwrap_err().kind();
        assert_eq!(
            kind(command(&["no-such-program"])).await,
            FailureKind::NotFound
        );
        assert_eq!(
            kind(command(&["/no/such/program"])).await,
            FailureKind::NotFound
        );
        assert_eq!(kind(command(&[&dangling])).await, FailureKind::NotFound);
        assert_eq!(kind(command(&[&plain])).await, FailureKind::NotExecutable);
        assert_eq!(kind(command(&[&foreign])).await, FailureKind::NotExecutable);
        assert_eq!(kind(command(&["/usr"])).await, FailureKind::NotExecutable);
        assert_eq!(kind(command(&[])).await, FailureKind::InvalidRequest);
        assert_eq!(kind(command(&["a\0b"])).await, FailureKind::InvalidRequest);
        let mut request = command(&["true"]);
        request.working_directory = b"/no/such/directory".to_vec();
        assert_eq!(kind(request.clone()).await, FailureKind::WorkingDirectory);
        request.arguments = command(&["/bin/true"]).arguments;
        assert_eq!(kind(request.clone()).await, FailureKind::WorkingDirectory);
        request.working_directory.clear();
        request.user = "nobody-of-that-name".into();
        assert_eq!(kind(request).await, FailureKind::UnknownUser);
        let finished = connection.run(command(&[&script, "here"])).await.unwrap();
        assert_eq!(finished.text(), "from a script here\n");
        let mut request = command(&["script"]);
        request.environment = vec![variable("PATH", directory.path().to_str().unwrap())];
        // The shell it runs through needs no PATH.
        assert_eq!(
            connection.run(request).await.unwrap().text(),
            "from a script\n"
        );
    });
}

#[test]
fn a_user_is_become() {
    if !support::is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    with_connection(async |_, connection| {
        let mut request = shell("id -u; id -g; id -G; echo $HOME");
        request.user = "4242:4343".into();
        let finished = connection.run(request.clone()).await.unwrap();
        assert_eq!(finished.text(), "4242\n4343\n4343\n/\n");
        request.user = "nobody".into();
        let finished = connection.run(request.clone()).await.unwrap();
        assert!(finished.text().starts_with("65534\n65534\n"));
        request.terminal = Some(TerminalSize {
            columns: 80,
            rows: 24,
        });
        request.arguments = shell("echo through > /dev/tty; echo $USER $TERM").arguments;
        let finished = connection.run(request).await.unwrap();
        assert_eq!(finished.text(), "through\r\nnobody xterm-256color\r\n");
    });
}

#[test]
fn ended_processes_are_forgotten_oldest_first() {
    with_connection(async |_, connection| {
        for _ in 0..70 {
            connection.run(command(&["true"])).await.unwrap();
        }
        let listed = connection
            .ask(Operation::ListProcesses(ListProcesses {}))
            .await;
        let Ok(reply::Kind::ProcessList(list)) = listed else {
            panic!("{listed:?}")
        };
        let ids: Vec<u64> = list
            .processes
            .iter()
            .map(|process| process.process_id)
            .collect();
        assert!((64..=66).contains(&ids.len()), "{ids:?}");
        assert_eq!(ids.last(), Some(&70));
    });
}
