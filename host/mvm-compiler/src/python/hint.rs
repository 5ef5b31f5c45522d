//! Type hints (PEP 484, 585, 586, 593, 604, 655).

use std::collections::HashMap;

use ruff_python_ast::{Expr, Operator, Stmt};
use ruff_python_parser::parse_expression;
use ruff_text_size::Ranged;

use super::{expression, nesting, span};
use crate::{
    limits::MAX_DEPTH,
    syntax::{FileId, TypeHint},
};

/// The longest text that is read as a hint.
const MAX_QUOTED_BYTES: usize = 1024;
/// The longest piece of source that a message repeats.
const MAX_SHOWN: usize = 40;
/// Modules whose names hints are made of.
const MODULES: [&str; 4] = ["typing", "typing_extensions", "collections.abc", "builtins"];

/// What names mean in hints.
pub(super) struct Hints<'a> {
    pub(super) file: FileId,
    text: &'a str,
    /// Names imported from a module of hints, with what they are called there.
    items: HashMap<&'a str, &'a str>,
    /// Names of modules of hints.
    modules: HashMap<&'a str, &'a str>,
}

impl<'a> Hints<'a> {
    /// The names that the top level of a file imports.
    pub(super) fn of(file: FileId, text: &'a str, body: &'a [Stmt]) -> Self {
        let mut hints = Self {
            file,
            text,
            items: HashMap::new(),
            modules: HashMap::new(),
        };
        hints.collect(body);
        hints
    }

    fn collect(&mut self, body: &'a [Stmt]) {
        for statement in body {
            match statement {
                Stmt::Import(import) => {
                    for alias in &import.names {
                        let module = alias.name.id.as_str();
                        let bound = alias.asname.as_ref().map_or(module, |it| it.id.as_str());
                        self.modules.insert(bound, module);
                    }
                }
                Stmt::ImportFrom(import) if import.level == 0 => {
                    let module = import.module.as_ref().map_or("", |it| it.id.as_str());
                    for alias in &import.names {
                        let item = alias.name.id.as_str();
                        let bound = alias.asname.as_ref().map_or(item, |it| it.id.as_str());
                        if MODULES.contains(&module)
                            || (module, item) == ("dataclasses", "dataclass")
                        {
                            self.items.insert(bound, item);
                        }
                    }
                }
                // `if TYPE_CHECKING:` and `try:` around imports of hints are common.
                Stmt::If(branches) => self.collect(&branches.body),
                Stmt::Try(attempt) => self.collect(&attempt.body),
                _ => {}
            }
        }
    }

    /// Whether an assigned value is another name of a type.
    pub(super) fn is_alias(&self, value: &Expr) -> bool {
        match value {
            Expr::Subscript(subscript) => self.canonical(&subscript.value).is_some(),
            Expr::BinOp(union) => {
                union.op == Operator::BitOr && self.is_part_of_union(&union.right)
            }
            Expr::Name(_) | Expr::Attribute(_) => self.canonical(value).is_some(),
            _ => false,
        }
    }

    fn is_part_of_union(&self, value: &Expr) -> bool {
        matches!(value, Expr::NoneLiteral(_) | Expr::Name(_)) || self.is_alias_part(value)
    }

    fn is_alias_part(&self, value: &Expr) -> bool {
        matches!(value, Expr::Subscript(it) if self.canonical(&it.value).is_some())
    }

    /// Whether a parameter that takes several arguments takes named ones.
    pub(super) fn is_double_starred(&self, parameter: &ruff_python_ast::Parameter) -> bool {
        let start = parameter.name.range().start().to_usize();
        let before = self.text.get(..start).unwrap_or_default();
        before.trim_end().ends_with("**")
    }

    /// Lowers a hint.
    pub(super) fn lower(&self, hint: &Expr) -> TypeHint {
        self.lower_at(hint, MAX_DEPTH)
    }

    fn lower_at(&self, hint: &Expr, depth: usize) -> TypeHint {
        let Some(depth) = depth.checked_sub(1) else {
            return self.unknown(hint);
        };
        match hint {
            Expr::NoneLiteral(_) => TypeHint::Null,
            Expr::StringLiteral(quoted) => self.quoted(hint, quoted.value.to_str(), depth),
            Expr::BinOp(union) if union.op == Operator::BitOr => {
                let mut parts = vec![self.lower_at(&union.right, depth)];
                let mut left = union.left.as_ref();
                while let Expr::BinOp(union) = left
                    && union.op == Operator::BitOr
                {
                    parts.push(self.lower_at(&union.right, depth));
                    left = &union.left;
                }
                parts.push(self.lower_at(left, depth));
                parts.reverse();
                TypeHint::AnyOf(parts)
            }
            Expr::Name(_) | Expr::Attribute(_) => self.plain(hint),
            Expr::Subscript(subscript) => {
                let arguments = match subscript.slice.as_ref() {
                    Expr::Tuple(tuple) => tuple.elts.as_slice(),
                    single => std::slice::from_ref(single),
                };
                let called = self.canonical(&subscript.value);
                self.generic(hint, called.as_deref(), arguments, depth)
            }
            _ => self.unknown(hint),
        }
    }

