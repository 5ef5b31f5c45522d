//! Items: what binds names, what is called, what is decorated.

use mvm_contract::workload::Language;
use syn::{
    File, FnArg, Generics, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, ItemTrait, Pat, Safety,
    Signature, StaticMutability, TraitItemFn, UseTree,
    visit::{self, Visit},
};

use super::{Source, attribute, hint::Hints, plain, record};
use crate::{
    Diagnostic,
    evaluate::is_sdk,
    limits::MAX_DEPTH,
    syntax::{
        Binding, BindingKind, FunctionDeclaration, Module, Name, Parameter, ParameterKind, Path,
        Scope, StarImport, TypeHint,
    },
};

/// Lowers the items of a file.
pub(super) fn lower(source: Source, text: &str, file: &File) -> Module {
    let declared = file.items.iter().filter_map(|item| match item {
        Item::Struct(item) => Some(plain(&item.ident)),
        Item::Enum(item) => Some(plain(&item.ident)),
        Item::Type(item) => Some(plain(&item.ident)),
        Item::Union(item) => Some(plain(&item.ident)),
        _ => None,
    });
    let mut walk = Walk {
        hints: Hints::new(source, text, declared.collect()),
        source,
        scope: Scope::Module,
        module: Module::empty(source.file, Language::Rust),
    };
    for inner in &file.attrs {
        walk.inner_attribute(inner);
    }
    for item in &file.items {
        walk.top_level(item);
        walk.visit_item(item);
    }
    walk.module
}

struct Walk<'a> {
    hints: Hints<'a>,
    source: Source,
    scope: Scope,
    module: Module,
}

