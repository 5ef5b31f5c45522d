//! What names mean: a constant, a helper of mvm, or something that is not known.

use mvm_contract::workload::Language;

use super::Evaluator;
use crate::{
    Diagnostic,
    syntax::{BindingKind, Path, Scope},
};

/// What a path means.
pub(crate) enum Meaning {
    /// A constant: its binding.
    Constant(usize),
    /// A helper or a declaration of mvm, by its name in `snake_case`.
    Helper(String),
    /// Something else; a noun with its article.
    Foreign(&'static str),
    /// It cannot be known, which was said.
    Failed,
}

/// Names under which the SDK itself is exported from its module.
const NAMESPACES: [&str; 3] = ["mvm", "default", "*"];

/// Whether a module is the SDK.
pub(crate) fn is_sdk(language: Language, module: &str) -> bool {
    match language {
        Language::Python | Language::Rust => module == "mvm",
        Language::Node => {
            matches!(
                module,
                "@mvm/sdk" | "@runmvm/mvm" | "mvm-sdk" | "mvm" | "@mvm/sdk/declare"
            )
        }
    }
}

/// A name of TypeScript in the form the helpers have: `localPath` is `local_path`. Names in the form
/// already stay.
pub(crate) fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            if !text.is_empty() {
                text.push('_');
            }
            text.push(letter.to_ascii_lowercase());
        } else {
            text.push(letter);
        }
    }
    text
}

impl<'a> Evaluator<'a> {
    /// Whether a path may be a name of mvm, without saying anything where it is not.
    pub(crate) fn helper(&mut self, path: &'a Path) -> Option<String> {
        let first = path.segments.first()?;
        let sdk = match self.bindings.get(first.text.as_str()) {
            // Where nothing is bound, that is said; an import of everything was.
            None => first.text == "mvm" && self.module.star_imports.is_empty(),
            Some(indices) => indices.iter().any(|index| {
                let binding = self.module.bindings.get(*index);
                binding.is_some_and(|binding| match &binding.kind {
                    BindingKind::Import { of_sdk, .. } => *of_sdk,
                    _ => false,
                })
            }),
        };
        if !sdk {
            return None;
        }
        match self.meaning(path) {
            Meaning::Helper(name) => Some(name),
            _ => None,
        }
    }

    /// Whether a path can be something of this file or of mvm: builtins are not.
    pub(super) fn is_bound(&self, path: &Path) -> bool {
        path.segments.first().is_some_and(|first| {
            first.text == "mvm" || self.bindings.contains_key(first.text.as_str())
        })
    }

    /// What a path means; where it cannot be known, that is said once for each name.
    pub(crate) fn meaning(&mut self, path: &'a Path) -> Meaning {
        let Some((first, rest)) = path.segments.split_first() else {
            return Meaning::Failed;
        };
        let name = first.text.as_str();
        let Some(indices) = self.bindings.get(name) else {
            return self.unbound(path);
        };
        let (index, binding) = match indices.as_slice() {
            [index] => match self.module.bindings.get(*index) {
                Some(binding) => (*index, binding),
                None => return Meaning::Failed,
            },
            several => {
                let several: Vec<_> = several
                    .iter()
                    .filter_map(|index| self.module.bindings.get(*index))
                    .collect();
                let mut report = Diagnostic::error(
                    "E_REASSIGNED",
                    first.span,
                    format!("`{name}` is bound {} times", several.len()),
                )
                .hint("bind it once, at the top level");
                for binding in several.iter().take(3) {
                    report = report.label(binding.name.span, "bound here");
                }
                return self.complain(name, report);
            }
        };
        if binding.scope == Scope::Conditional {
            let report = Diagnostic::error(
                "E_CONDITIONAL",
                first.span,
                format!("whether `{name}` is bound is not known before the file runs"),
            )
            .label(binding.name.span, "bound here, below a condition")
            .hint("bind it at the top level");
            return self.complain(name, report);
        }
        match &binding.kind {
            BindingKind::Value(_) if rest.is_empty() => Meaning::Constant(index),
            BindingKind::Value(_) => Meaning::Foreign("an attribute of a constant"),
            BindingKind::Import { of_sdk: true, item } => {
                let canonical = |name: &str| match self.module.language {
                    Language::Node => snake_case(name),
                    _ => name.to_owned(),
                };
                match (item.as_deref(), rest) {
                    (None, [helper]) => Meaning::Helper(canonical(&helper.text)),
                    (Some(item), [helper]) if NAMESPACES.contains(&item) => {
                        Meaning::Helper(canonical(&helper.text))
                    }
                    (Some(item), []) if !NAMESPACES.contains(&item) => {
                        Meaning::Helper(canonical(item))
                    }
                    (_, []) => Meaning::Foreign("the module of mvm"),
                    _ => Meaning::Foreign("a name inside of mvm"),
                }
            }
            BindingKind::Import { .. } => Meaning::Foreign("a name of another module"),
            BindingKind::Function => Meaning::Foreign("a function"),
            BindingKind::Type => Meaning::Foreign("a type"),
            BindingKind::Other { what } => Meaning::Foreign(what),
        }
    }

    fn unbound(&mut self, path: &'a Path) -> Meaning {
        let (language, name) = (self.module.language, path.segments.first());
        let Some(name) = name else {
            return Meaning::Failed;
        };
        if let (Language::Rust, "mvm", [_, helper]) =
            (language, name.text.as_str(), path.segments.as_slice())
        {
            return Meaning::Helper(helper.text.clone());
        }
        let mut report = Diagnostic::error(
            "E_UNKNOWN_NAME",
            name.span,
            format!("`{}` is not bound in this file", name.text),
        );
        report = match self.module.star_imports.first() {
            Some(star) => report
                .label(star.span, "this may bind it, or not")
                .hint("import the names one by one"),
            None if name.text == "mvm" => report.hint("import mvm at the top level"),
            None => report,
        };
        self.complain(&name.text, report)
    }

    fn complain(&mut self, name: &str, report: Diagnostic) -> Meaning {
        if self.complained.insert(name.to_owned()) {
            self.report.push(report);
        }
        Meaning::Failed
    }
}
