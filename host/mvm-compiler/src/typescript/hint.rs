//! Type hints.

use std::collections::HashSet;

use oxc_ast::ast::{
    TSLiteral, TSSignature, TSTupleElement, TSType, TSTypeName, TSTypeOperatorOperator,
    TSTypeReference, UnaryOperator,
};
use oxc_span::GetSpan;

use super::{expression, name, record, span};
use crate::{
    limits::MAX_DEPTH,
    syntax::{Expression, ExpressionKind, FileId, Path, TypeHint},
};

/// The longest piece of source that a message repeats.
const MAX_SHOWN: usize = 40;

/// What names mean in hints.
pub(super) struct Hints<'a> {
    pub(super) file: FileId,
    text: &'a str,
    /// Types that the file declares or imports, which hide those of the language.
    declared: HashSet<String>,
}

impl<'a> Hints<'a> {
    pub(super) const fn new(file: FileId, text: &'a str, declared: HashSet<String>) -> Self {
        Self {
            file,
            text,
            declared,
        }
    }

    /// Lowers a hint.
    pub(super) fn lower(&self, hint: &TSType<'_>) -> TypeHint {
        self.lower_at(hint, MAX_DEPTH)
    }

    /// Lowers the hint of a function's result: what a promise comes to.
    pub(super) fn result(&self, hint: &TSType<'_>) -> TypeHint {
        match hint {
            TSType::TSTypeReference(reference) => {
                let arguments = reference.type_arguments.as_ref();
                match (
                    self.builtin(reference),
                    arguments.map(|it| it.params.as_slice()),
                ) {
                    (Some("Promise" | "PromiseLike"), Some([inner])) => self.lower(inner),
                    _ => self.lower(hint),
                }
            }
            _ => self.lower(hint),
        }
    }

    pub(super) fn lower_at(&self, hint: &TSType<'_>, depth: usize) -> TypeHint {
        let Some(depth) = depth.checked_sub(1) else {
            return self.unknown(hint);
        };
        match hint {
            TSType::TSAnyKeyword(_) | TSType::TSUnknownKeyword(_) => TypeHint::Any,
            TSType::TSNullKeyword(_) | TSType::TSUndefinedKeyword(_) | TSType::TSVoidKeyword(_) => {
                TypeHint::Null
            }
            TSType::TSBooleanKeyword(_) => TypeHint::Boolean,
            TSType::TSNumberKeyword(_) => TypeHint::Number,
            TSType::TSStringKeyword(_) | TSType::TSTemplateLiteralType(_) => TypeHint::Text,
            TSType::TSBigIntKeyword(_) => {
                self.refused(hint, "a `bigint`", "use `number`, or pass it as a text")
            }
            TSType::TSFunctionType(_) | TSType::TSConstructorType(_) => {
                self.refused(hint, "a function", "pass what it would be called with")
            }
            TSType::TSSymbolKeyword(_) => self.refused(hint, "a symbol", "use a text"),
            TSType::TSParenthesizedType(inner) => self.lower_at(&inner.type_annotation, depth),
            TSType::TSTypeOperatorType(operator)
                if operator.operator == TSTypeOperatorOperator::Readonly =>
            {
                self.lower_at(&operator.type_annotation, depth)
            }
            TSType::TSArrayType(array) => {
                TypeHint::List(Box::new(self.lower_at(&array.element_type, depth)))
            }
            TSType::TSTupleType(tuple) => self.tuple(hint, &tuple.element_types, depth),
            TSType::TSUnionType(union) => self.union(&union.types, depth),
            TSType::TSLiteralType(literal) => match self.literal(&literal.literal) {
                Some(value) => TypeHint::Literal(vec![value]),
                None => self.unknown(hint),
            },
            TSType::TSTypeLiteral(object) => match object.members.as_slice() {
                [TSSignature::TSIndexSignature(index)]
                    if matches!(
                        index.parameter.type_annotation.type_annotation,
                        TSType::TSStringKeyword(_)
                    ) =>
                {
                    let values = self.lower_at(&index.type_annotation.type_annotation, depth);
                    TypeHint::Map(Box::new(values))
                }
                // `{}` is anything but nothing.
                [] => TypeHint::Any,
                members => match record::fields(self, members, depth) {
                    Some(fields) => TypeHint::Record(fields),
                    None => self.unknown(hint),
                },
            },
            TSType::TSTypeReference(reference) => self.reference(hint, reference, depth),
            _ => self.unknown(hint),
        }
    }

