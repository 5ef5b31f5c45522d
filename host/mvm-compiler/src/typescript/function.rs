//! Functions: their parameters, and what they answer.

use oxc_ast::ast::{
    ArrowFunctionExpression, BindingPattern, Expression, FormalParameter, FormalParameters,
    Function, Statement, TSTypeAnnotation,
};

use super::{hint::Hints, name, span};
use crate::syntax::{Name, Parameter, ParameterKind, TypeHint};

/// A function in any of its forms.
#[derive(Clone, Copy)]
pub(super) enum Callable<'a> {
    Function(&'a Function<'a>),
    Arrow(&'a ArrowFunctionExpression<'a>),
}

impl<'a> Callable<'a> {
    fn parts(self) -> (&'a FormalParameters<'a>, Option<&'a TSTypeAnnotation<'a>>) {
        match self {
            Self::Function(function) => (&function.params, function.return_type.as_deref()),
            Self::Arrow(arrow) => (&arrow.params, arrow.return_type.as_deref()),
        }
    }

    pub(super) fn parameters(self, hints: &Hints<'_>) -> Vec<Parameter> {
        let (parameters, _) = self.parts();
        let mut lowered: Vec<_> = parameters.items.iter().map(|it| one(hints, it)).collect();
        if let Some(rest) = &parameters.rest {
            lowered.push(Parameter {
                name: name(hints.file, "...", rest.as_ref()),
                kind: ParameterKind::Unsupported {
                    what: "a rest parameter",
                },
                hint: None,
                optional: true,
            });
        }
        lowered
    }

    pub(super) fn result(self, hints: &Hints<'_>) -> Option<TypeHint> {
        let (_, result) = self.parts();
        result.map(|annotation| hints.result(&annotation.type_annotation))
    }

    /// What it is that cannot be called, or does not answer once.
    pub(super) fn unsupported(self) -> Option<&'static str> {
        match self {
            Self::Function(function) if function.generator => Some("a generator"),
            Self::Function(_) | Self::Arrow(_) => None,
        }
    }

    /// The name it gives itself.
    pub(super) fn name(self, hints: &Hints<'_>) -> Option<Name> {
        match self {
            Self::Function(function) => {
                let id = function.id.as_ref()?;
                Some(name(hints.file, &id.name, id))
            }
            Self::Arrow(_) => None,
        }
    }

    /// The statements of its body.
    pub(super) fn body(self) -> &'a [Statement<'a>] {
        match self {
            Self::Function(function) => match &function.body {
                Some(body) => body.statements.as_slice(),
                None => &[],
            },
            Self::Arrow(arrow) => match &arrow.body {
                oxc_ast::ast::ArrowFunctionBody::FunctionBody(body) => body.statements.as_slice(),
                _ => &[],
            },
        }
    }
}

fn one(hints: &Hints<'_>, parameter: &FormalParameter<'_>) -> Parameter {
    let hint = parameter.type_annotation.as_ref();
    let hint = hint.map(|annotation| hints.lower(&annotation.type_annotation));
    let hint = hint.or_else(|| type_of(parameter.initializer.as_deref()?));
    let optional = parameter.optional || parameter.initializer.is_some();
    let (name, kind) = match &parameter.pattern {
        BindingPattern::BindingIdentifier(word) => (
            name(hints.file, &word.name, word.as_ref()),
            ParameterKind::One,
        ),
        pattern => (
            Name {
                text: "{…}".to_owned(),
                span: span(hints.file, pattern),
            },
            ParameterKind::Unsupported {
                what: "a destructured parameter",
            },
        ),
    };
    Parameter {
        name,
        kind,
        hint,
        optional,
    }
}

/// The type that TypeScript takes a parameter to have by its default.
fn type_of(default: &Expression<'_>) -> Option<TypeHint> {
    match default.get_inner_expression() {
        Expression::StringLiteral(_) | Expression::TemplateLiteral(_) => Some(TypeHint::Text),
        Expression::NumericLiteral(_) => Some(TypeHint::Number),
        Expression::BooleanLiteral(_) => Some(TypeHint::Boolean),
        _ => None,
    }
}
