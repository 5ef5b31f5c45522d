//! What a run found: series of samples, and what is concluded from them.

use std::{fmt, fs, io, path::Path};

use serde::Serialize;

use crate::samples::Samples;

/// Everything measured in one run, in the order it was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) host: Vec<(String, String)>,
    pub(crate) series: Vec<Series>,
    pub(crate) phases: Vec<Phases>,
    pub(crate) figures: Vec<Figure>,
    /// What could not be measured, and whatever else a reader must know to trust the rest.
    pub(crate) remarks: Vec<String>,
}

/// Samples of one name.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) samples: Samples,
}

/// What one way to start consists of.
#[derive(Debug, Serialize)]
pub(crate) struct Phases {
    pub(crate) of: String,
    pub(crate) phases: Vec<Series>,
}

/// One number, and the most it should be.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) most: Option<f64>,
}

impl Report {
    pub(crate) fn fact(&mut self, name: &str, value: impl fmt::Display) {
        self.host.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn add(&mut self, name: &str, samples: Samples) {
        self.series.push(Series {
            name: name.to_owned(),
            samples,
        });
    }

    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// A number without a limit.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            unit,
            most: None,
        });
    }

    pub(crate) fn limit(&mut self, name: &str, value: f64, unit: &'static str, most: f64) {
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            unit,
            most: Some(most),
        });
    }

    /// Holds the median of a series against a limit.
    pub(crate) fn limit_median(&mut self, name: &str, most: f64) {
        let Some(samples) = self.samples(name) else {
            return;
        };
        let (median, unit) = (samples.median(), samples.unit);
        self.limit(&format!("{name}, p50"), median, unit, most);
    }

    /// Holds one median against another. Without samples of both there is no ratio, and a remark
    /// says so.
    pub(crate) fn compare(&mut self, name: &str, measured: &str, peer: &str, most: f64) {
        let ratio = self.median(measured) / self.median(peer);
        if ratio.is_nan() {
            self.remark(format!(
                "no ratio `{name}`: samples of one of the two are missing"
            ));
        } else {
            self.limit(name, ratio, "x", most);
        }
    }

    /// The median of a series; not a number without samples.
    pub(crate) fn median(&self, name: &str) -> f64 {
        self.samples(name).map_or(f64::NAN, Samples::median)
    }

    fn samples(&self, name: &str) -> Option<&Samples> {
        let found = self.series.iter().find(|series| series.name == name);
        found.map(|series| &series.samples)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }

    fn table(&self, formatter: &mut fmt::Formatter<'_>, unit: &str) -> fmt::Result {
        let rows = || {
            let series = self.series.iter();
            series.filter(move |series| series.samples.unit == unit)
        };
        if rows().next().is_none() {
            return Ok(());
        }
        let [p50, p95, min, max, success] = ["p50", "p95", "min", "max", "ok/all"];
        writeln!(
            formatter,
            "{unit:<60} {p50:>9} {p95:>9} {min:>9} {max:>9} {success:>8}"
        )?;
        for Series { name, samples } in rows() {
            let [p50, p95, min, max] = [0.5, 0.95, 0.0, 1.0].map(|share| samples.quantile(share));
            let ok = samples.values.len();
            let all = ok + samples.failures;
            writeln!(
                formatter,
                "{name:<60} {p50:>9.1} {p95:>9.1} {min:>9.1} {max:>9.1} {:>8}",
                format!("{ok}/{all}")
            )?;
        }
        writeln!(formatter)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.host {
            writeln!(formatter, "{name}: {value}")?;
        }
        writeln!(formatter)?;
        let mut units: Vec<&str> = Vec::new();
        for series in &self.series {
            if !units.contains(&series.samples.unit) {
                units.push(series.samples.unit);
            }
        }
        for unit in units {
            self.table(formatter, unit)?;
        }
        for Phases { of, phases } in &self.phases {
            writeln!(formatter, "phases of {of}, medians in ms")?;
            for Series { name, samples } in phases {
                writeln!(formatter, "{:>9.1}  {name}", samples.median())?;
            }
            writeln!(formatter)?;
        }
        for Figure {
            name,
            value,
            unit,
            most,
        } in &self.figures
        {
            write!(formatter, "{value:>9.2} {unit:<4} ")?;
            match most {
                Some(most) if value <= most => {
                    writeln!(formatter, "met     {name} (at most {most})")?
                }
                Some(most) => writeln!(formatter, "MISSED  {name} (at most {most})")?,
                None => writeln!(formatter, "        {name}")?,
            }
        }
        for remark in &self.remarks {
            writeln!(formatter, "note: {remark}")?;
        }
        Ok(())
    }
}
