//! The one validator of workloads. It finds every broken rule, in the order of the document.

mod app;
mod entrypoint;
mod network;
mod schema;
mod storage;

use std::collections::BTreeSet;

use super::{LocatedFlaw, WORKLOAD_VERSION, Workload, WorkloadFlaw};

/// Most seconds of any time in a workload: a year.
const MAX_SECONDS: u64 = 366 * 24 * 60 * 60;

impl Workload {
    /// Every rule the workload breaks; none of a valid one.
    #[must_use]
    pub fn validate(&self) -> Vec<LocatedFlaw> {
        let mut report = Report::default();
        let version = self.version;
        report.ensure("/version", version == WORKLOAD_VERSION, || {
            WorkloadFlaw::Version { version }
        });
        report.name("/id", "a workload", &self.id);
        report.ensure("/apps", !self.apps.is_empty(), || WorkloadFlaw::NoApps);
        report.distinct(
            "/apps",
            "app",
            self.apps.iter().map(|app| app.name.as_str()),
        );
        for (index, app) in self.apps.iter().enumerate() {
            app::check(self, app, &format!("/apps/{index}"), &mut report);
        }
        storage::check_volumes(&self.volumes, &mut report);
        report.flaws
    }
}

/// What was found so far.
#[derive(Default)]
struct Report {
    flaws: Vec<LocatedFlaw>,
}

impl Report {
    fn add(&mut self, at: impl Into<String>, flaw: WorkloadFlaw) {
        self.flaws.push(LocatedFlaw {
            at: at.into(),
            flaw,
        });
    }

    fn ensure(&mut self, at: &str, holds: bool, flaw: impl FnOnce() -> WorkloadFlaw) {
        if !holds {
            self.add(at, flaw());
        }
    }

    fn name(&mut self, at: &str, what: &'static str, name: &str) {
        self.ensure(at, is_name(name), || WorkloadFlaw::Name {
            what,
            name: name.to_owned(),
        });
    }

    /// Names of one list are distinct; the second of two is where the flaw is.
    fn distinct<'a>(&mut self, at: &str, what: &'static str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            self.ensure(&format!("{at}/{index}"), seen.insert(name), || {
                WorkloadFlaw::Duplicate {
                    what,
                    name: name.to_owned(),
                }
            });
        }
    }

    fn seconds(&mut self, at: &str, field: &'static str, seconds: u64) {
        let valid = (1..=MAX_SECONDS).contains(&seconds);
        self.ensure(&format!("{at}/{field}"), valid, || WorkloadFlaw::Seconds {
            field,
        });
    }

    fn command(&mut self, at: &str, command: &[String]) {
        let valid = command.first().is_some_and(|program| !program.is_empty())
            && command.iter().all(|argument| !argument.contains('\0'));
        self.ensure(at, valid, || WorkloadFlaw::Command);
    }
}

/// Whether a text can name a workload or an app: `[a-z][a-z0-9-]{0,62}`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A path below a directory: relative, in one form, without a step upwards.
fn is_path_below(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\0', '\\'])
        && (path == "." || path.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// An absolute path in one form, without a step upwards.
fn is_plain_absolute(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(is_path_below) && path != "/."
}

/// One part of a JSON Pointer (RFC 6901, section 3).
fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}