impl Walk<'_> {
    fn bind(&mut self, name: Name, kind: BindingKind) {
        self.module.bindings.push(Binding {
            name,
            kind,
            scope: Scope::Module,
        });
    }

    /// Items that mean something at the top level only.
    fn top_level(&mut self, item: &Item) {
        let source = self.source;
        match item {
            Item::Use(item) => self.used(&item.tree, &mut Vec::new(), MAX_DEPTH),
            Item::Const(item) if item.ident != "_" => {
                let value = attribute::constant(source, &item.expr, MAX_DEPTH);
                self.bind(source.name(&item.ident), BindingKind::Value(value));
            }
            Item::Static(item) => {
                let kind = if matches!(item.mutability, StaticMutability::None) {
                    BindingKind::Value(attribute::constant(source, &item.expr, MAX_DEPTH))
                } else {
                    BindingKind::Other {
                        what: "a `static mut`",
                    }
                };
                self.bind(source.name(&item.ident), kind);
            }
            Item::Fn(item) => self.bind(source.name(&item.sig.ident), BindingKind::Function),
            Item::Struct(item) => {
                self.module.types.push(record::structure(&self.hints, item));
                self.bind(source.name(&item.ident), BindingKind::Type);
            }
            Item::Enum(item) => {
                let declared = record::enumeration(&self.hints, item);
                self.module.types.push(declared);
                self.bind(source.name(&item.ident), BindingKind::Type);
            }
            Item::Type(item) => {
                self.module.types.push(record::alias(&self.hints, item));
                self.bind(source.name(&item.ident), BindingKind::Type);
            }
            Item::Mod(item) => {
                let what = "a module";
                self.bind(source.name(&item.ident), BindingKind::Other { what });
            }
            _ => {}
        }
    }

    /// `#![mvm::…]`, which stable Rust does not take.
    fn inner_attribute(&mut self, inner: &syn::Attribute) {
        let first = inner.path().segments.first();
        if first.is_some_and(|it| it.ident == "mvm") {
            let at = self.source.of(inner);
            let message = "an attribute of the whole file is not of stable Rust";
            self.module.diagnostics.push(
                Diagnostic::error("E_NOT_A_DECORATOR", at, message)
                    .hint("write `mvm::workload!(id = \"…\");`"),
            );
        }
    }

    fn used(&mut self, tree: &UseTree, before: &mut Vec<String>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        let import = |walk: &mut Self, item: &syn::Ident, bound: &syn::Ident| {
            let (module, item) = match (before.as_slice(), plain(item)) {
                ([], item) => (item, None),
                ([before @ .., last], item) if item == "self" => {
                    let item = (!before.is_empty()).then(|| last.clone());
                    let module = if before.is_empty() {
                        last.clone()
                    } else {
                        before.join("::")
                    };
                    (module, item)
                }
                (before, item) => (before.join("::"), Some(item)),
            };
            let mut name = walk.source.name(bound);
            if name.text == "self"
                && let Some(last) = before.last()
            {
                name.text.clone_from(last);
            }
            let of_sdk = is_sdk(Language::Rust, &module);
            walk.bind(name, BindingKind::Import { of_sdk, item });
        };
        match tree {
            UseTree::Path(path) => {
                before.push(plain(&path.ident));
                self.used(&path.tree, before, depth);
                before.pop();
            }
            UseTree::Name(item) => import(self, &item.ident, &item.ident),
            UseTree::Rename(item) if item.rename != "_" => {
                import(self, &item.ident, &item.rename);
            }
            UseTree::Rename(_) => {}
            UseTree::Glob(glob) => self.module.star_imports.push(StarImport {
                of_sdk: is_sdk(Language::Rust, &before.join("::")),
                span: self.source.of(glob),
            }),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.used(tree, before, depth);
                }
            }
        }
    }

    fn inside(&mut self, scope: Scope, work: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.scope, scope);
        work(self);
        self.scope = before;
    }

    fn function(&mut self, attributes: &[syn::Attribute], signature: &Signature) {
        let decorators: Vec<_> = attributes
            .iter()
            .filter_map(|it| attribute::decorator(self.source, it))
            .collect();
        if decorators.is_empty() {
            return;
        }
        let parameters = signature.inputs.iter();
        let declaration = FunctionDeclaration {
            name: self.source.name(&signature.ident),
            called: None,
            decorators,
            parameters: parameters.map(|it| self.parameter(it)).collect(),
            result: Some(self.hints.result(&signature.output)).filter(|it| *it != TypeHint::Any),
            scope: self.scope,
            // What the attribute makes stands beside the function.
            exported: true,
            unsupported: unsupported(&signature.generics, signature),
        };
        self.module.functions.push(declaration);
    }

    fn parameter(&self, parameter: &FnArg) -> Parameter {
        let source = self.source;
        let refused = |text: &str, at, what| Parameter {
            name: Name {
                text: text.to_owned(),
                span: at,
            },
            kind: ParameterKind::Unsupported { what },
            hint: None,
            optional: false,
        };
        match parameter {
            FnArg::Receiver(receiver) => refused("self", source.of(receiver), "`self`"),
            FnArg::Typed(typed) => match typed.pat.as_ref() {
                Pat::Ident(word) if word.subpat.is_none() => Parameter {
                    name: source.name(&word.ident),
                    kind: ParameterKind::One,
                    hint: Some(self.hints.lower(&typed.ty)),
                    optional: self.hints.is_option(&typed.ty),
                },
                pattern => refused("…", source.of(pattern), "a destructured parameter"),
            },
        }
    }
}

/// What a function is that cannot be called with JSON.
fn unsupported(generics: &Generics, signature: &Signature) -> Option<&'static str> {
    let lifetimes = generics.lifetimes().count();
    if generics.params.len() > lifetimes {
        return Some("a function with parameters of types");
    }
    if matches!(signature.safety, Safety::Unsafe(_)) {
        return Some("an `unsafe` function");
    }
    signature.variadic.as_ref().map(|_| "a variadic function")
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, &item.sig);
        self.inside(Scope::Function, |walk| {
            visit::visit_block(walk, &item.block)
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, &item.sig);
        self.inside(Scope::Function, |walk| {
            visit::visit_block(walk, &item.block)
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.function(&item.attrs, &item.sig);
        if let Some(block) = &item.default {
            self.inside(Scope::Function, |walk| visit::visit_block(walk, block));
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.inside(Scope::Class, |walk| visit::visit_item_impl(walk, item));
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.inside(Scope::Class, |walk| visit::visit_item_trait(walk, item));
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.inside(Scope::Namespace, |walk| visit::visit_item_mod(walk, item));
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        let callee: Path = attribute::path_of(self.source, &found.path);
        let at = self.source.of(found);
        let call = attribute::call(self.source, callee, found.tokens.clone(), at);
        self.module.calls.push((call, self.scope));
    }
}
