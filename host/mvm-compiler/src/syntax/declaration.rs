//! What a file declares at its top level, and functions that are decorated anywhere.

use mvm_contract::workload::Language;

use super::{Expression, Field, FileId, Name, Span, TypeHint};
use crate::Diagnostic;

/// One file, lowered.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) file: FileId,
    pub(crate) language: Language,
    /// Every name the file's top level binds, once for each time it is bound, in the order of the
    /// source: imports, constants, functions, types, and what binds a name in any other way. A name
    /// that is bound twice has no value that can be known, so nothing may be left out.
    pub(crate) bindings: Vec<Binding>,
    /// Imports of everything in a module, which hide what is bound.
    pub(crate) star_imports: Vec<StarImport>,
    /// Calls that stand alone as statements of the top level, such as `mvm.workload(id="a")`. The
    /// kind is always `Call`.
    pub(crate) calls: Vec<(Expression, Scope)>,
    /// Functions that something decorates, wherever they stand, in the order of the source.
    pub(crate) functions: Vec<FunctionDeclaration>,
    /// Types of the file's top level that hints can name.
    pub(crate) types: Vec<TypeDeclaration>,
    /// What is wrong with the text itself.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Module {
    /// A file with nothing in it.
    pub(crate) const fn empty(file: FileId, language: Language) -> Self {
        Self {
            file,
            language,
            bindings: Vec::new(),
            star_imports: Vec::new(),
            calls: Vec::new(),
            functions: Vec::new(),
            types: Vec::new(),
            diagnostics: Vec::new(),
        }
    }
}

/// A name and what it is bound to.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) name: Name,
    pub(crate) kind: BindingKind,
    /// `Module` for a binding that always happens, `Conditional` below `if`, `try`, a loop or a
    /// `with`. No other scope binds names of the top level.
    pub(crate) scope: Scope,
}

/// What a name is bound to.
#[derive(Debug)]
pub(crate) enum BindingKind {
    /// `import mvm` and `import * as mvm` have no item; `from mvm import app as a` and
    /// `import { app as a }` have the item `app`. The default export is the item `default`.
    /// Of the module only matters whether it is mvm's: a module's name, kept for each of its
    /// names, would take the square of the file.
    Import {
        of_sdk: bool,
        item: Option<String>,
    },
    /// A constant, if it is bound once.
    Value(Expression),
    Function,
    Type,
    /// Bound to something unknown, by the noun `what` with its article: "a loop", "an exception".
    Other {
        what: &'static str,
    },
}

/// An import of everything.
#[derive(Debug)]
pub(crate) struct StarImport {
    pub(crate) of_sdk: bool,
    pub(crate) span: Span,
}

/// Where a declaration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// At the top level of the file, always.
    Module,
    /// At the top level of the file, below a condition.
    Conditional,
    /// In a function.
    Function,
    /// In a class, an `impl` or a trait.
    Class,
    /// In a module or namespace inside the file.
    Namespace,
}

/// Something that is decorated.
#[derive(Debug)]
pub(crate) struct FunctionDeclaration {
    /// The name it has in its module. In TypeScript, that of the constant.
    pub(crate) name: Name,
    /// The name by which other modules reach it, where it is another one: `default`.
    pub(crate) called: Option<String>,
    /// What decorates it, in the order of the source: a `Call`, or a `Path` without a call. All are
    /// given, those that are not ours too.
    pub(crate) decorators: Vec<Expression>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) result: Option<TypeHint>,
    pub(crate) scope: Scope,
    /// Whether other modules can reach it; always in Python.
    pub(crate) exported: bool,
    /// Whether it can be called, and answers once: a generator, a class or a value does not. What it
    /// is instead, as a noun with its article.
    pub(crate) unsupported: Option<&'static str>,
}

/// One parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: Name,
    pub(crate) kind: ParameterKind,
    pub(crate) hint: Option<TypeHint>,
    /// Whether it may be left out: it has a default, or is marked with `?`.
    pub(crate) optional: bool,
}

/// How a parameter gets its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    /// One argument.
    One,
    /// In a way that JSON cannot say, as a noun with its article: "`*args`", "`**kwargs`",
    /// "a rest parameter", "a destructured parameter", "`self`".
    Unsupported { what: &'static str },
}

/// A type of the file.
#[derive(Debug)]
pub(crate) struct TypeDeclaration {
    pub(crate) name: Name,
    pub(crate) form: TypeForm,
}

/// What a type is.
#[derive(Debug)]
pub(crate) enum TypeForm {
    /// An object: a `TypedDict`, a dataclass, an interface, a struct. `open` where it may hold
    /// more than its fields.
    Record { fields: Vec<Field>, open: bool },
    /// Another name of a type.
    Alias(TypeHint),
    /// Something JSON has no form for, as a noun with its article: "a class".
    Opaque { what: &'static str },
}
