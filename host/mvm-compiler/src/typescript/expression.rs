//! Expressions.

use oxc_ast::ast::{
    ArrayExpressionElement, BinaryOperator, CallExpression, Expression as Node, NumericLiteral,
    ObjectProperty, ObjectPropertyKind, PropertyKey, PropertyKind, TemplateLiteral, UnaryOperator,
};

use super::{name, span};
use crate::{
    limits::MAX_DEPTH,
    syntax::{Argument, Call, Entry, Expression, ExpressionKind, FileId, Path},
};

/// The largest integer that a number of JavaScript holds exactly.
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Lowers an expression.
pub(super) fn lower(file: FileId, expression: &Node<'_>) -> Expression {
    lower_at(file, expression, MAX_DEPTH)
}

fn lower_at(file: FileId, expression: &Node<'_>, depth: usize) -> Expression {
    // Parentheses, `as const`, `satisfies T`, `!` change no value.
    let expression = expression.get_inner_expression();
    let at = span(file, expression);
    let Some(depth) = depth.checked_sub(1) else {
        return Expression::unsupported("an expression that is nested too deeply", at);
    };
    let kind = match expression {
        Node::StringLiteral(literal) if literal.lone_surrogates => {
            unsupported("a text that is not Unicode")
        }
        Node::StringLiteral(literal) => ExpressionKind::Text(literal.value.to_string()),
        Node::TemplateLiteral(template) => joined(file, template, depth),
        Node::NumericLiteral(literal) => number(literal, 1.0),
        Node::BooleanLiteral(literal) => ExpressionKind::Boolean(literal.value),
        Node::NullLiteral(_) => ExpressionKind::Null,
        Node::Identifier(word) if word.name == "undefined" => ExpressionKind::Null,
        Node::UnaryExpression(unary) => {
            match (unary.operator, unary.argument.get_inner_expression()) {
                (UnaryOperator::UnaryNegation, Node::NumericLiteral(literal)) => {
                    number(literal, -1.0)
                }
                (UnaryOperator::UnaryPlus, Node::NumericLiteral(literal)) => number(literal, 1.0),
                (UnaryOperator::Void | UnaryOperator::Typeof | UnaryOperator::Delete, _) => {
                    unsupported("an operation")
                }
                _ => unsupported("a calculation"),
            }
        }
        Node::ArrayExpression(array) => {
            let elements = array.elements.iter().map(|element| match element {
                ArrayExpressionElement::SpreadElement(spread) => {
                    Expression::unsupported("a spread (`...`)", span(file, spread.as_ref()))
                }
                ArrayExpressionElement::Elision(hole) => {
                    Expression::unsupported("a hole in an array", span(file, hole.as_ref()))
                }
                element => match element.as_expression() {
                    Some(element) => lower_at(file, element, depth),
                    None => Expression::unsupported("this expression", at),
                },
            });
            ExpressionKind::List(elements.collect())
        }
        Node::ObjectExpression(object) => {
            let entries = object.properties.iter().map(|property| match property {
                ObjectPropertyKind::ObjectProperty(property) => entry(file, property, depth),
                ObjectPropertyKind::SpreadProperty(spread) => {
                    let at = span(file, spread.as_ref());
                    Entry {
                        key: Expression::unsupported("a spread (`...`)", at),
                        value: Expression::new(ExpressionKind::Null, at),
                    }
                }
            });
            ExpressionKind::Map(entries.collect())
        }
        Node::Identifier(_) | Node::StaticMemberExpression(_) => match path(file, expression) {
            Some(path) => ExpressionKind::Path(path),
            None => unsupported("a property of a value"),
        },
        Node::CallExpression(call) => match path(file, &call.callee) {
            Some(callee) if !call.optional => ExpressionKind::Call(Box::new(Call {
                callee,
                arguments: arguments(file, call, depth),
            })),
            _ => unsupported("a call of something that is not a name"),
        },
        Node::BinaryExpression(sum) if sum.operator == BinaryOperator::Addition => {
            // A sum leans to the left: its parts are collected without recursion.
            let mut parts = vec![lower_at(file, &sum.right, depth)];
            let mut left = sum.left.get_inner_expression();
            while let Node::BinaryExpression(sum) = left
                && sum.operator == BinaryOperator::Addition
            {
                parts.push(lower_at(file, &sum.right, depth));
                left = sum.left.get_inner_expression();
            }
            parts.push(lower_at(file, left, depth));
            parts.reverse();
            ExpressionKind::Joined(parts)
        }
        other => unsupported(noun(other)),
    };
    Expression::new(kind, at)
}

