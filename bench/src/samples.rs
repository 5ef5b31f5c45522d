//! Samples of one thing.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;

/// The unit of times.
pub(crate) const MILLISECONDS: &str = "ms";

/// What was measured of one thing, in the order it was taken, and how often it failed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Samples {
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
    pub(crate) failures: usize,
}

/// Times.
impl Default for Samples {
    fn default() -> Self {
        Self::of(MILLISECONDS)
    }
}

impl Samples {
    pub(crate) fn of(unit: &'static str) -> Self {
        Self {
            unit,
            values: Vec::new(),
            failures: 0,
        }
    }

    /// Times one attempt; what fails is counted, not timed.
    pub(crate) fn time<T, E: fmt::Display>(
        &mut self,
        attempt: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        let begun = Instant::now();
        self.take(begun, attempt())
    }

    /// Takes the outcome of an attempt that began then and ends now.
    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        begun: Instant,
        outcome: Result<T, E>,
    ) -> Option<T> {
        let elapsed = begun.elapsed();
        let done = self.count(outcome)?;
        self.push(elapsed);
        Some(done)
    }

    /// Counts a failure, without a time for what succeeds.
    pub(crate) fn count<T, E: fmt::Display>(&mut self, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(done) => Some(done),
            Err(error) => {
                eprintln!("failed: {error}");
                self.failures += 1;
                None
            }
        }
    }

    pub(crate) fn push(&mut self, duration: Duration) {
        self.values.push(milliseconds(duration));
    }

    /// The value below which this share of the samples lies (nearest rank).
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
