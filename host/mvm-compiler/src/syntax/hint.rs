//! Type hints, of which schemas are made.

use super::{Expression, Name, Path, Span};

/// What a hint says of a value, as far as JSON can hold it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TypeHint {
    /// Any value: `Any`, `object`, `unknown`.
    Any,
    /// `None`, `null`, `void`, `()`.
    Null,
    Boolean,
    /// A whole number: `int`, `bigint`, `u32`.
    Integer,
    /// Any number: `float`, `number`, `f64`.
    Number,
    Text,
    /// Bytes, which JSON has not.
    Bytes(Span),
    /// One of these literal values.
    Literal(Vec<Expression>),
    /// `list[T]`, `T[]`, `Vec<T>`; a bare `list` is a list of `Any`.
    List(Box<TypeHint>),
    /// A list of so many values, each of its type.
    Tuple(Vec<TypeHint>),
    /// Texts to values: `dict[str, T]`, `Record<string, T>`, `BTreeMap<String, T>`.
    Map(Box<TypeHint>),
    /// One of these.
    AnyOf(Vec<TypeHint>),
    /// An object with these fields, written where it stands.
    Record(Vec<Field>),
    /// A name that the file may declare as a type.
    Named(Path),
    /// Something a value of which JSON cannot be: `what`, a noun with its article, and what to use
    /// in its place.
    Refused {
        what: &'static str,
        instead: &'static str,
        span: Span,
    },
    /// Something else. `text` is how the source writes it, shortened.
    Unknown {
        text: String,
        span: Span,
    },
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) hint: TypeHint,
    /// Whether the object always has it.
    pub(crate) required: bool,
}
