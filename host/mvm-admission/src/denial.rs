//! What a plan is told that does not run.

use crate::{AdmittedPlan, Rule};

/// The answer to a request.
#[derive(Debug)]
#[must_use]
pub enum Admission {
    /// The plan may run, here and now, once.
    Admitted(AdmittedPlan),
    /// It may not.
    Denied(Denial),
}

/// Why a plan may not run. The texts hold names, numbers and digests of the plan and the host;
/// texts of a plan that nobody vouched for are not repeated at length, nor raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule it breaks, the first in the order of the numbers.
    pub rule: Rule,
    /// How it breaks it: a lowercase phrase without full stop.
    pub reason: String,
    /// The way out: an imperative phrase without full stop.
    pub remedy: String,
}

impl Denial {
    /// The denial under `rule`, with the rule's own remedy.
    pub(crate) fn new(rule: Rule, reason: impl Into<String>) -> Self {
        Self {
            rule,
            reason: reason.into(),
            remedy: rule.remedy().to_owned(),
        }
    }
}

/// A text of a plan as it can stand in a line: printable, and not endless.
pub(crate) fn quoted(text: &str) -> String {
    const MAX_CHARACTERS: usize = 80;
    let mut quoted: String = text.chars().take(MAX_CHARACTERS).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    format!("`{}`", quoted.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_short_and_printable() {
        assert_eq!(quoted("a b"), "`a b`");
        assert_eq!(quoted("\u{1b}[2J\n"), "`\\u{1b}[2J\\n`");
        assert_eq!(quoted(&"ä".repeat(80)), format!("`{}`", "ä".repeat(80)));
        assert_eq!(quoted(&"ä".repeat(81)), format!("`{}…`", "ä".repeat(80)));
    }
}
