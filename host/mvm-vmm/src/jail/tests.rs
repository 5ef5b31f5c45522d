use std::io::{ErrorKind, Read, Seek};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use rustix::process::Pid;

use super::*;

const INSIDE: &str = "jail::tests::inside";
const FILE_SIZE_LIMIT: u64 = 64 << 10;
const PARAMETERS: &str = "parameters=";

/// Runs `inside` of this test program in the jail and returns what it printed.
fn run_inside(support: &JailSupport, listener: &TcpListener, socket: &Path) -> String {
    let program = std::env::current_exe().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let readable = scratch.path().join("readable");
    let writable = scratch.path().join("writable");
    std::fs::write(&readable, "given").unwrap();
    std::fs::write(&writable, "given").unwrap();
    let mut log = tempfile::tempfile().unwrap();
    let mut grants: Vec<Grant> = ["/lib", "/lib64", "/usr/lib"]
        .iter()
        .map(|path| Grant::new(Path::new(path), Access::Execute))
        .collect();
    grants.push(Grant::new(&program, Access::Execute));
    grants.push(Grant::new(&readable, Access::Read));
    grants.push(Grant::new(&writable, Access::Write));
    let parameters = format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        listener.local_addr().unwrap(),
        socket.display(),
        readable.display(),
        writable.display(),
        std::process::id(),
        scratch.path().join("large").display(),
    );
    let given = scratch.path().join("parameters");
    std::fs::write(&given, parameters).unwrap();
    grants.push(Grant::new(&given, Access::Read));
    let large = scratch.path().join("large");
    std::fs::write(&large, "").unwrap();
    grants.push(Grant::new(&large, Access::Write));
    // The harness accepts any name of a test to skip.
    let given = format!("{PARAMETERS}{}", given.display());
    let arguments = [
        INSIDE,
        "--exact",
        "--nocapture",
        "--test-threads=1",
        "--skip",
        &given,
    ]
    .map(str::to_owned);
    let child = support
        .spawn(&Confined {
            program: &program,
            arguments: &arguments,
            grants: &grants,
            base: scratch.path(),
            inherited: &[],
            output: log.as_fd(),
            file_size_limit: Some(FILE_SIZE_LIMIT),
            cgroup: None,
            filter_opens: false,
        })
        .unwrap();
    rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty()).unwrap();
    assert_eq!(std::fs::read_to_string(&writable).unwrap(), "changed");
    assert_eq!(large.metadata().unwrap().len(), FILE_SIZE_LIMIT);
    assert_eq!(std::fs::read_to_string(&readable).unwrap(), "given");
    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    text
}

/// Not a test of its own: what the jailed process of the tests below does. It
/// prints one line per attempt.
#[test]
fn inside() {
    let given =
        std::env::args().find_map(|argument| argument.strip_prefix(PARAMETERS).map(str::to_owned));
    let Some(given) = given else { return };
    let parameters = std::fs::read_to_string(given).unwrap();
    let mut lines = parameters.lines();
    let mut next = || lines.next().unwrap().to_owned();
    let (address, socket, readable, writable, outer_pid) = (next(), next(), next(), next(), next());
    let say = |what: &str, result: Result<String, std::io::Error>| match result {
        Ok(value) => println!("\n{what}: ok {value}"),
        Err(error) => println!("\n{what}: {:?}", error.kind()),
    };
    let large = next();
    let done = |()| String::new();
    say("read granted", std::fs::read_to_string(&readable));
    say(
        "write granted",
        std::fs::write(&writable, "changed").map(done),
    );
    say("write read-only", std::fs::write(&readable, "no").map(done));
    say(
        "large file",
        std::fs::write(&large, [0; 128 << 10]).map(done),
    );
    say("shadow", std::fs::read_to_string("/etc/shadow"));
    say("passwd", std::fs::read_to_string("/etc/passwd"));
    say(
        "processes",
        std::fs::read_dir("/proc").map(|entries| entries.count().to_string()),
    );
    say("create", std::fs::write("/created", "no").map(done));
    say("tcp", TcpStream::connect(&address).map(|_| String::new()));
    say(
        "listen",
        TcpListener::bind("127.0.0.1:0").map(|_| String::new()),
    );
    let datagram = UdpSocket::bind("0.0.0.0:0").and_then(|udp| udp.send_to(b"x", &address));
    say("udp", datagram.map(|_| String::new()));
    say(
        "socket",
        UnixStream::connect(&socket).map(|_| String::new()),
    );
    let outer = Pid::from_raw(outer_pid.parse().unwrap()).unwrap();
    say(
        "signal",
        rustix::process::test_kill_process(outer)
            .map(done)
            .map_err(Into::into),
    );
    say("pid", Ok(std::process::id().to_string()));
    say("uid", Ok(rustix::process::getuid().as_raw().to_string()));
    say(
        "execute",
        std::process::Command::new("/bin/true")
            .status()
            .map(|_| String::new()),
    );
}

