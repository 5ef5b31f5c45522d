//! The arguments of `#[mvm::app(…)]` and `mvm::workload!(…)`, and constants.
//!
//! ```text
//! arguments  = [argument {"," argument} [","]]
//! argument   = NAME "=" value | value
//! value      = LITERAL | "-" NUMBER | "true" | "false" | "None" | path | helper "(" arguments ")"
//!            | "[" [value {"," value}] "]" | "{" [entry {"," entry}] "}"
//! entry      = (NAME | TEXT) (":" | "=") value
//! ```
//!
//! Right inside of `app` and `func`, `env(KEY = "v")` stands for `env = {KEY = "v"}`, and
//! `resources(…)` for `resources = resources(…)`. Helpers need no `mvm::`: an attribute is read by
//! mvm and by nobody else. The compiler of Rust takes every such attribute, for it takes any tokens.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use syn::{Expr, Lit, Meta, UnOp};

use super::{Source, plain};
use crate::{
    limits::MAX_DEPTH,
    syntax::{Argument, Call, Entry, Expression, ExpressionKind, Name, Path, Span},
};

/// Options that are maps.
const MAPS: [&str; 2] = ["env", "environment"];

/// What an attribute decorates with, if it can.
pub(super) fn decorator(source: Source, attribute: &syn::Attribute) -> Option<Expression> {
    let at = source.of(attribute);
    match &attribute.meta {
        Meta::Path(word) => {
            let path = path_of(source, word);
            Some(Expression::new(ExpressionKind::Path(path), at))
        }
        Meta::List(list) => Some(call(
            source,
            path_of(source, &list.path),
            list.tokens.clone(),
            at,
        )),
        Meta::NameValue(_) => None,
    }
}

/// A call whose arguments are options of an app or a workload.
pub(super) fn call(source: Source, callee: Path, tokens: TokenStream, at: Span) -> Expression {
    let arguments = split(tokens).into_iter().map(|tokens| {
        let short = match tokens.as_slice() {
            [TokenTree::Ident(word), TokenTree::Group(group)]
                if group.delimiter() == Delimiter::Parenthesis =>
            {
                Some((word, group))
            }
            _ => None,
        };
        match short {
            Some((word, group)) => Argument {
                name: Some(source.name(word)),
                value: if MAPS.contains(&plain(word).as_str()) {
                    map(source, group, MAX_DEPTH)
                } else {
                    value(source, &tokens, MAX_DEPTH, at)
                },
            },
            None => argument(source, &tokens, MAX_DEPTH, at),
        }
    });
    let arguments = arguments.collect();
    Expression::new(
        ExpressionKind::Call(Box::new(Call { callee, arguments })),
        at,
    )
}

pub(super) fn path_of(source: Source, path: &syn::Path) -> Path {
    let segments = path.segments.iter();
    Path {
        segments: segments.map(|it| source.name(&it.ident)).collect(),
        span: source.of(path),
    }
}

/// The parts between commas.
fn split(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut parts = vec![Vec::new()];
    for token in tokens {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == ',' => parts.push(Vec::new()),
            token => {
                if let Some(part) = parts.last_mut() {
                    part.push(token);
                }
            }
        }
    }
    // One comma may end the list; another one leaves a hole that is said.
    if parts.last().is_some_and(Vec::is_empty) {
        parts.pop();
    }
    parts
}

fn argument(source: Source, tokens: &[TokenTree], depth: usize, around: Span) -> Argument {
    match tokens {
        [TokenTree::Ident(word), TokenTree::Punct(sign), rest @ ..] if sign.as_char() == '=' => {
            Argument {
                name: Some(source.name(word)),
                value: value(source, rest, depth, source.span(word.span())),
            }
        }
        tokens => Argument {
            name: None,
            value: value(source, tokens, depth, around),
        },
    }
}

/// `around` is the place of a value that is not there.
fn value(source: Source, tokens: &[TokenTree], depth: usize, around: Span) -> Expression {
    let at = match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => Span::new(
            source.file,
            source.span(first.span()).start,
            source.span(last.span()).end,
        ),
        _ => around,
    };
    let Some(depth) = depth.checked_sub(1) else {
        return Expression::unsupported("an expression that is nested too deeply", at);
    };
    let kind = match tokens {
        [] => unsupported("a missing value"),
        [TokenTree::Literal(literal)] => literal_of(&Lit::new(literal.clone()), false),
        [TokenTree::Punct(sign), TokenTree::Literal(literal)] if sign.as_char() == '-' => {
            literal_of(&Lit::new(literal.clone()), true)
        }
        [TokenTree::Ident(word)] if word == "true" => ExpressionKind::Boolean(true),
        [TokenTree::Ident(word)] if word == "false" => ExpressionKind::Boolean(false),
        [TokenTree::Ident(word)] if word == "None" => ExpressionKind::Null,
        [TokenTree::Group(group)] => match group.delimiter() {
            Delimiter::Bracket | Delimiter::Parenthesis => {
                let parts = split(group.stream()).into_iter();
                let parts = parts.map(|part| value(source, &part, depth, at));
                ExpressionKind::List(parts.collect())
            }
            Delimiter::Brace => return map(source, group, depth),
            Delimiter::None => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                return value(source, &inner, depth, at);
            }
        },
        [path @ .., TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => {
            match words(path) {
                Some(words) => {
                    let arguments = split(group.stream()).into_iter();
                    let arguments = arguments.map(|it| argument(source, &it, depth, at));
                    ExpressionKind::Call(Box::new(Call {
                        callee: helper(source, &words),
                        arguments: arguments.collect(),
                    }))
                }
                None => unsupported("this expression"),
            }
        }
        path => match words(path) {
            Some(words) => ExpressionKind::Path(Path {
                segments: words.iter().map(|it| source.name(it)).collect(),
                span: at,
            }),
            None => unsupported("this expression"),
        },
    };
    Expression::new(kind, at)
}