    /// What a name is called where it comes from: `Optional` for `t.Optional`. Builtins are
    /// themselves.
    pub(super) fn canonical(&self, hint: &Expr) -> Option<String> {
        match hint {
            Expr::Name(word) => {
                let word = word.id.as_str();
                let item = self.items.get(word).copied();
                item.or_else(|| is_builtin(word).then_some(word))
                    .map(str::to_owned)
            }
            Expr::Attribute(attribute) => {
                let path = expression::path(self.file, &attribute.value)?.dotted();
                let module = self.modules.get(path.as_str()).copied().unwrap_or(&path);
                (MODULES.contains(&module) || module == "dataclasses")
                    .then(|| attribute.attr.id.to_string())
            }
            _ => None,
        }
    }

    fn plain(&self, hint: &Expr) -> TypeHint {
        let Some(called) = self.canonical(hint) else {
            return match expression::path(self.file, hint) {
                Some(path) => TypeHint::Named(path),
                None => self.unknown(hint),
            };
        };
        match called.as_str() {
            "Any" | "object" => TypeHint::Any,
            "bool" => TypeHint::Boolean,
            "int" => TypeHint::Integer,
            "float" => TypeHint::Number,
            "str" | "Text" | "LiteralString" => TypeHint::Text,
            "bytes" | "bytearray" | "memoryview" => TypeHint::Bytes(span(self.file, hint.range())),
            "None" => TypeHint::Null,
            "list" | "List" | "tuple" | "Tuple" | "Sequence" | "MutableSequence" | "Iterable"
            | "Collection" => TypeHint::List(Box::new(TypeHint::Any)),
            "dict" | "Dict" | "Mapping" | "MutableMapping" => {
                TypeHint::Map(Box::new(TypeHint::Any))
            }
            _ => self.unknown(hint),
        }
    }

    fn generic(
        &self,
        hint: &Expr,
        called: Option<&str>,
        arguments: &[Expr],
        depth: usize,
    ) -> TypeHint {
        let all = || {
            arguments
                .iter()
                .map(|it| self.lower_at(it, depth))
                .collect()
        };
        match (called, arguments) {
            (Some("Optional"), [inner]) => {
                TypeHint::AnyOf(vec![self.lower_at(inner, depth), TypeHint::Null])
            }
            (Some("Union"), [_, ..]) => TypeHint::AnyOf(all()),
            (Some("Literal"), [_, ..]) => {
                let values = arguments.iter().map(|it| expression::lower(self.file, it));
                TypeHint::Literal(values.collect())
            }
            (Some("Annotated"), [inner, ..])
            | (Some("Final" | "Required" | "NotRequired" | "ReadOnly"), [inner]) => {
                self.lower_at(inner, depth)
            }
            (
                Some("list" | "List" | "Sequence" | "MutableSequence" | "Iterable" | "Collection"),
                [inner],
            )
            | (Some("tuple" | "Tuple"), [inner, Expr::EllipsisLiteral(_)]) => {
                TypeHint::List(Box::new(self.lower_at(inner, depth)))
            }
            (Some("tuple" | "Tuple"), [Expr::Tuple(empty)]) if empty.elts.is_empty() => {
                TypeHint::Tuple(Vec::new())
            }
            (Some("tuple" | "Tuple"), _) => TypeHint::Tuple(all()),
            (Some("dict" | "Dict" | "Mapping" | "MutableMapping"), [key, value])
                if self.lower_at(key, depth) == TypeHint::Text =>
            {
                TypeHint::Map(Box::new(self.lower_at(value, depth)))
            }
            _ => self.unknown(hint),
        }
    }

    /// A hint in quotes. Its names have no places of their own: all of it is where the text is.
    fn quoted(&self, hint: &Expr, text: &str, depth: usize) -> TypeHint {
        if text.len() > MAX_QUOTED_BYTES || nesting::first_beyond(text, MAX_DEPTH * 4).is_some() {
            return self.unknown(hint);
        }
        let Ok(parsed) = parse_expression(text) else {
            return self.unknown(hint);
        };
        let mut lowered = self.lower_at(parsed.expr(), depth);
        move_to(&mut lowered, span(self.file, hint.range()));
        lowered
    }

    fn unknown(&self, hint: &Expr) -> TypeHint {
        let at = span(self.file, hint.range());
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

fn is_builtin(word: &str) -> bool {
    matches!(
        word,
        "int"
            | "float"
            | "str"
            | "bool"
            | "bytes"
            | "bytearray"
            | "memoryview"
            | "list"
            | "dict"
            | "tuple"
            | "object"
    )
}

/// Gives every place in a hint this one.
fn move_to(hint: &mut TypeHint, at: crate::syntax::Span) {
    match hint {
        TypeHint::Bytes(span) | TypeHint::Refused { span, .. } | TypeHint::Unknown { span, .. } => {
            *span = at
        }
        TypeHint::Literal(values) => {
            for value in values {
                value.span = at;
            }
        }
        TypeHint::List(inner) | TypeHint::Map(inner) => move_to(inner, at),
        TypeHint::Tuple(parts) | TypeHint::AnyOf(parts) => {
            for part in parts {
                move_to(part, at);
            }
        }
        TypeHint::Named(path) => {
            path.span = at;
            for segment in &mut path.segments {
                segment.span = at;
            }
        }
        TypeHint::Record(_)
        | TypeHint::Any
        | TypeHint::Null
        | TypeHint::Boolean
        | TypeHint::Integer
        | TypeHint::Number
        | TypeHint::Text => {}
    }
}
