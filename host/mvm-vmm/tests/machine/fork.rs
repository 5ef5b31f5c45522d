//! Saving machines and going on from what was saved.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use mvm_vmm::{
    GuestMemory, JailOptions, Machine, RestoreError, SavedMachine, SavedMemory, Shutdown,
};

use crate::Bench;
use crate::guest::{self, COUNTER, Guest, RESET_ORDER};

/// A saved counting guest, over which forks are made.
struct Template {
    memory: PathBuf,
    state: File,
    count: u32,
}

impl Bench {
    async fn template(&self) -> Template {
        let memory = self.path().join("memory, of a template");
        File::create(&memory).unwrap().set_len(64 << 20).unwrap();
        let spec = Guest::Count.machine(self.path());
        let mut machine = self
            .boot_over(&spec, GuestMemory::Shared(&memory))
            .await
            .unwrap();
        let counted = || {
            let mut count = [0; 4];
            File::open(&memory)
                .unwrap()
                .read_exact_at(&mut count, COUNTER)
                .unwrap();
            u32::from_le_bytes(count)
        };
        while counted() < 1000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        machine.pause().await.unwrap();
        let state = tempfile::tempfile().unwrap();
        machine.save_devices(&state).await.unwrap();
        machine.kill().await.unwrap();
        Template {
            count: counted(),
            memory,
            state,
        }
    }

    async fn restore(&self, disk: &str, saved: SavedMachine<'_>) -> Result<Machine, RestoreError> {
        rewind(saved.state);
        let spec = guest::machine(self.path(), disk);
        let jail = JailOptions {
            file_size_limit: Some(128 << 20),
            ..self.jail()
        };
        let restored = Machine::restore(&self.host, &spec, saved, &jail, self.open_log()).await?;
        Ok(restored.0)
    }

    async fn fork(&self, template: &Template, disk: &str) -> Machine {
        let memory = SavedMemory::Delta {
            file: &template.memory,
            pages: None,
        };
        let saved = SavedMachine {
            state: &template.state,
            memory,
            connected: &[],
        };
        match self.restore(disk, saved).await {
            Ok(machine) => machine,
            Err(error) => panic!("{error:?}\n{}", self.log()),
        }
    }
}

fn rewind(mut file: &File) {
    file.rewind().unwrap();
}

/// The guest's memory, as the supervisor reaches it.
fn memory_of(machine: &Machine) -> (File, u64) {
    let process = format!("/proc/{}", machine.pid());
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
    let parse = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let (start, _) = maps
        .lines()
        .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
        .map(|(start, end)| (parse(start), parse(end)))
        .find(|(start, end)| end - start == 64 << 20)
        .unwrap();
    let memory = File::options()
        .read(true)
        .write(true)
        .open(format!("{process}/mem"));
    (memory.unwrap(), start)
}

fn count_of(machine: &Machine) -> u32 {
    let (memory, start) = memory_of(machine);
    let mut count = [0; 4];
    memory.read_exact_at(&mut count, start + COUNTER).unwrap();
    u32::from_le_bytes(count)
}

async fn counts_on(machine: &Machine) {
    let before = count_of(machine);
    while count_of(machine).wrapping_sub(before) < 1000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn forks_go_on_where_the_template_stopped_and_share_nothing() {
    let bench = Bench::new();
    let template = bench.template().await;
    let before = fs::read(&template.memory).unwrap();
    let mut first = bench.fork(&template, "first").await;
    let second = bench.fork(&template, "second").await;
    assert_eq!(
        (count_of(&first), count_of(&second)),
        (template.count, template.count)
    );
    first.resume().await.unwrap();
    counts_on(&first).await;
    assert_eq!(count_of(&second), template.count);
    assert!(fs::read(&template.memory).unwrap() == before);
    assert_eq!(bench.log(), "");
}

/// Whatever QEMU asks for: a machine that was taken over changes nothing of another's memory.
#[tokio::test]
async fn no_fork_has_the_memory_it_shares_open_for_writing() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let template = bench.template().await;
    let fork = bench.fork(&template, "fork").await;
    let report = fork.jail_report();
    if !report.is_applied(mvm_vmm::jail::Layer::StandIn)
        && !bench.host.qemu().maps_read_only_files()
    {
        println!("skipped: this host lets nobody answer in QEMU's place, and QEMU is old");
        return;
    }
    let memory = fs::metadata(&template.memory).unwrap();
    let process = PathBuf::from(format!("/proc/{}", fork.pid()));
    let mut found = 0;
    for entry in fs::read_dir(process.join("fd")).unwrap() {
        let entry = entry.unwrap();
        let Ok(metadata) = fs::metadata(entry.path()) else {
            continue;
        };
        if (metadata.dev(), metadata.ino()) != (memory.dev(), memory.ino()) {
            continue;
        }
        found += 1;
        let info = process.join("fdinfo").join(entry.file_name());
        let info = fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert_eq!(flags & 3, 0, "open for writing: {info}");
    }
    assert_eq!(found, 1);
    // Nor can it open the file itself.
    let jailed = process
        .join("root")
        .join(template.memory.strip_prefix("/").unwrap());
    if report.is_applied(mvm_vmm::jail::Layer::PrivateRoot) {
        let opened = File::options().write(true).open(jailed);
        assert_eq!(
            opened.unwrap_err().raw_os_error(),
            Some(rustix::io::Errno::ROFS.raw_os_error())
        );
    }
}

