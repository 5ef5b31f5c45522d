//! Types of the file that serde derives: structs, enumerations of names, other names of types.

use syn::{Attribute, Fields, ItemEnum, ItemStruct, ItemType, LitStr, Meta};

use super::{hint::Hints, plain};
use crate::syntax::{Expression, ExpressionKind, Field, Name, TypeDeclaration, TypeForm, TypeHint};

/// A struct.
pub(super) fn structure(hints: &Hints<'_>, item: &ItemStruct) -> TypeDeclaration {
    let form = if !item.generics.params.is_empty() {
        opaque("a struct with parameters")
    } else if !is_derived(&item.attrs) {
        opaque("a struct for which serde is not derived")
    } else {
        match (&item.fields, Said::of(&item.attrs)) {
            (Fields::Named(fields), Some(of_all)) => {
                let fields = fields.named.iter().map(|field| {
                    let said = Said::of(&field.attrs)?;
                    let ident = field.ident.as_ref()?;
                    let text = said.rename.unwrap_or_else(|| {
                        let word = plain(ident);
                        of_all.rule.map_or(word.clone(), |rule| rule.field(&word))
                    });
                    let span = hints.source.span(ident.span());
                    Some(Field {
                        name: Name { text, span },
                        required: !(said.default || of_all.default || hints.is_option(&field.ty)),
                        hint: hints.lower(&field.ty),
                    })
                });
                match fields.collect() {
                    Some(fields) => TypeForm::Record {
                        fields,
                        open: false,
                    },
                    None => opaque("a struct with more of serde than names and defaults"),
                }
            }
            (Fields::Unnamed(fields), Some(_)) if fields.unnamed.len() == 1 => {
                match fields.unnamed.first() {
                    Some(field) => TypeForm::Alias(hints.lower(&field.ty)),
                    None => opaque("a struct without fields"),
                }
            }
            (Fields::Unnamed(fields), Some(_)) => {
                let parts = fields.unnamed.iter().map(|it| hints.lower(&it.ty));
                TypeForm::Alias(TypeHint::Tuple(parts.collect()))
            }
            (Fields::Unit, Some(_)) => TypeForm::Alias(TypeHint::Null),
            (_, None) => opaque("a struct with more of serde than names and defaults"),
        }
    };
    TypeDeclaration {
        name: hints.source.name(&item.ident),
        form,
    }
}

/// An enumeration of names.
pub(super) fn enumeration(hints: &Hints<'_>, item: &ItemEnum) -> TypeDeclaration {
    let form = if !is_derived(&item.attrs) {
        opaque("an enum for which serde is not derived")
    } else {
        let of_all = Said::of(&item.attrs);
        let values = item.variants.iter().map(|variant| {
            let rule = of_all.as_ref()?.rule;
            let said = Said::of(&variant.attrs)?;
            if !matches!(variant.fields, Fields::Unit) {
                return None;
            }
            let word = plain(&variant.ident);
            let text = said
                .rename
                .unwrap_or_else(|| rule.map_or(word.clone(), |rule| rule.variant(&word)));
            let span = hints.source.span(variant.ident.span());
            Some(Expression::new(ExpressionKind::Text(text), span))
        });
        match values.collect::<Option<Vec<_>>>() {
            Some(values) if !values.is_empty() => TypeForm::Alias(TypeHint::Literal(values)),
            _ => opaque("an enum of more than names"),
        }
    };
    TypeDeclaration {
        name: hints.source.name(&item.ident),
        form,
    }
}

/// Another name of a type.
pub(super) fn alias(hints: &Hints<'_>, item: &ItemType) -> TypeDeclaration {
    let form = if item.generics.params.is_empty() {
        TypeForm::Alias(hints.lower(&item.ty))
    } else {
        opaque("a type with parameters")
    };
    TypeDeclaration {
        name: hints.source.name(&item.ident),
        form,
    }
}