fn line<'a>(text: &'a str, what: &str) -> &'a str {
    let prefix = format!("{what}: ");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no line `{what}` in:\n{text}"))
}

fn check_denials(support: &JailSupport) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("other.sock");
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let text = run_inside(support, &listener, &socket);
    assert_eq!(line(&text, "read granted"), "ok given");
    assert_eq!(line(&text, "write granted").trim_end(), "ok");
    for denied in [
        "write read-only",
        "large file",
        "shadow",
        "passwd",
        "processes",
        "create",
        "tcp",
        "signal",
        "execute",
    ] {
        assert!(
            !line(&text, denied).starts_with("ok"),
            "{denied} was allowed:\n{text}"
        );
    }
    text
}

fn without(layers: &[Layer]) -> JailSupport {
    let mut support = JailSupport::detect();
    for layer in layers {
        support
            .report
            .layers
            .insert(*layer, unavailable("left out by a test".to_owned()));
    }
    support
}

#[test]
fn a_jailed_process_reaches_only_what_it_was_granted() {
    let support = JailSupport::detect();
    let text = check_denials(&support);
    if support.report.is_applied(Layer::PidNamespace) {
        assert_eq!(line(&text, "pid"), "ok 1");
        assert_ne!(line(&text, "uid"), "ok 0");
        assert!(!line(&text, "udp").starts_with("ok"), "{text}");
    }
    if support.report.is_applied(Layer::PrivateRoot) {
        assert_eq!(line(&text, "socket"), format!("{:?}", ErrorKind::NotFound));
        assert_eq!(line(&text, "shadow"), format!("{:?}", ErrorKind::NotFound));
    }
}

#[test]
fn landlock_alone_denies_files_tcp_and_signals() {
    let support = without(&[
        Layer::UserNamespace,
        Layer::PidNamespace,
        Layer::NetworkNamespace,
        Layer::PrivateRoot,
    ]);
    if !support.report.is_applied(Layer::Landlock) || support.report.landlock_abi < 6 {
        eprintln!("skipped: this kernel has no Landlock of version 6");
        return;
    }
    let text = check_denials(&support);
    assert_eq!(
        line(&text, "shadow"),
        format!("{:?}", ErrorKind::PermissionDenied)
    );
}

#[test]
fn namespaces_alone_deny_files_tcp_and_signals() {
    let support = without(&[Layer::Landlock]);
    if !support.report.is_applied(Layer::PrivateRoot) {
        eprintln!("skipped: this host has no user namespaces");
        return;
    }
    check_denials(&support);
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error_of_that_step() {
    let log = tempfile::tempfile().unwrap();
    let program = Path::new("/nonexistent/qemu");
    let error = JailSupport::detect()
        .spawn(&Confined {
            program,
            arguments: &[],
            grants: &[],
            base: &std::env::temp_dir(),
            inherited: &[],
            output: log.as_fd(),
            file_size_limit: None,
            cgroup: None,
            filter_opens: false,
        })
        .unwrap_err();
    match error {
        JailError::Child(error) => assert_eq!(error.step, JailStep::Execute),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_created_inside_a_granted_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let inner = scratch.path().join("inner");
    std::fs::write(&inner, "").unwrap();
    let binds = grant::binds(&[
        Grant::new(&inner, Access::Write),
        Grant::new(scratch.path(), Access::Read),
    ])
    .unwrap();
    assert!(binds[0].create == child_create_directory() && !binds[0].writable);
    assert!(binds[1].parents.is_empty() && binds[1].writable);
    assert!(binds[1].create == private_root::Create::Nothing);
}

fn child_create_directory() -> private_root::Create {
    private_root::Create::Directory
}

#[test]
fn paths_that_climb_are_refused() {
    let error = grant::binds(&[Grant::new(Path::new("/usr/../etc"), Access::Read)]);
    assert!(matches!(error, Err(GrantError::NotPlain { .. })));
}

#[test]
fn a_layer_is_named_as_it_is_written() {
    for layer in JailSupport::detect().report().layers.keys() {
        assert_eq!(serde_json::to_value(layer).unwrap(), layer.name());
    }
}
