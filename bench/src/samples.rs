//! Samples, and what is said of them.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

/// Times of one thing, milliseconds, in the order they were taken, and how often it failed.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Samples {
    pub(crate) milliseconds: Vec<f64>,
    pub(crate) failures: usize,
}

impl Samples {
    /// Times one attempt; what fails is counted, not timed.
    pub(crate) fn time<T, E: fmt::Display>(&mut self, attempt: impl FnOnce() -> Result<T, E>) {
        let begun = Instant::now();
        self.take(begun, attempt());
    }

    /// Takes the outcome of an attempt that began then.
    pub(crate) fn take<T, E: fmt::Display>(&mut self, begun: Instant, outcome: Result<T, E>) {
        match outcome {
            Ok(_) => self.push(begun.elapsed()),
            Err(error) => {
                eprintln!("failed: {error}");
                self.failures += 1;
            }
        }
    }

    pub(crate) fn push(&mut self, duration: Duration) {
        self.milliseconds.push(duration.as_secs_f64() * 1000.0);
    }

    /// The value below which this share of the samples lies (nearest rank).
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
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

/// Everything measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    processors: usize,
    samples: BTreeMap<String, Samples>,
    /// Measured over peer, medians: name, ratio, the most it should be.
    ratios: Vec<(String, f64, f64)>,
    /// Megabytes (10^6) a second.
    rates: BTreeMap<String, f64>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            samples: BTreeMap::new(),
            ratios: Vec::new(),
            rates: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &str, samples: Samples) {
        self.samples.insert(name.to_owned(), samples);
    }

    pub(crate) fn add_rate(&mut self, name: &str, bytes: usize, duration: Duration) {
        self.rates
            .insert(name.to_owned(), bytes as f64 / 1e6 / duration.as_secs_f64());
    }

    /// Holds one median against another.
    pub(crate) fn compare(&mut self, name: &str, measured: &str, peer: &str, most: f64) {
        let median = |name| self.samples.get(name).map_or(f64::NAN, Samples::median);
        self.ratios
            .push((name.to_owned(), median(measured) / median(peer), most));
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["milliseconds", "p50", "p95", "min", "max", "ok/all"];
        let [name, p50, p95, min, max, success] = head;
        writeln!(
            formatter,
            "{name:<44} {p50:>9} {p95:>9} {min:>9} {max:>9} {success:>9}"
        )?;
        for (name, samples) in &self.samples {
            let [p50, p95, min, max] = [0.5, 0.95, 0.0, 1.0].map(|share| samples.quantile(share));
            let ok = samples.milliseconds.len();
            let all = ok + samples.failures;
            writeln!(
                formatter,
                "{name:<44} {p50:>9.1} {p95:>9.1} {min:>9.1} {max:>9.1} {:>9}",
                format!("{ok}/{all}")
            )?;
        }
        for (name, ratio, most) in &self.ratios {
            writeln!(formatter, "{name}: {ratio:.2} x (at most {most:.2} x)")?;
        }
        for (name, rate) in &self.rates {
            writeln!(formatter, "{name}: {rate:.0} MB/s")?;
        }
        Ok(())
    }
}