const fn opaque(what: &'static str) -> TypeForm {
    TypeForm::Opaque { what }
}

/// Whether serde writes or reads a type's values.
fn is_derived(attributes: &[Attribute]) -> bool {
    let mut found = false;
    for attribute in attributes {
        if attribute.path().is_ident("derive") {
            // What is no list of paths, the compiler of Rust refuses.
            let _ = attribute.parse_nested_meta(|meta| {
                let last = meta.path.segments.last();
                found |=
                    last.is_some_and(|it| it.ident == "Serialize" || it.ident == "Deserialize");
                Ok(())
            });
        }
    }
    found
}

/// What `#[serde(…)]` says of names and defaults.
#[derive(Default)]
struct Said {
    rename: Option<String>,
    rule: Option<Rule>,
    default: bool,
}

impl Said {
    /// `None` where it says something else, by which values look differently.
    fn of(attributes: &[Attribute]) -> Option<Self> {
        let mut said = Self::default();
        for attribute in attributes {
            if !attribute.path().is_ident("serde") {
                continue;
            }
            if !matches!(attribute.meta, Meta::List(_)) {
                return None;
            }
            let mut known = true;
            let parsed = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    said.rename = Some(meta.value()?.parse::<LitStr>()?.value());
                } else if meta.path.is_ident("rename_all") {
                    said.rule = Rule::of(&meta.value()?.parse::<LitStr>()?.value());
                    known &= said.rule.is_some();
                } else if meta.path.is_ident("default") {
                    said.default = true;
                    if meta.input.peek(syn::Token![=]) {
                        meta.value()?.parse::<LitStr>()?;
                    }
                } else if !meta.path.is_ident("deny_unknown_fields") {
                    return Err(meta.error("not known"));
                }
                Ok(())
            });
            if parsed.is_err() || !known {
                return None;
            }
        }
        Some(said)
    }
}

/// How serde writes names.
#[derive(Clone, Copy)]
enum Rule {
    Lower,
    Upper,
    Camel,
    Pascal,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Rule {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "camelCase" => Self::Camel,
            "PascalCase" => Self::Pascal,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return None,
        })
    }

    /// A field's name, which is in `snake_case`.
    fn field(self, name: &str) -> String {
        match self {
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingKebab => name.to_ascii_uppercase().replace('_', "-"),
            Self::Pascal => pascal(name),
            Self::Camel => lower_first(&pascal(name)),
        }
    }

    /// A variant's name, which is in `PascalCase`.
    fn variant(self, name: &str) -> String {
        match self {
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Pascal => name.to_owned(),
            Self::Camel => lower_first(name),
            Self::Snake => snake(name),
            Self::ScreamingSnake => snake(name).to_ascii_uppercase(),
            Self::Kebab => snake(name).replace('_', "-"),
            Self::ScreamingKebab => snake(name).to_ascii_uppercase().replace('_', "-"),
        }
    }
}

fn pascal(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|it| it.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|it| it.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_serde_writes_them() {
        for (rule, field, variant) in [
            ("lowercase", "two_words", "twowords"),
            ("UPPERCASE", "TWO_WORDS", "TWOWORDS"),
            ("camelCase", "twoWords", "twoWords"),
            ("PascalCase", "TwoWords", "TwoWords"),
            ("snake_case", "two_words", "two_words"),
            ("SCREAMING_SNAKE_CASE", "TWO_WORDS", "TWO_WORDS"),
            ("kebab-case", "two-words", "two-words"),
            ("SCREAMING-KEBAB-CASE", "TWO-WORDS", "TWO-WORDS"),
        ] {
            let found = Rule::of(rule);
            assert_eq!(
                found.map(|it| it.field("two_words")).as_deref(),
                Some(field)
            );
            assert_eq!(
                found.map(|it| it.variant("TwoWords")).as_deref(),
                Some(variant)
            );
        }
    }
}
