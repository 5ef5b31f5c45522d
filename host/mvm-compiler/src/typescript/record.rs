//! Types of the file that hints can name: interfaces, other names of types, enumerations.

use oxc_ast::ast::{
    Class, Expression as Node, PropertyKey, TSEnumDeclaration, TSEnumMemberName,
    TSInterfaceDeclaration, TSSignature, TSTypeAliasDeclaration,
};

use super::{expression, hint::Hints, name, span};
use crate::{
    limits::MAX_DEPTH,
    syntax::{Expression, ExpressionKind, Field, Name, TypeDeclaration, TypeForm, TypeHint},
};

/// Another name of a type.
pub(super) fn alias(hints: &Hints<'_>, alias: &TSTypeAliasDeclaration<'_>) -> TypeDeclaration {
    let form = if alias.type_parameters.is_some() {
        TypeForm::Opaque {
            what: "a type with parameters",
        }
    } else {
        TypeForm::Alias(hints.lower(&alias.type_annotation))
    };
    TypeDeclaration {
        name: name(hints.file, &alias.id.name, &alias.id),
        form,
    }
}

/// An interface.
pub(super) fn interface(
    hints: &Hints<'_>,
    interface: &TSInterfaceDeclaration<'_>,
) -> TypeDeclaration {
    let members = interface.body.body.as_slice();
    let form = if interface.type_parameters.is_some() {
        TypeForm::Opaque {
            what: "an interface with parameters",
        }
    } else if !interface.extends.is_empty() {
        TypeForm::Opaque {
            what: "an interface that extends another",
        }
    } else {
        match fields(hints, members, MAX_DEPTH) {
            Some(fields) => TypeForm::Record {
                fields,
                open: false,
            },
            None => TypeForm::Opaque {
                what: "an interface of more than properties",
            },
        }
    };
    TypeDeclaration {
        name: name(hints.file, &interface.id.name, &interface.id),
        form,
    }
}

/// A class, whose instances JSON cannot tell from other objects.
pub(super) fn class(hints: &Hints<'_>, class: &Class<'_>) -> Option<TypeDeclaration> {
    let id = class.id.as_ref()?;
    Some(TypeDeclaration {
        name: name(hints.file, &id.name, id),
        form: TypeForm::Opaque { what: "a class" },
    })
}

/// An enumeration: one of the values of its members.
pub(super) fn enumeration(
    hints: &Hints<'_>,
    enumeration: &TSEnumDeclaration<'_>,
) -> TypeDeclaration {
    let mut values = Vec::new();
    let mut next = Some(0_i64);
    let mut known = true;
    for member in &enumeration.body.members {
        let value = match member.initializer.as_ref().map(Node::get_inner_expression) {
            None => next.map(ExpressionKind::Integer),
            Some(value) => match expression::lower(hints.file, value).kind {
                kind @ (ExpressionKind::Integer(_) | ExpressionKind::Text(_)) => Some(kind),
                _ => None,
            },
        };
        next = match value {
            Some(ExpressionKind::Integer(integer)) => integer.checked_add(1),
            _ => None,
        };
        known &= !matches!(
            member.id,
            TSEnumMemberName::ComputedString(_) | TSEnumMemberName::ComputedTemplateString(_)
        );
        match value {
            Some(kind) => values.push(Expression::new(kind, span(hints.file, member))),
            None => known = false,
        }
    }
    let form = if known && !values.is_empty() {
        TypeForm::Alias(TypeHint::Literal(values))
    } else {
        TypeForm::Opaque {
            what: "an enumeration whose values are not all literals",
        }
    };
    TypeDeclaration {
        name: name(hints.file, &enumeration.id.name, &enumeration.id),
        form,
    }
}

/// The properties of an object type, if it has nothing else.
pub(super) fn fields(
    hints: &Hints<'_>,
    members: &[TSSignature<'_>],
    depth: usize,
) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    for member in members {
        let TSSignature::TSPropertySignature(property) = member else {
            return None;
        };
        let text = match &property.key {
            PropertyKey::StaticIdentifier(word) => word.name.to_string(),
            PropertyKey::StringLiteral(text) if !text.lone_surrogates => text.value.to_string(),
            _ => return None,
        };
        fields.push(Field {
            name: Name {
                text,
                span: span(hints.file, &property.key),
            },
            hint: match &property.type_annotation {
                Some(annotation) => hints.lower_at(&annotation.type_annotation, depth),
                None => TypeHint::Any,
            },
            required: !property.optional,
        });
    }
    Some(fields)
}
