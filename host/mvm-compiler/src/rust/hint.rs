//! Types of parameters, results and fields, as serde writes their values.

use std::collections::HashSet;

use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Type};

use super::{Source, attribute, plain};
use crate::{
    limits::MAX_DEPTH,
    syntax::{Span, TypeHint},
};

/// The longest piece of source that a message repeats.
const MAX_SHOWN: usize = 40;

/// What names mean in types.
pub(super) struct Hints<'a> {
    pub(super) source: Source,
    text: &'a str,
    /// Types that the file declares, which hide those of the library.
    declared: HashSet<String>,
}

impl<'a> Hints<'a> {
    pub(super) const fn new(source: Source, text: &'a str, declared: HashSet<String>) -> Self {
        Self {
            source,
            text,
            declared,
        }
    }

    /// Lowers a type.
    pub(super) fn lower(&self, hint: &Type) -> TypeHint {
        self.lower_at(hint, MAX_DEPTH)
    }

    /// Lowers what a function answers: of a `Result`, what it is when nothing fails.
    pub(super) fn result(&self, result: &ReturnType) -> TypeHint {
        let ReturnType::Type(_, hint) = result else {
            return TypeHint::Null;
        };
        if let Some(last) = last_of(hint)
            && last.ident == "Result"
            && !self.declared.contains("Result")
            && let [inner, ..] = types_of(last).as_slice()
        {
            return self.lower(inner);
        }
        self.lower(hint)
    }

    /// Whether a type is an `Option`, which serde takes to be `None` where it is left out.
    pub(super) fn is_option(&self, hint: &Type) -> bool {
        last_of(hint)
            .is_some_and(|last| last.ident == "Option" && !self.declared.contains("Option"))
    }

    fn lower_at(&self, hint: &Type, depth: usize) -> TypeHint {
        let Some(depth) = depth.checked_sub(1) else {
            return self.unknown(hint);
        };
        let list = |inner: &Type| TypeHint::List(Box::new(self.lower_at(inner, depth)));
        match hint {
            Type::Reference(inner) => self.lower_at(&inner.elem, depth),
            Type::Paren(inner) => self.lower_at(&inner.elem, depth),
            Type::Group(inner) => self.lower_at(&inner.elem, depth),
            Type::Slice(slice) => list(&slice.elem),
            Type::Array(array) => list(&array.elem),
            Type::Tuple(tuple) if tuple.elems.is_empty() => TypeHint::Null,
            Type::Tuple(tuple) => {
                let parts = tuple.elems.iter().map(|it| self.lower_at(it, depth));
                TypeHint::Tuple(parts.collect())
            }
            Type::Path(path) if path.qself.is_none() => {
                let segments = &path.path.segments;
                match (segments.last(), segments.len()) {
                    (Some(last), 1) if self.declared.contains(&plain(&last.ident)) => {
                        self.named(hint, &path.path, last)
                    }
                    (Some(last), _) => self.builtin(hint, &path.path, last, depth),
                    (None, _) => self.unknown(hint),
                }
            }
            Type::FnPtr(_) | Type::ImplTrait(_) | Type::TraitObject(_) => self.refused(
                hint,
                "a function or a trait's value",
                "use a type whose values are data",
            ),
            Type::Ptr(_) => self.refused(hint, "a pointer", "use a type whose values are data"),
            _ => self.unknown(hint),
        }
    }

    fn builtin(&self, hint: &Type, path: &syn::Path, last: &PathSegment, depth: usize) -> TypeHint {
        let arguments = types_of(last);
        let word = plain(&last.ident);
        match (word.as_str(), arguments.as_slice()) {
            ("bool", []) => TypeHint::Boolean,
            (
                "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64"
                | "u128" | "usize",
                [],
            ) => TypeHint::Integer,
            ("f32" | "f64", []) => TypeHint::Number,
            ("String" | "str" | "char" | "PathBuf", []) => TypeHint::Text,
            ("Value", []) => TypeHint::Any,
            (
                "Vec" | "VecDeque" | "LinkedList" | "HashSet" | "BTreeSet" | "IndexSet",
                [inner, ..],
            ) => TypeHint::List(Box::new(self.lower_at(inner, depth))),
            ("Option", [inner]) => {
                TypeHint::AnyOf(vec![self.lower_at(inner, depth), TypeHint::Null])
            }
            ("Box" | "Rc" | "Arc" | "Cow", [inner]) => self.lower_at(inner, depth),
            ("HashMap" | "BTreeMap" | "IndexMap", [key, value, ..])
                if self.lower_at(key, depth) == TypeHint::Text =>
            {
                TypeHint::Map(Box::new(self.lower_at(value, depth)))
            }
            ("Instant" | "SystemTime" | "Duration", []) => {
                self.refused(hint, "a time", "pass a number of milliseconds, or a text")
            }
            _ => self.named(hint, path, last),
        }
    }

    fn named(&self, hint: &Type, path: &syn::Path, last: &PathSegment) -> TypeHint {
        if last.arguments.is_none() {
            TypeHint::Named(attribute::path_of(self.source, path))
        } else {
            self.unknown(hint)
        }
    }

    fn refused(&self, hint: &Type, what: &'static str, instead: &'static str) -> TypeHint {
        TypeHint::Refused {
            what,
            instead,
            span: self.source.of(hint),
        }
    }

    fn unknown(&self, hint: &Type) -> TypeHint {
        let span = self.source.of(hint);
        TypeHint::Unknown {
            text: self.shown(span),
            span,
        }
    }

    fn shown(&self, span: Span) -> String {
        let start = (span.start as usize).saturating_sub(self.source.skipped);
        let end = (span.end as usize).saturating_sub(self.source.skipped);
        let text = self.text.get(start..end).unwrap_or_default();
        let mut shown: String = text.chars().take(MAX_SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        shown
    }
}

fn last_of(hint: &Type) -> Option<&PathSegment> {
    match hint {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

fn types_of(segment: &PathSegment) -> Vec<&Type> {
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(inner) => Some(inner),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}
