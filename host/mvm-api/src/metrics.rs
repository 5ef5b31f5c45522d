//! Metrics in the Prometheus text format: numbers, and names of what is of this program. Nothing of
//! a user is a label.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    /// The route's pattern; never a path.
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    answer_seconds: Histogram,
    sandboxes_made: Family<OutcomeLabels, Counter>,
    making_seconds: Histogram,
    commands: Family<OutcomeLabels, Counter>,
    sandboxes: Family<StateLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
        ];
        let (answer_seconds, making_seconds) = (Histogram::new(buckets), Histogram::new(buckets));
        let mut registry = Registry::with_prefix("mvm");
        let (requests, sandboxes_made) = (Family::default(), Family::default());
        let (commands, sandboxes) = (Family::default(), Family::default());
        let requests: Family<RequestLabels, Counter> = requests;
        let sandboxes_made: Family<OutcomeLabels, Counter> = sandboxes_made;
        let commands: Family<OutcomeLabels, Counter> = commands;
        let sandboxes: Family<StateLabels, Gauge> = sandboxes;
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_answer_seconds",
            "From a request's head to its answer's",
            answer_seconds.clone(),
        );
        registry.register(
            "sandboxes_made",
            "Sandboxes asked for",
            sandboxes_made.clone(),
        );
        registry.register(
            "sandbox_making_seconds",
            "From asking for sandboxes to their agents' answers",
            making_seconds.clone(),
        );
        registry.register("commands", "Commands that ended", commands.clone());
        registry.register("sandboxes", "Sandboxes there are", sandboxes.clone());
        Self {
            registry,
            requests,
            answer_seconds,
            sandboxes_made,
            making_seconds,
            commands,
            sandboxes,
        }
    }
}

impl Metrics {
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels {
            method: method.to_owned(),
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
        self.answer_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn made(&self, took: Duration, made: usize, failed: usize) {
        for (outcome, count) in [("made", made), ("failed", failed)] {
            let counter = self
                .sandboxes_made
                .get_or_create(&OutcomeLabels { outcome });
            counter.inc_by(count as u64);
        }
        self.making_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn ran(&self, exit_code: u8) {
        let outcome = if exit_code == 0 {
            "succeeded"
        } else {
            "failed"
        };
        self.commands
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    /// The text, with how many sandboxes there are in which state.
    pub(crate) fn text(&self, states: impl IntoIterator<Item = String>) -> String {
        self.sandboxes.clear();
        for state in states {
            self.sandboxes.get_or_create(&StateLabels { state }).inc();
        }
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
