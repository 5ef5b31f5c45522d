//! Expressions of a declaration.

use super::Span;

/// A word with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// Names joined by `.` or `::`, such as `mvm.app`; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<Name>,
    pub(crate) span: Span,
}

/// An expression with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    pub(crate) kind: ExpressionKind,
    pub(crate) span: Span,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExpressionKind {
    Text(String),
    /// An integer that 64 bits with a sign hold; a larger one is `Unsupported`.
    Integer(i64),
    Number(f64),
    Boolean(bool),
    /// `None`, `null`, `undefined`.
    Null,
    /// A list, array or tuple.
    List(Vec<Expression>),
    /// A dictionary or an object literal, in the order of the source.
    Map(Vec<Entry>),
    /// A name that is looked up: a constant, an import, or the path of a helper without its call.
    Path(Path),
    Call(Box<Call>),
    /// Texts put together: `"a" + B`, `f"a{B}"`, `` `a${B}` ``. Text literals that only stand
    /// beside each other are one `Text`.
    Joined(Vec<Expression>),
    /// Something with no value before the program runs. `what` names it as a noun with its article:
    /// "a comparison", "a lambda", "an attribute of a call".
    Unsupported {
        what: &'static str,
    },
}

/// One entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The key; in an object literal, `{ name }` has the key `name` and the path `name`.
    pub(crate) key: Expression,
    pub(crate) value: Expression,
}

/// A call. Of TypeScript's and Rust's forms too: an object literal that gives options stays a
/// positional argument, [`crate::declare`] makes named ones of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) callee: Path,
    /// Positional arguments, then named ones, in the order of the source. A spread (`*a`, `**k`,
    /// `...o`) is an `Unsupported` argument.
    pub(crate) arguments: Vec<Argument>,
}

/// One argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Argument {
    pub(crate) name: Option<Name>,
    pub(crate) value: Expression,
}

impl Expression {
    /// An expression at a place.
    pub(crate) const fn new(kind: ExpressionKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// Something with no value before the program runs.
    pub(crate) const fn unsupported(what: &'static str, span: Span) -> Self {
        Self::new(ExpressionKind::Unsupported { what }, span)
    }
}

impl Path {
    /// The names with dots between them.
    pub(crate) fn dotted(&self) -> String {
        let names: Vec<_> = self
            .segments
            .iter()
            .map(|name| name.text.as_str())
            .collect();
        names.join(".")
    }
}
