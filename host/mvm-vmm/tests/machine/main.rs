//! Real QEMU, real jail, guests of a few bytes.
#![allow(missing_docs, clippy::unwrap_used)]

mod fork;
mod guest;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use guest::Guest;
use mvm_vmm::{
    ChannelError, GuestMemory, Host, JailOptions, KernelSpec, Machine, MachineSpec, Port, Shutdown,
    StartError,
};
use tempfile::TempDir;

struct Bench {
    host: Host,
    directory: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::detect(&directory.path().join("cache"), None).unwrap();
        Bench { host, directory }
    }

    async fn boot(&self, spec: &(MachineSpec, KernelSpec)) -> Result<Machine, StartError> {
        self.boot_over(spec, GuestMemory::Anonymous).await
    }

    async fn boot_over(
        &self,
        (spec, kernel): &(MachineSpec, KernelSpec),
        memory: GuestMemory<'_>,
    ) -> Result<Machine, StartError> {
        let log = self.open_log();
        Machine::boot(&self.host, spec, kernel, memory, &self.jail(), log).await
    }

    fn jail(&self) -> JailOptions {
        JailOptions {
            directory: self.path().to_owned(),
            ..Default::default()
        }
    }

    fn open_log(&self) -> File {
        let path = self.path().join("log");
        let mut options = File::options();
        options.create(true).append(true).open(path).unwrap()
    }

    async fn start(&self, guest: Guest) -> Machine {
        match self.boot(&guest.machine(self.path())).await {
            Ok(machine) => machine,
            Err(error) => panic!("{error:?}\n{}", self.log()),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[tokio::test]
async fn a_guest_that_powers_off_is_told_from_one_that_resets() {
    let bench = Bench::new();
    let exit = bench.start(Guest::PowerOff).await.wait().await.unwrap();
    assert_eq!(exit.shutdown, Some(Shutdown::PoweredOff), "{}", bench.log());
    assert!(exit.by_guest());
    let exit = bench.start(Guest::Reset).await.wait().await.unwrap();
    assert_eq!(exit.shutdown, Some(Shutdown::Reset));
    assert_eq!(bench.log(), "");
}

#[tokio::test]
async fn a_machine_is_paused_resumed_and_killed() {
    let bench = Bench::new();
    let mut machine = bench.start(Guest::Idle).await;
    machine.pause().await.unwrap();
    let status = machine
        .qmp()
        .execute("query-status", serde_json::Value::Null)
        .await
        .unwrap();
    assert_eq!(status["status"], "paused");
    machine.resume().await.unwrap();
    let pid = machine.pid();
    let exit = machine.kill().await.unwrap();
    assert_eq!((exit.shutdown.clone(), exit.by_guest()), (None, false));
    assert_eq!(machine.wait().await.unwrap(), exit);
    assert!(!is_alive(pid));
    assert!(machine.pause().await.is_err());
    assert!(matches!(
        machine.open_channel(Port::First).await,
        Err(ChannelError::Ended)
    ));
}

#[tokio::test]
async fn dropping_a_machine_ends_it_and_leaves_nothing() {
    let bench = Bench::new();
    let machine = bench.start(Guest::Idle).await;
    let pid = machine.pid();
    assert!(is_alive(pid));
    drop(machine);
    assert!(!is_alive(pid));
    assert_eq!(
        std::fs::read_dir(bench.path()).unwrap().count(),
        ["cache", "kernel", "initramfs", "root", "disk", "log"].len()
    );
}

#[tokio::test]
async fn the_channel_can_be_opened_again() {
    let bench = Bench::new();
    let mut machine = bench.start(Guest::Idle).await;
    for _ in 0..20 {
        let first = machine.open_channel(Port::First).await.unwrap();
        // The other port is another connection.
        drop(machine.open_channel(Port::Second).await.unwrap());
        drop(first);
    }
}

#[tokio::test]
async fn the_boot_console_holds_what_the_kernel_printed() {
    let bench = Bench::new();
    let mut spec = Guest::Print.machine(bench.path());
    let console = bench.path().join("console");
    spec.1.boot_console = Some(console.clone());
    let mut machine = bench
        .boot(&spec)
        .await
        .unwrap_or_else(|e| panic!("{e:?} {}", bench.log()));
    while std::fs::read_to_string(&console).unwrap() != "kernel ran\n" {
        tokio::task::yield_now().await;
    }
    machine.kill().await.unwrap();
}

#[tokio::test]
async fn two_machines_never_share_a_disk() {
    let bench = Bench::new();
    let _first = bench.start(Guest::Idle).await;
    match bench.boot(&Guest::Idle.machine(bench.path())).await {
        Err(error @ StartError::Ended { .. }) => assert!(error.hint().is_some()),
        other => panic!("{other:?}"),
    }
    assert!(bench.log().contains("lock"), "{}", bench.log());
}

#[tokio::test]
async fn a_missing_image_is_an_error_before_qemu_starts() {
    let bench = Bench::new();
    let mut spec = Guest::Idle.machine(bench.path());
    spec.0.root_image = bench.path().join("absent.erofs");
    assert!(matches!(bench.boot(&spec).await, Err(StartError::Jail(_))));
    spec.0.root_image = "relative.erofs".into();
    assert!(matches!(bench.boot(&spec).await, Err(StartError::Spec(_))));
}

#[tokio::test]
async fn qemu_is_where_the_report_says_it_is() {
    use mvm_vmm::jail::Layer;
    let bench = Bench::new();
    let machine = bench.start(Guest::Idle).await;
    let pid = machine.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(
        (field("NoNewPrivs").as_str(), field("Seccomp").as_str()),
        ("1", "2")
    );
    let report = machine.jail_report();
    for (layer, name) in [
        (Layer::UserNamespace, "user"),
        (Layer::PidNamespace, "pid"),
        (Layer::NetworkNamespace, "net"),
        (Layer::IpcNamespace, "ipc"),
        (Layer::UtsNamespace, "uts"),
        (Layer::PrivateRoot, "mnt"),
    ] {
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{name}"));
        let differs = namespace(&pid.to_string()).unwrap() != namespace("self").unwrap();
        assert_eq!(differs, report.is_applied(layer), "{name}");
    }
    let json = serde_json::to_string(report).unwrap();
    assert_eq!(
        &serde_json::from_str::<mvm_vmm::JailReport>(&json).unwrap(),
        report
    );
}

/// Snapshots read and write a machine's memory from the supervisor.
#[tokio::test]
async fn the_supervisor_reaches_the_memory_of_a_jailed_qemu() {
    use std::os::unix::fs::FileExt;
    let bench = Bench::new();
    let machine = bench.start(Guest::Idle).await;
    let process = Path::new("/proc").join(machine.pid().to_string());
    let maps = std::fs::read_to_string(process.join("maps")).unwrap();
    let guest_memory = maps
        .lines()
        .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
        .map(|(start, end)| (parse_hex(start), parse_hex(end)))
        .find(|(start, end)| end - start >= 64 << 20)
        .unwrap()
        .0;
    let memory = File::options()
        .read(true)
        .write(true)
        .open(process.join("mem"))
        .unwrap();
    memory.write_all_at(b"restored", guest_memory).unwrap();
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, guest_memory).unwrap();
    assert_eq!(&bytes, b"restored");
    let pagemap = File::open(process.join("pagemap")).unwrap();
    pagemap
        .read_exact_at(&mut bytes, guest_memory / 4096 * 8)
        .unwrap();
    const PRESENT: u64 = 1 << 63;
    assert_ne!(u64::from_ne_bytes(bytes) & PRESENT, 0);
}

fn parse_hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

const SUPERVISOR: &str = "MVM_TEST_SUPERVISOR";

/// Not a test of its own: the supervisor that the next test kills.
#[tokio::test]
async fn supervisor() {
    if std::env::var_os(SUPERVISOR).is_none() {
        return;
    }
    let bench = Bench::new();
    let machine = bench.start(Guest::Idle).await;
    println!(
        "\n{SUPERVISOR} {} {}",
        machine.pid(),
        bench.path().display()
    );
    std::future::pending::<()>().await;
}

#[test]
fn qemu_dies_with_a_supervisor_that_is_killed() {
    use std::io::BufRead;
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["supervisor", "--exact", "--nocapture"])
        .env(SUPERVISOR, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = supervisor.stdout.take().unwrap();
    let line = std::io::BufReader::new(output)
        .lines()
        .map(|line| line.unwrap())
        .find_map(|line| {
            line.strip_prefix(SUPERVISOR)
                .map(|rest| rest.trim().to_owned())
        })
        .unwrap();
    let (pid, directory) = line.split_once(' ').unwrap();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    let qemu = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    // Returns when QEMU has ended; the harness's own limit ends it otherwise.
    let mut ended = [rustix::event::PollFd::from_borrowed_fd(
        qemu.as_fd(),
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut ended, None).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn qemu_holds_no_descriptor_that_it_was_not_given() {
    let bench = Bench::new();
    let secret = File::create(bench.path().join("secret")).unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    let machine = bench.start(Guest::Idle).await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", machine.pid())).unwrap() {
        names.push(std::fs::read_link(entry.unwrap().path()).unwrap());
    }
    assert!(
        names.iter().all(|name| !name.ends_with("secret")),
        "{names:?}"
    );
    let mut zero = [0; 1];
    assert_eq!(
        File::open(bench.path().join("secret"))
            .unwrap()
            .read(&mut zero)
            .unwrap(),
        0
    );
}
