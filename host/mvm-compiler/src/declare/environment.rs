//! Environment variables.

use std::collections::BTreeMap;

use mvm_contract::workload::{EnvironmentValue, SecretKind};

use super::{Arguments, image::choice};
use crate::{
    Diagnostic,
    value::{Piece, Placed, Places, ValueKind, escaped},
};

pub(super) fn literal(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let value = arguments.require_text("value")?.text;
    let literal = Piece::Variable(EnvironmentValue::Literal { value }, None);
    Some(Placed::new(literal, arguments.places()))
}

pub(super) fn secret(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let name = arguments.require_text("name");
    let kinds = [
        ("bearer", SecretKind::Bearer),
        ("basic", SecretKind::Basic),
        ("sigv4", SecretKind::Sigv4),
        ("hmac", SecretKind::Hmac),
    ];
    let kind = choice(arguments, "type", &kinds, SecretKind::Bearer);
    let hosts = arguments.texts("hosts").unwrap_or_default();
    let variable = arguments.text("var");
    let secret = EnvironmentValue::Secret {
        name: name?.text,
        hosts,
        secret: kind?,
    };
    let piece = Piece::Variable(secret, variable);
    Some(Placed::new(piece, arguments.places()))
}

/// The map of an argument, from names to texts, literals or secrets.
pub(crate) fn variables(
    arguments: &mut Arguments,
    name: &str,
) -> Placed<BTreeMap<String, EnvironmentValue>> {
    let mut variables = Placed::default();
    let Some(value) = arguments.take(name) else {
        return variables;
    };
    variables.places = Places::NONE.with("", value.span);
    let entries = match value.kind {
        ValueKind::Map(entries) => entries,
        kind => {
            let value = crate::value::Value {
                kind,
                span: value.span,
            };
            arguments.mistyped(name, &value, "a map of names to values");
            return variables;
        }
    };
    for (key, value) in entries {
        let at = format!("/{}", escaped(&key.text));
        if let ValueKind::Text(text) = value.kind {
            variables.places.set(at, value.span);
            let literal = EnvironmentValue::Literal { value: text };
            variables.part.insert(key.text, literal);
            continue;
        }
        let expected = "a text, `literal(…)` or `secret(…)`";
        let piece = arguments.piece_of(&key.text, value, expected, |piece| match piece {
            Piece::Variable(value, variable) => Some((value, variable)),
            _ => None,
        });
        let Some(Placed { part, places }) = piece else {
            continue;
        };
        let (value, variable) = part;
        if let Some(variable) = variable
            && variable.text != key.text
        {
            arguments.refuse(
                Diagnostic::error(
                    "E_VARIABLE_NAMES",
                    variable.span,
                    format!(
                        "the secret is for `{}` and is given to `{}`",
                        variable.text, key.text
                    ),
                )
                .label(key.span, "the variable")
                .hint("leave `var` out: the variable is the key"),
            );
        }
        variables.places.graft(&at, places);
        variables.part.insert(key.text, value);
    }
    variables
}
