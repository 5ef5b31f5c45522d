//! The guest's clocks.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the Unix epoch; 0 before it.
pub(crate) fn wall_nanoseconds() -> u64 {
    nanoseconds(ClockId::Realtime)
}

/// Microseconds since the kernel started, time stopped included.
pub(crate) fn uptime_microseconds() -> u64 {
    nanoseconds(ClockId::Boottime) / 1000
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
