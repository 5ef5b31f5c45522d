//! Many forks of one template alive at once: what each takes of memory and, idle, of processors.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use mvm_runtime::Sandbox;

use crate::{
    bench::{Bench, Outcome},
    guests,
    processor::{children, used_by},
    samples::Samples,
};

/// Over which idle sandboxes are watched.
const IDLE: Duration = Duration::from_secs(3);
/// After which a sandbox that has answered is idle.
const CALM: Duration = Duration::from_secs(2);

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(false).await?;
    bench.rest()?;
    let forks = bench.sizes.forks;
    let before = available_mib()?;
    let [mut create, mut answer] = [(); 2].map(|()| Samples::default());
    let mut alive = Vec::new();
    for _ in 0..forks {
        let begun = Instant::now();
        let created = guests::create(bench).await;
        alive.extend(create.take(begun, created));
    }
    for sandbox in &alive {
        let begun = Instant::now();
        let answered = guests::answer(sandbox).await;
        answer.take(begun, answered);
    }
    thread::sleep(CALM);

    let [mut guest, mut supervisor] = [(); 2].map(|()| Samples::of("MiB"));
    for sandbox in &alive {
        let pid = sandbox.record().supervisor_pid;
        if let Some(private) = supervisor.count(private_mib(pid)) {
            supervisor.values.push(private);
        }
        // Each supervisor has one microVM, and whatever stands between the two.
        let private: Outcome<f64> = descendants(pid).into_iter().map(private_mib).sum();
        if let Some(private) = guest.count(private) {
            guest.values.push(private);
        }
    }
    let taken = before - available_mib()?;
    let idle = idle_share(&alive);
    for sandbox in alive {
        sandbox.destroy().await?;
    }

    let report = &mut bench.report;
    let of = |what: &str| format!("{forks} forks at once: {what}");
    report.add(&of("create by a fork, SDK"), create);
    report.add(&of("exec true in each, the first"), answer);
    let (median, most) = (guest.median(), guest.quantile(1.0));
    report.limit(&of("private memory of a QEMU, p50"), median, "MiB", 40.0);
    report.limit(&of("private memory of a QEMU, max"), most, "MiB", 40.0);
    report.add(&of("private memory of a QEMU"), guest);
    report.add(&of("private memory of a supervisor"), supervisor);
    report.figure(&of("memory gone from the host's"), taken, "MiB");
    report.figure(&of("processor time all take, idle"), idle, "%");
    Ok(())
}

/// What is in no other process, MiB.
fn private_mib(pid: u32) -> Outcome<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("`{path}`: {error}"))?;
    Ok(kib(&text, "Private_Clean") / 1024.0 + kib(&text, "Private_Dirty") / 1024.0)
}

fn available_mib() -> Outcome<f64> {
    Ok(kib(&fs::read_to_string("/proc/meminfo")?, "MemAvailable") / 1024.0)
}

fn kib(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| *field == name);
    line.and_then(|(_, value)| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN)
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// What idle sandboxes use of one processor, all together with their supervisors, percent.
fn idle_share(alive: &[Sandbox]) -> f64 {
    let processes: Vec<u32> = alive
        .iter()
        .map(|sandbox| sandbox.record().supervisor_pid)
        .flat_map(|pid| [vec![pid], descendants(pid)].concat())
        .collect();
    let used = || -> Duration { processes.iter().filter_map(|pid| used_by(*pid)).sum() };
    let (begun, before) = (Instant::now(), used());
    thread::sleep(IDLE);
    (used() - before).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0
}
