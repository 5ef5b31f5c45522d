//! Types of the file that hints can name: `TypedDict`, dataclasses, and other names of types.

use ruff_python_ast::{Expr, Stmt, StmtClassDef};
use ruff_text_size::Ranged;

use super::{hint::Hints, name, span};
use crate::syntax::{Field, Name, TypeDeclaration, TypeForm};

/// Another name of a type.
pub(super) fn alias(hints: &Hints<'_>, name: Name, value: &Expr) -> TypeDeclaration {
    TypeDeclaration {
        name,
        form: TypeForm::Alias(hints.lower(value)),
    }
}

/// A class.
pub(super) fn class(hints: &Hints<'_>, class: &StmtClassDef) -> TypeDeclaration {
    let form = match form(hints, class) {
        Some(Form::TypedDict { total }) => TypeForm::Record {
            fields: fields(hints, class, |_, marked| marked.unwrap_or(total)),
            open: false,
        },
        Some(Form::Dataclass) => TypeForm::Record {
            fields: fields(hints, class, |has_default, _| !has_default),
            open: false,
        },
        None => TypeForm::Opaque {
            what: "a class that is neither a `TypedDict` nor a dataclass",
        },
    };
    TypeDeclaration {
        name: name(hints.file, &class.name),
        form,
    }
}

enum Form {
    TypedDict { total: bool },
    Dataclass,
}

fn form(hints: &Hints<'_>, class: &StmtClassDef) -> Option<Form> {
    let arguments = class.arguments.as_deref();
    let bases = arguments.map_or(&[][..], |it| &it.args);
    match bases {
        [base] if hints.canonical(base).as_deref() == Some("TypedDict") => {
            let keywords = arguments.map_or(&[][..], |it| it.keywords.as_slice());
            let partial = keywords.iter().any(|it| {
                it.arg
                    .as_ref()
                    .is_some_and(|arg| arg.id.as_str() == "total")
                    && matches!(&it.value, Expr::BooleanLiteral(total) if !total.value)
            });
            Some(Form::TypedDict { total: !partial })
        }
        [] => {
            let decorated = class.decorator_list.iter().any(|decorator| {
                let called = match &decorator.expression {
                    Expr::Call(call) => call.func.as_ref(),
                    other => other,
                };
                hints.canonical(called).as_deref() == Some("dataclass")
            });
            decorated.then_some(Form::Dataclass)
        }
        _ => None,
    }
}

/// The annotated names of a class. `required` is asked whether a field has a default, and what
/// `Required` or `NotRequired` says of it.
fn fields(
    hints: &Hints<'_>,
    class: &StmtClassDef,
    required: impl Fn(bool, Option<bool>) -> bool,
) -> Vec<Field> {
    let mut fields = Vec::new();
    for statement in &class.body {
        let Stmt::AnnAssign(field) = statement else {
            continue;
        };
        let Expr::Name(word) = field.target.as_ref() else {
            continue;
        };
        let marker = match field.annotation.as_ref() {
            Expr::Subscript(subscript) => hints.canonical(&subscript.value),
            other => hints.canonical(other),
        };
        let marked = match marker.as_deref() {
            Some("ClassVar") => continue,
            Some("Required") => Some(true),
            Some("NotRequired") => Some(false),
            _ => None,
        };
        fields.push(Field {
            name: Name {
                text: word.id.to_string(),
                span: span(hints.file, word.range()),
            },
            hint: hints.lower(&field.annotation),
            required: required(field.value.is_some(), marked),
        });
    }
    fields
}