#[tokio::test]
async fn a_fork_that_resets_ends() {
    let bench = Bench::new();
    let template = bench.template().await;
    let mut machine = bench.fork(&template, "fork").await;
    machine.resume().await.unwrap();
    counts_on(&machine).await;
    let (memory, start) = memory_of(&machine);
    memory.write_all_at(&[1], start + RESET_ORDER).unwrap();
    let exit = machine.wait().await.unwrap();
    assert_eq!(exit.shutdown, Some(Shutdown::Reset), "{}", bench.log());
    assert!(exit.by_guest());
}

#[tokio::test]
async fn a_running_fork_is_saved_as_its_own_pages_and_goes_on() {
    let bench = Bench::new();
    let template = bench.template().await;
    let mut parent = bench.fork(&template, "parent").await;
    parent.resume().await.unwrap();
    counts_on(&parent).await;
    parent.pause().await.unwrap();
    parent.probe_private_pages(&template.memory).unwrap();
    let (state, mut pages) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    parent.save_devices(&state).await.unwrap();
    let count = parent
        .save_private_pages(&template.memory, &mut pages)
        .unwrap();
    // The counter's page, and what the devices wrote into.
    assert!((1..100).contains(&count.data), "{count:?}");
    let saved_count = count_of(&parent);
    assert!(saved_count > template.count);
    parent.resume().await.unwrap();
    counts_on(&parent).await;
    // From the same files, twice, also while the parent lives.
    for disk in ["first child", "second child"] {
        pages.rewind().unwrap();
        let memory = SavedMemory::Delta {
            file: &template.memory,
            pages: Some(&mut pages),
        };
        let mut child = bench
            .restore(
                disk,
                SavedMachine {
                    state: &state,
                    memory,
                    connected: &[],
                },
            )
            .await
            .unwrap();
        assert_eq!(count_of(&child), saved_count);
        child.resume().await.unwrap();
        counts_on(&child).await;
    }
    // A second time: what was saved before is not needed for it.
    parent.pause().await.unwrap();
    let again = parent
        .save_private_pages(&template.memory, &mut std::io::sink())
        .unwrap();
    assert_eq!(again.data, count.data);
}

#[tokio::test]
async fn any_machine_is_saved_as_a_stream() {
    let bench = Bench::new();
    let template = bench.template().await;
    let mut fork = bench.fork(&template, "fork").await;
    fork.resume().await.unwrap();
    counts_on(&fork).await;
    fork.pause().await.unwrap();
    let count = count_of(&fork);
    let state = tempfile::tempfile().unwrap();
    fork.save_stream(&state).await.unwrap();
    fork.resume().await.unwrap();
    counts_on(&fork).await;
    let saved = SavedMachine {
        state: &state,
        memory: SavedMemory::Stream,
        connected: &[],
    };
    let mut child = bench.restore("child", saved).await.unwrap();
    assert_eq!(count_of(&child), count);
    child.resume().await.unwrap();
    counts_on(&child).await;
    assert_eq!(bench.log(), "");
}

#[tokio::test]
async fn what_is_no_saved_machine_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let template = bench.template().await;
    let mut state = tempfile::tempfile().unwrap();
    state.write_all(b"no state of a machine").unwrap();
    let memory = SavedMemory::Delta {
        file: &template.memory,
        pages: None,
    };
    match bench
        .restore(
            "child",
            SavedMachine {
                state: &state,
                memory,
                connected: &[],
            },
        )
        .await
    {
        Err(RestoreError::Failed { .. }) => {}
        other => panic!("{other:?}"),
    }
    let mut pages: &[u8] = b"no pages of a machine";
    let memory = SavedMemory::Delta {
        file: &template.memory,
        pages: Some(&mut pages),
    };
    match bench
        .restore(
            "child",
            SavedMachine {
                state: &template.state,
                memory,
                connected: &[],
            },
        )
        .await
    {
        Err(RestoreError::Pages(_)) => {}
        other => panic!("{other:?}"),
    }
    let absent = bench.path().join("absent");
    let memory = SavedMemory::Delta {
        file: &absent,
        pages: None,
    };
    match bench
        .restore(
            "child",
            SavedMachine {
                state: &template.state,
                memory,
                connected: &[],
            },
        )
        .await
    {
        Err(RestoreError::Start(_)) => {}
        other => panic!("{other:?}"),
    }
}