const fn unsupported(what: &'static str) -> ExpressionKind {
    ExpressionKind::Unsupported { what }
}

/// `{KEY = "v", "KEY": "v"}`.
fn map(source: Source, group: &Group, depth: usize) -> Expression {
    let at = source.span(group.span());
    let entries = split(group.stream()).into_iter().map(|tokens| {
        let (key, rest) = match tokens.as_slice() {
            [
                key @ (TokenTree::Ident(_) | TokenTree::Literal(_)),
                TokenTree::Punct(sign),
                rest @ ..,
            ] if matches!(sign.as_char(), ':' | '=') => (key, rest),
            tokens => {
                let value = value(source, tokens, depth, at);
                return Entry {
                    key: Expression::unsupported("an entry without a key", value.span),
                    value,
                };
            }
        };
        let span = source.span(key.span());
        let kind = match key {
            TokenTree::Ident(word) => ExpressionKind::Text(plain(word)),
            TokenTree::Literal(literal) => literal_of(&Lit::new(literal.clone()), false),
            _ => unsupported("this key"),
        };
        Entry {
            key: Expression::new(kind, span),
            value: value(source, rest, depth, span),
        }
    });
    let entries = entries.collect();
    Expression::new(ExpressionKind::Map(entries), at)
}

/// Words joined by `::`.
fn words(tokens: &[TokenTree]) -> Option<Vec<Ident>> {
    let mut words = Vec::new();
    let mut colons = 2;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if colons == 2 => {
                words.push(word.clone());
                colons = 0;
            }
            TokenTree::Punct(sign) if sign.as_char() == ':' && colons < 2 => colons += 1,
            _ => return None,
        }
    }
    (colons == 0).then_some(words)
}

/// The path of a helper: one word is mvm's.
fn helper(source: Source, words: &[Ident]) -> Path {
    let mut segments: Vec<_> = words.iter().map(|it| source.name(it)).collect();
    let start = segments.first().map_or(0, |it| it.span.start);
    let end = segments.last().map_or(0, |it| it.span.end);
    let span = Span::new(source.file, start, end);
    if segments.len() == 1 {
        let text = "mvm".to_owned();
        segments.insert(0, Name { text, span });
    }
    Path { segments, span }
}

fn literal_of(literal: &Lit, negative: bool) -> ExpressionKind {
    match literal {
        Lit::Str(text) if !negative => ExpressionKind::Text(text.value()),
        Lit::Bool(boolean) if !negative => ExpressionKind::Boolean(boolean.value),
        Lit::Int(integer) => {
            let sign = if negative { "-" } else { "" };
            match format!("{sign}{}", integer.base10_digits()).parse() {
                Ok(integer) => ExpressionKind::Integer(integer),
                Err(_) => unsupported("an integer beyond 64 bits"),
            }
        }
        Lit::Float(number) => match number.base10_parse::<f64>() {
            Ok(number) => ExpressionKind::Number(if negative { -number } else { number }),
            Err(_) => unsupported("this number"),
        },
        Lit::ByteStr(_) | Lit::Byte(_) | Lit::CStr(_) => unsupported("a bytes literal"),
        Lit::Char(_) => unsupported("a character"),
        _ => unsupported("this literal"),
    }
}

/// The value of a constant.
pub(super) fn constant(source: Source, value: &Expr, depth: usize) -> Expression {
    let at = source.of(value);
    let Some(depth) = depth.checked_sub(1) else {
        return Expression::unsupported("an expression that is nested too deeply", at);
    };
    let list = |elements: &syn::punctuated::Punctuated<Expr, syn::Token![,]>| {
        let elements = elements.iter().map(|it| constant(source, it, depth));
        ExpressionKind::List(elements.collect())
    };
    let kind = match value {
        Expr::Lit(literal) => literal_of(&literal.lit, false),
        Expr::Unary(unary) => match (&unary.op, unary.expr.as_ref()) {
            (UnOp::Neg(_), Expr::Lit(literal)) => literal_of(&literal.lit, true),
            _ => unsupported("a calculation"),
        },
        Expr::Array(array) => list(&array.elems),
        Expr::Tuple(tuple) => list(&tuple.elems),
        Expr::Reference(inner) => return constant(source, &inner.expr, depth),
        Expr::Paren(inner) => return constant(source, &inner.expr, depth),
        Expr::Group(inner) => return constant(source, &inner.expr, depth),
        Expr::Path(path) if path.qself.is_none() => {
            ExpressionKind::Path(path_of(source, &path.path))
        }
        Expr::Call(_) | Expr::MethodCall(_) => unsupported("a call"),
        Expr::Macro(_) => unsupported("a macro's call"),
        Expr::Binary(_) => unsupported("a calculation"),
        Expr::Block(_) | Expr::Const(_) => unsupported("a block"),
        Expr::Struct(_) => unsupported("a struct"),
        Expr::Closure(_) => unsupported("a closure"),
        _ => unsupported("this expression"),
    };
    Expression::new(kind, at)
}