const fn unsupported(what: &'static str) -> ExpressionKind {
    ExpressionKind::Unsupported { what }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the number is whole and within 53 bits"
)]
pub(super) fn number(literal: &NumericLiteral<'_>, sign: f64) -> ExpressionKind {
    let value = literal.value * sign;
    if value.fract() != 0.0 {
        return ExpressionKind::Number(value);
    }
    if value.abs() <= MAX_INTEGER {
        ExpressionKind::Integer(value as i64)
    } else {
        unsupported("an integer beyond 53 bits")
    }
}

fn entry(file: FileId, property: &ObjectProperty<'_>, depth: usize) -> Entry {
    let key = match &property.key {
        PropertyKey::PrivateIdentifier(word) => {
            Expression::unsupported("a private name", span(file, word.as_ref()))
        }
        key => match (property.computed, key.as_expression()) {
            // `[KEY]: value` has the key that `KEY` comes to.
            (true, Some(key)) => lower_at(file, key, depth),
            _ => match key.static_name() {
                Some(text) => {
                    Expression::new(ExpressionKind::Text(text.into_owned()), span(file, key))
                }
                None => Expression::unsupported("a key that is no name", span(file, key)),
            },
        },
    };
    let value = if property.method || property.kind != PropertyKind::Init {
        Expression::unsupported("a function", span(file, property))
    } else {
        lower_at(file, &property.value, depth)
    };
    Entry { key, value }
}

fn arguments(file: FileId, call: &CallExpression<'_>, depth: usize) -> Vec<Argument> {
    let lower = |argument: &oxc_ast::ast::Argument<'_>| match argument.as_expression() {
        Some(value) => lower_at(file, value, depth),
        None => Expression::unsupported("a spread (`...`)", span(file, argument)),
    };
    let positional = call.arguments.iter().map(|argument| Argument {
        name: None,
        value: lower(argument),
    });
    positional.collect()
}

fn joined(file: FileId, template: &TemplateLiteral<'_>, depth: usize) -> ExpressionKind {
    let mut parts = Vec::new();
    let mut values = template.expressions.iter();
    for quasi in &template.quasis {
        let at = span(file, quasi);
        match &quasi.value.cooked {
            Some(text) if !quasi.lone_surrogates => {
                if template.expressions.is_empty() {
                    return ExpressionKind::Text(text.to_string());
                }
                parts.push(Expression::new(ExpressionKind::Text(text.to_string()), at));
            }
            _ => parts.push(Expression::unsupported("a text that is not Unicode", at)),
        }
        if let Some(value) = values.next() {
            parts.push(lower_at(file, value, depth));
        }
    }
    ExpressionKind::Joined(parts)
}

/// A call without its callee's call: of `mvm.app({…})(f)`, the part `mvm.app({…})`.
pub(super) fn call(file: FileId, call: &CallExpression<'_>) -> Option<Expression> {
    let callee = path(file, &call.callee).filter(|_| !call.optional)?;
    let kind = ExpressionKind::Call(Box::new(Call {
        callee,
        arguments: arguments(file, call, MAX_DEPTH - 1),
    }));
    Some(Expression::new(kind, span(file, call)))
}

/// A name, or names joined by dots.
pub(super) fn path(file: FileId, expression: &Node<'_>) -> Option<Path> {
    let mut segments = Vec::new();
    let whole = expression.get_inner_expression();
    let mut rest = whole;
    while let Node::StaticMemberExpression(member) = rest {
        if member.optional {
            return None;
        }
        segments.push(name(file, &member.property.name, &member.property));
        rest = member.object.get_inner_expression();
    }
    let Node::Identifier(first) = rest else {
        return None;
    };
    segments.push(name(file, &first.name, first.as_ref()));
    segments.reverse();
    Some(Path {
        segments,
        span: span(file, whole),
    })
}

/// What has no value before the program runs.
const fn noun(expression: &Node<'_>) -> &'static str {
    match expression {
        Node::BigIntLiteral(_) => "a `bigint`",
        Node::RegExpLiteral(_) => "a regular expression",
        Node::ArrowFunctionExpression(_) | Node::FunctionExpression(_) => "a function",
        Node::ClassExpression(_) => "a class",
        Node::AssignmentExpression(_) | Node::UpdateExpression(_) => "an assignment",
        Node::AwaitExpression(_) => "an `await`",
        Node::BinaryExpression(_) => "a calculation",
        Node::LogicalExpression(_) => "a choice",
        Node::ConditionalExpression(_) => "a conditional expression",
        Node::ChainExpression(_) => "an optional chain",
        Node::ImportExpression(_) => "an `import()`",
        Node::NewExpression(_) => "a `new`",
        Node::SequenceExpression(_) => "a sequence",
        Node::TaggedTemplateExpression(_) => "a tagged template",
        Node::ThisExpression(_) | Node::Super(_) => "`this`",
        Node::YieldExpression(_) => "a `yield`",
        Node::JSXElement(_) | Node::JSXFragment(_) => "an element",
        Node::ComputedMemberExpression(_) => "a subscript",
        _ => "this expression",
    }
}
