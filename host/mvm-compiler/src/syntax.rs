//! The neutral tree every front end lowers its language to: only what a declaration can be made of.
//! What the tree has no form for is [`Expression::Unsupported`] with its place, so that the
//! evaluation can say what it is; a front end never drops anything in silence.

mod declaration;
mod expression;
mod hint;
mod span;

pub(crate) use declaration::{
    Binding, BindingKind, FunctionDeclaration, Module, Parameter, ParameterKind, Scope, StarImport,
    TypeDeclaration, TypeForm,
};
pub(crate) use expression::{Argument, Call, Entry, Expression, ExpressionKind, Name, Path};
pub(crate) use hint::{Field, TypeHint};
pub use span::{FileId, Span};