    fn tuple(&self, hint: &TSType<'_>, elements: &[TSTupleElement<'_>], depth: usize) -> TypeHint {
        let mut parts = Vec::new();
        for element in elements {
            let part = match element.as_ts_type() {
                Some(TSType::TSNamedTupleMember(named)) if !named.optional => {
                    named.element_type.as_ts_type()
                }
                Some(TSType::TSNamedTupleMember(_)) | None => None,
                plain => plain,
            };
            match part {
                Some(part) => parts.push(self.lower_at(part, depth)),
                None => return self.unknown(hint),
            }
        }
        TypeHint::Tuple(parts)
    }

    /// One of several types; literal types among them are one, in the place of the first.
    fn union(&self, types: &[TSType<'_>], depth: usize) -> TypeHint {
        let mut parts: Vec<TypeHint> = Vec::new();
        for inner in types {
            let part = self.lower_at(inner, depth);
            let literals = parts.iter_mut().find_map(|it| match it {
                TypeHint::Literal(values) => Some(values),
                _ => None,
            });
            match (literals, part) {
                (Some(values), TypeHint::Literal(more)) => values.extend(more),
                (_, part) => parts.push(part),
            }
        }
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                TypeHint::AnyOf(parts)
            }
            None => TypeHint::Any,
        }
    }

    fn literal(&self, literal: &TSLiteral<'_>) -> Option<Expression> {
        let (kind, at) = match literal {
            TSLiteral::BooleanLiteral(literal) => (
                ExpressionKind::Boolean(literal.value),
                span(self.file, literal.as_ref()),
            ),
            TSLiteral::NumericLiteral(literal) => (
                expression::number(literal, 1.0),
                span(self.file, literal.as_ref()),
            ),
            TSLiteral::StringLiteral(literal) if !literal.lone_surrogates => (
                ExpressionKind::Text(literal.value.to_string()),
                span(self.file, literal.as_ref()),
            ),
            TSLiteral::TemplateLiteral(template) => (
                ExpressionKind::Text(template.single_quasi()?.to_string()),
                span(self.file, template.as_ref()),
            ),
            TSLiteral::UnaryExpression(unary) => match (unary.operator, &unary.argument) {
                (
                    UnaryOperator::UnaryNegation,
                    oxc_ast::ast::Expression::NumericLiteral(literal),
                ) => (
                    expression::number(literal, -1.0),
                    span(self.file, unary.as_ref()),
                ),
                _ => return None,
            },
            TSLiteral::BigIntLiteral(_) | TSLiteral::StringLiteral(_) => return None,
        };
        Some(Expression::new(kind, at))
    }

    /// The name of a type of the language itself.
    fn builtin<'b>(&self, reference: &'b TSTypeReference<'_>) -> Option<&'b str> {
        match &reference.type_name {
            TSTypeName::IdentifierReference(word)
                if !self.declared.contains(word.name.as_str()) =>
            {
                Some(word.name.as_str())
            }
            _ => None,
        }
    }

    fn reference(
        &self,
        hint: &TSType<'_>,
        reference: &TSTypeReference<'_>,
        depth: usize,
    ) -> TypeHint {
        let arguments = reference.type_arguments.as_ref();
        let arguments = arguments.map_or(&[][..], |it| it.params.as_slice());
        match (self.builtin(reference), arguments) {
            (Some("Array" | "ReadonlyArray"), [inner]) => {
                TypeHint::List(Box::new(self.lower_at(inner, depth)))
            }
            (Some("Record"), [key, values]) if self.lower_at(key, depth) == TypeHint::Text => {
                TypeHint::Map(Box::new(self.lower_at(values, depth)))
            }
            (Some("Readonly"), [inner]) => self.lower_at(inner, depth),
            (Some("Uint8Array" | "ArrayBuffer" | "Buffer" | "Blob"), _) => {
                TypeHint::Bytes(span(self.file, hint))
            }
            (Some("Date"), []) => {
                self.refused(hint, "a `Date`", "pass `toISOString()`, which is a text")
            }
            (Some("Map" | "ReadonlyMap" | "WeakMap"), _) => {
                self.refused(hint, "a `Map`", "use `Record<string, T>`")
            }
            (Some("Set" | "ReadonlySet" | "WeakSet"), _) => {
                self.refused(hint, "a `Set`", "use an array")
            }
            (Some("Function"), []) => {
                self.refused(hint, "a function", "pass what it would be called with")
            }
            (Some("Promise" | "PromiseLike"), _) => {
                self.refused(hint, "a promise", "pass what it comes to")
            }
            (Some("RegExp"), []) => self.refused(hint, "a regular expression", "pass its source"),
            (Some(_), []) | (None, []) => match self.path(&reference.type_name) {
                Some(path) => TypeHint::Named(path),
                None => self.unknown(hint),
            },
            _ => self.unknown(hint),
        }
    }

    fn path(&self, type_name: &TSTypeName<'_>) -> Option<Path> {
        let mut segments = Vec::new();
        let mut rest = type_name;
        while let TSTypeName::QualifiedName(qualified) = rest {
            segments.push(name(self.file, &qualified.right.name, &qualified.right));
            rest = &qualified.left;
        }
        let TSTypeName::IdentifierReference(first) = rest else {
            return None;
        };
        segments.push(name(self.file, &first.name, first.as_ref()));
        segments.reverse();
        Some(Path {
            segments,
            span: span(self.file, type_name),
        })
    }

    fn refused(&self, hint: &TSType<'_>, what: &'static str, instead: &'static str) -> TypeHint {
        TypeHint::Refused {
            what,
            instead,
            span: span(self.file, hint),
        }
    }

    pub(super) fn unknown(&self, hint: &impl GetSpan) -> TypeHint {
        let at = span(self.file, hint);
        let text = self.text.get(at.start as usize..at.end as usize);
        let mut text: String = text
            .unwrap_or_default()
            .chars()
            .take(MAX_SHOWN + 1)
            .collect();
        if text.chars().count() > MAX_SHOWN {
            text.pop();
            text.push('…');
        }
        TypeHint::Unknown { text, span: at }
    }
}
