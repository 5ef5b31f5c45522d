//! What the processors do, from `/proc`.

use std::{fs, thread, time::Duration};

/// Linux counts processor time in these, whatever the processor (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;
/// Over which a machine must be idle to count as quiet.
const GLANCE: Duration = Duration::from_millis(150);
/// A machine on which something always runs is not waited for longer.
const GLANCES: u32 = 14;
/// The most that may be busy of all processors together.
const QUIET: f64 = 0.08;

/// Waits until the machine is idle, for some two seconds; tells whether it was.
pub(crate) fn wait_until_quiet() -> bool {
    (0..GLANCES).any(|_| {
        let Some(before) = ticks() else { return false };
        thread::sleep(GLANCE);
        let Some(after) = ticks() else { return false };
        let all = (after.0 + after.1).saturating_sub(before.0 + before.1);
        let busy = after.0.saturating_sub(before.0);
        all > 0 && (busy as f64) <= QUIET * all as f64
    })
}

/// Ticks of all processors since the machine started: busy, and idle.
fn ticks() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let first = text.lines().next()?.strip_prefix("cpu")?;
    let fields: Vec<u64> = first
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; what follows is counted in `user`.
    let idle = fields.get(3)? + fields.get(4)?;
    let all: u64 = fields.iter().take(8).sum();
    Some((all - idle, idle))
}

/// Processor time a process has used.
pub(crate) fn used_by(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // `rest` begins at field 3 of proc(5); utime and stime are fields 14 and 15.
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(Duration::from_secs_f64(ticks / TICKS_A_SECOND))
}

/// The processes a process started that still live.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            let pids = text.split_whitespace();
            pids.filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}
