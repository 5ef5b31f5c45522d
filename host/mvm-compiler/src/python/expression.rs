//! Expressions.

use ruff_python_ast::{
    Expr, ExprCall, ExprFString, FStringPart, InterpolatedStringElement, Number, Operator, UnaryOp,
};
use ruff_text_size::Ranged;

use super::{name, span};
use crate::{
    limits::MAX_DEPTH,
    syntax::{Argument, Call, Entry, Expression, ExpressionKind, FileId, Name, Path, Span},
};

/// Lowers an expression.
pub(super) fn lower(file: FileId, expression: &Expr) -> Expression {
    lower_at(file, expression, MAX_DEPTH)
}

fn lower_at(file: FileId, expression: &Expr, depth: usize) -> Expression {
    let at = span(file, expression.range());
    let Some(depth) = depth.checked_sub(1) else {
        return Expression::unsupported("an expression that is nested too deeply", at);
    };
    let list = |elements: &[Expr]| {
        let elements = elements.iter().map(|it| lower_at(file, it, depth));
        ExpressionKind::List(elements.collect())
    };
    let kind = match expression {
        Expr::StringLiteral(literal) => ExpressionKind::Text(literal.value.to_str().to_owned()),
        Expr::NumberLiteral(literal) => number(&literal.value),
        Expr::BooleanLiteral(literal) => ExpressionKind::Boolean(literal.value),
        Expr::NoneLiteral(_) => ExpressionKind::Null,
        Expr::UnaryOp(unary) if unary.op == UnaryOp::USub => {
            match lower_at(file, &unary.operand, depth).kind {
                ExpressionKind::Integer(integer) => ExpressionKind::Integer(-integer),
                ExpressionKind::Number(number) => ExpressionKind::Number(-number),
                _ => unsupported("a calculation"),
            }
        }
        Expr::List(elements) => list(&elements.elts),
        Expr::Tuple(elements) => list(&elements.elts),
        Expr::Dict(dictionary) => {
            let entries = dictionary.items.iter().map(|item| Entry {
                key: match &item.key {
                    Some(key) => lower_at(file, key, depth),
                    None => Expression::unsupported(
                        "`**` in a dictionary",
                        span(file, item.value.range()),
                    ),
                },
                value: lower_at(file, &item.value, depth),
            });
            ExpressionKind::Map(entries.collect())
        }
        Expr::Name(_) | Expr::Attribute(_) => match path(file, expression) {
            Some(path) => ExpressionKind::Path(path),
            None => unsupported("an attribute of a value"),
        },
        Expr::Call(call) => match path(file, &call.func) {
            Some(callee) => ExpressionKind::Call(Box::new(Call {
                callee,
                arguments: arguments(file, call, depth),
            })),
            None => unsupported("a call of something that is not a name"),
        },
        Expr::BinOp(sum) if sum.op == Operator::Add => {
            // A sum leans to the left: its parts are collected without recursion.
            let mut parts = vec![lower_at(file, &sum.right, depth)];
            let mut left = sum.left.as_ref();
            while let Expr::BinOp(sum) = left
                && sum.op == Operator::Add
            {
                parts.push(lower_at(file, &sum.right, depth));
                left = &sum.left;
            }
            parts.push(lower_at(file, left, depth));
            parts.reverse();
            ExpressionKind::Joined(parts)
        }
        Expr::FString(text) => f_string(file, text, depth),
        other => unsupported(noun(other)),
    };
    Expression::new(kind, at)
}

const fn unsupported(what: &'static str) -> ExpressionKind {
    ExpressionKind::Unsupported { what }
}

fn number(number: &Number) -> ExpressionKind {
    match number {
        Number::Int(integer) => integer.as_i64().map_or(
            unsupported("an integer beyond 64 bits"),
            ExpressionKind::Integer,
        ),
        Number::Float(number) => ExpressionKind::Number(*number),
        Number::Complex { .. } => unsupported("a complex number"),
    }
}

/// Positional arguments, then named ones, each in the order of the source.
fn arguments(file: FileId, call: &ExprCall, depth: usize) -> Vec<Argument> {
    let positional = call.arguments.args.iter().map(|value| Argument {
        name: None,
        value: match value {
            Expr::Starred(starred) => {
                Expression::unsupported("`*` in a call", span(file, starred.range()))
            }
            value => lower_at(file, value, depth),
        },
    });
    let named = call
        .arguments
        .keywords
        .iter()
        .map(|keyword| match &keyword.arg {
            Some(word) => Argument {
                name: Some(name(file, word)),
                value: lower_at(file, &keyword.value, depth),
            },
            None => Argument {
                name: None,
                value: Expression::unsupported("`**` in a call", span(file, keyword.range())),
            },
        });
    positional.chain(named).collect()
}

fn f_string(file: FileId, text: &ExprFString, depth: usize) -> ExpressionKind {
    let mut parts = Vec::new();
    let mut literal = |text: &str, at: Span| {
        parts.push(Expression::new(ExpressionKind::Text(text.to_owned()), at));
    };
    let mut interpolated = Vec::new();
    for part in text.value.as_slice() {
        match part {
            FStringPart::Literal(part) => literal(part.as_str(), span(file, part.range())),
            FStringPart::FString(part) => {
                for element in &part.elements {
                    match element {
                        InterpolatedStringElement::Literal(part) => {
                            literal(&part.value, span(file, part.range()));
                        }
                        InterpolatedStringElement::Interpolation(part) => {
                            interpolated.push(part);
                        }
                    }
                }
            }
        }
    }
    for part in interpolated {
        let plain =
            part.debug_text.is_none() && part.format_spec.is_none() && part.conversion.is_none();
        parts.push(if plain {
            lower_at(file, &part.expression, depth)
        } else {
            Expression::unsupported("a formatted value", span(file, part.range()))
        });
    }
    // Parts were gathered by kind; their places tell their order.
    parts.sort_by_key(|part| part.span.start);
    ExpressionKind::Joined(parts)
}

/// A name, or names joined by dots.
pub(super) fn path(file: FileId, expression: &Expr) -> Option<Path> {
    let mut segments = Vec::new();
    let mut rest = expression;
    while let Expr::Attribute(attribute) = rest {
        segments.push(name(file, &attribute.attr));
        rest = &attribute.value;
    }
    let Expr::Name(first) = rest else {
        return None;
    };
    segments.push(Name {
        text: first.id.to_string(),
        span: span(file, first.range()),
    });
    segments.reverse();
    Some(Path {
        segments,
        span: span(file, expression.range()),
    })
}

/// What has no value before the program runs.
const fn noun(expression: &Expr) -> &'static str {
    match expression {
        Expr::BoolOp(_) => "a choice",
        Expr::If(_) => "a conditional expression",
        Expr::Named(_) => "an assignment",
        Expr::BinOp(_) | Expr::UnaryOp(_) => "a calculation",
        Expr::Lambda(_) => "a lambda",
        Expr::Set(_) => "a set",
        Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) | Expr::Generator(_) => {
            "a comprehension"
        }
        Expr::Await(_) => "an `await`",
        Expr::Yield(_) | Expr::YieldFrom(_) => "a `yield`",
        Expr::Compare(_) => "a comparison",
        Expr::TString(_) => "a template string",
        Expr::BytesLiteral(_) => "a bytes literal",
        Expr::EllipsisLiteral(_) => "`...`",
        Expr::Subscript(_) | Expr::Slice(_) => "a subscript",
        Expr::Starred(_) => "a spread",
        _ => "this expression",
    }
}
