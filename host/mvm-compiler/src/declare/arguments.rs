//! The arguments of one call, taken one by one, each checked for its type.

use mvm_contract::workload::Language;

use super::{nearest, unsupported};
use crate::{
    Diagnostic,
    evaluate::snake_case,
    syntax::{Name, Span},
    value::{Piece, Placed, Places, Value, ValueKind},
};

/// What a helper takes. `a|b` is an argument `a` that can also be called `b`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Takes {
    /// In this order, and by name.
    pub(crate) positional: &'static [&'static str],
    /// By name only.
    pub(crate) named: &'static [&'static str],
}

impl Takes {
    /// Every name with what it means.
    fn names(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = self.positional.iter().chain(self.named);
        all.flat_map(|names| {
            let first = canonical(names);
            names.split('|').map(move |name| (name, first))
        })
    }

    /// The argument that a name means.
    pub(crate) fn find(self, name: &str) -> Option<&'static str> {
        self.names().find(|(it, _)| *it == name).map(|(_, it)| it)
    }
}

fn canonical(names: &'static str) -> &'static str {
    names.split('|').next().unwrap_or(names)
}

/// The arguments of a call that were not taken yet.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// The helper that is called.
    pub(crate) helper: &'static str,
    /// The call.
    pub(crate) span: Span,
    pub(crate) language: Language,
    /// What is wrong with them.
    pub(crate) report: Vec<Diagnostic>,
    given: Vec<Given>,
    /// Arguments that were given by another of their names, with that name.
    written: Vec<(&'static str, String)>,
    /// Whether every argument had a name that is taken.
    pub(crate) is_bound: bool,
    /// Where the arguments that were taken stand, by their names.
    places: Places,
}

#[derive(Debug)]
struct Given {
    name: &'static str,
    /// Where the name stands, or the value of a positional argument.
    at: Span,
    value: Value,
}

impl Arguments {
    pub(crate) const fn new(helper: &'static str, span: Span, language: Language) -> Self {
        Self {
            helper,
            span,
            language,
            report: Vec::new(),
            given: Vec::new(),
            written: Vec::new(),
            is_bound: true,
            places: Places::NONE,
        }
    }

    /// Gives every argument its name.
    pub(crate) fn bind(&mut self, takes: Takes, given: Vec<(Option<Name>, Value)>) {
        let before = self.report.len();
        let mut positional = takes.positional.iter();
        let last = given.len().saturating_sub(1);
        for (index, (name, value)) in given.into_iter().enumerate() {
            match (name, value.kind) {
                (Some(name), kind) => {
                    let span = value.span;
                    self.named(takes, &name, Value { kind, span });
                }
                // The last argument is an object with options where a language has no named ones.
                (None, ValueKind::Map(options))
                    if self.language != Language::Python && index == last =>
                {
                    for (name, value) in options {
                        self.named(takes, &name, value);
                    }
                }
                (None, kind) => {
                    let (at, value) = (
                        value.span,
                        Value {
                            kind,
                            span: value.span,
                        },
                    );
                    match positional.next() {
                        Some(names) => self.add(canonical(names), at, value),
                        // What is wrong with a spread was said.
                        None if matches!(value.kind, ValueKind::Failed) => {}
                        None => self.too_many(takes, at),
                    }
                }
            }
        }
        self.is_bound &= self.report.len() == before;
    }

    /// An argument by the name it was given.
    fn shown(&self, name: &str) -> String {
        let written = self.written.iter().find(|(it, _)| *it == name);
        written.map_or_else(|| name.to_owned(), |(_, written)| written.clone())
    }

    fn too_many(&mut self, takes: Takes, at: Span) {
        let takes = match takes.positional.len() {
            0 => "no positional argument".to_owned(),
            1 => "1 positional argument".to_owned(),
            several => format!("{several} positional arguments"),
        };
        let message = format!("`{}` takes {takes}", self.helper);
        self.report.push(
            Diagnostic::error("E_TOO_MANY_ARGUMENTS", at, message)
                .hint("give the others by their names"),
        );
    }

    fn named(&mut self, takes: Takes, name: &Name, value: Value) {
        let text = match self.language {
            Language::Python | Language::Rust => name.text.clone(),
            Language::Node => snake_case(&name.text),
        };
        if let Some(found) = takes.find(&text) {
            if found != name.text {
                self.written.push((found, name.text.clone()));
            }
            return self.add(found, name.span, value);
        }
        if let Some((code, message, hint)) = unsupported::argument(self.helper, &text) {
            // What says nothing is not refused.
            let empty = match &value.kind {
                ValueKind::Null => true,
                ValueKind::List(values) => values.is_empty(),
                ValueKind::Map(entries) => entries.is_empty(),
                _ => false,
            };
            if !empty {
                self.report
                    .push(Diagnostic::error(code, name.span, message).hint(hint));
            }
            return;
        }
        let message = format!("`{}` takes no argument `{}`", self.helper, name.text);
        let report = Diagnostic::error("E_UNKNOWN_ARGUMENT", name.span, message);
        let hint = match nearest(&text, takes.names().map(|(name, _)| name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let all: Vec<_> = takes
                    .positional
                    .iter()
                    .chain(takes.named)
                    .map(|names| format!("`{}`", canonical(names)))
                    .collect();
                match all.is_empty() {
                    true => "call it without arguments".to_owned(),
                    false => format!("it takes {}", all.join(", ")),
                }
            }
        };
        self.report.push(report.hint(hint));
    }

    fn add(&mut self, name: &'static str, at: Span, value: Value) {
        if let Some(first) = self.given.iter().find(|given| given.name == name) {
            let name = self.shown(name);
            let message = format!("argument `{name}` of `{}` is given twice", self.helper);
            let report = Diagnostic::error("E_ARGUMENT_TWICE", at, message)
                .label(first.at, "here first")
                .hint("leave one of them out");
            self.report.push(report);
            return;
        }
        self.given.push(Given { name, at, value });
    }

    /// Whether an argument was given and not taken yet.
    pub(crate) fn is_given(&self, name: &str) -> Option<Span> {
        let given = self.given.iter().find(|given| given.name == name)?;
        Some(given.at)
    }

    /// An argument, if it was given; `None` and `null` are as if it was not.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.given.iter().position(|given| given.name == name)?;
        let given = self.given.swap_remove(index);
        self.places.set(format!("/{name}"), given.value.span);
        match given.value.kind {
            ValueKind::Null => None,
            _ => Some(given.value),
        }
    }

    /// An argument that must be given.
    pub(crate) fn require(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            let message = format!("`{}` needs `{name}`", self.helper);
            let at = self.places.find(&format!("/{name}")).unwrap_or(self.span);
            let report = Diagnostic::error("E_ARGUMENT_MISSING", at, message)
                .hint(format!("give it, as `{name}=…`"));
            self.report.push(report);
        }
        value
    }

    /// The places of what was taken, for a helper whose arguments are the parts of what it gives;
    /// the call itself is the place of the whole.
    pub(crate) fn places(&self) -> Places {
        self.places.clone().with("", self.span)
    }

    /// Says that a value is not of its type.
    pub(crate) fn mistyped(&mut self, name: &str, value: &Value, expected: &str) {
        if matches!(value.kind, ValueKind::Failed) {
            return;
        }
        let (helper, noun, name) = (self.helper, value.kind.noun(), self.shown(name));
        let message = format!("`{name}` of `{helper}` is {noun}, not {expected}");
        self.report
            .push(Diagnostic::error("E_ARGUMENT_TYPE", value.span, message));
    }

    /// Says what is wrong with a value.
    pub(crate) fn refuse(&mut self, report: Diagnostic) {
        self.report.push(report);
    }

    /// A text, with its place.
    pub(crate) fn text_of(&mut self, name: &str, value: Value) -> Option<Name> {
        match value.kind {
            ValueKind::Text(text) => Some(Name {
                text,
                span: value.span,
            }),
            _ => {
                self.mistyped(name, &value, "a text");
                None
            }
        }
    }

    /// An argument that is a text.
    pub(crate) fn text(&mut self, name: &str) -> Option<Name> {
        let value = self.take(name)?;
        self.text_of(name, value)
    }

    /// An argument that must be given and is a text.
    pub(crate) fn require_text(&mut self, name: &str) -> Option<Name> {
        let value = self.require(name)?;
        self.text_of(name, value)
    }

    /// An argument that is a whole number within what its type holds.
    pub(crate) fn integer<T: TryFrom<i64>>(&mut self, name: &str) -> Option<T> {
        let value = self.take(name)?;
        self.integer_of(name, &value)
    }

    pub(crate) fn integer_of<T: TryFrom<i64>>(&mut self, name: &str, value: &Value) -> Option<T> {
        let ValueKind::Integer(integer) = value.kind else {
            self.mistyped(name, value, "an integer");
            return None;
        };
        if let Ok(integer) = T::try_from(integer) {
            return Some(integer);
        }
        let name = self.shown(name);
        let message = format!("`{name}` of `{}` cannot be {integer}", self.helper);
        self.report
            .push(Diagnostic::error("E_ARGUMENT_RANGE", value.span, message));
        None
    }

    /// An argument that must be given and is a whole number.
    pub(crate) fn require_integer<T: TryFrom<i64>>(&mut self, name: &str) -> Option<T> {
        let value = self.require(name)?;
        self.integer_of(name, &value)
    }

    /// An argument that is true or false.
    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?;
        match value.kind {
            ValueKind::Boolean(boolean) => Some(boolean),
            _ => {
                self.mistyped(name, &value, "a boolean");
                None
            }
        }
    }

    /// An argument that is a list of texts; their places are those of the argument's elements.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.take(name)?;
        self.texts_of(name, value)
    }

    pub(crate) fn texts_of(&mut self, name: &str, value: Value) -> Option<Vec<String>> {
        let ValueKind::List(values) = value.kind else {
            self.mistyped(name, &value, "a list of texts");
            return None;
        };
        let mut texts = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            self.places.set(format!("/{name}/{index}"), value.span);
            texts.push(self.text_of(name, value)?.text);
        }
        Some(texts)
    }

    /// An argument that must be given and is a list of texts.
    pub(crate) fn require_texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.require(name)?;
        self.texts_of(name, value)
    }

    /// What a helper gave, if `pick` finds it to be of the kind that is expected.
    pub(crate) fn piece_of<T>(
        &mut self,
        name: &str,
        value: Value,
        expected: &str,
        pick: impl FnOnce(Piece) -> Option<T>,
    ) -> Option<Placed<T>> {
        let (noun, span) = (value.kind.noun(), value.span);
        let found = match value.kind {
            ValueKind::Failed => return None,
            ValueKind::Piece(piece) => {
                let Placed { part, places } = *piece;
                pick(part).map(|part| Placed::new(part, places))
            }
            _ => None,
        };
        if found.is_none() {
            let name = self.shown(name);
            let message = format!("`{name}` of `{}` is {noun}, not {expected}", self.helper);
            self.report
                .push(Diagnostic::error("E_ARGUMENT_TYPE", span, message));
        }
        found
    }
}
