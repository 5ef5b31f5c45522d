//! The frequency of the host's time stamp counter.
//!
//! Under emulation the guest reads the host's counter. A guest kernel that is
//! not told its frequency measures it against the emulated interval timer, and
//! hangs now and then in doing so; one that is told it does not measure.
#![allow(unsafe_code)]

use std::num::NonZeroU64;

use crate::boot_cache::{BootCache, CacheError};

const CACHE_NAME: &str = "host-tsc";
#[cfg(target_arch = "x86_64")]
const MEASURED_FOR: std::time::Duration = std::time::Duration::from_millis(300);

/// Frequency of the host's counter in kHz, or nothing on a processor that has
/// none. Measured once per boot of the host (0.3 s) and cached.
pub(crate) fn host_tsc_khz(cache: &BootCache) -> Result<Option<NonZeroU64>, CacheError> {
    if let Some(khz) = cache.read(CACHE_NAME, "") {
        return Ok(Some(khz));
    }
    let measured = measure();
    if let Some(khz) = measured {
        cache.write(CACHE_NAME, "", &khz)?;
    }
    Ok(measured)
}

#[cfg(target_arch = "x86_64")]
fn measure() -> Option<NonZeroU64> {
    let (start_ticks, start) = read_both();
    std::thread::sleep(MEASURED_FOR);
    let (end_ticks, end) = read_both();
    let nanoseconds = u128::try_from(end.checked_sub(start)?).ok()?;
    let ticks = u128::from(end_ticks.checked_sub(start_ticks)?);
    let khz = ticks.checked_mul(1_000_000)?.checked_div(nanoseconds)?;
    NonZeroU64::new(u64::try_from(khz).ok()?)
}

#[cfg(not(target_arch = "x86_64"))]
fn measure() -> Option<NonZeroU64> {
    None
}

/// The counter, and the clock in nanoseconds, at the same time: of several
/// pairs the one read fastest, since a preemption in between falsifies it.
#[cfg(target_arch = "x86_64")]
fn read_both() -> (u64, i128) {
    use rustix::time::{ClockId, clock_gettime};
    let mut best: Option<(u64, u64, i128)> = None;
    for _ in 0..16 {
        // SAFETY: every x86-64 processor has `rdtsc`; it only reads.
        let before = unsafe { std::arch::x86_64::_rdtsc() };
        let time = clock_gettime(ClockId::MonotonicRaw);
        // SAFETY: as above.
        let after = unsafe { std::arch::x86_64::_rdtsc() };
        let width = after.saturating_sub(before);
        if best.is_none_or(|(narrowest, ..)| width < narrowest) {
            let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
            best = Some((width, before + width / 2, nanoseconds));
        }
    }
    best.map(|(_, ticks, nanoseconds)| (ticks, nanoseconds))
        .unwrap_or_default()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_agree_and_the_second_is_cached() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BootCache::open(directory.path());
        let first = host_tsc_khz(&cache).unwrap().unwrap().get();
        assert_eq!(host_tsc_khz(&cache).unwrap().unwrap().get(), first);
        let again = measure().unwrap().get();
        // The kernel tolerates 1 %; 0.1 % shows that preemption is ruled out.
        assert!(
            first.abs_diff(again) < first / 1000,
            "{first} and {again} kHz"
        );
    }
}
