//! `unsafe` stands only in modules that say so at their top, which is where a reviewer looks. The
//! compiler's lint alone would also be satisfied by an `allow` on one item, or in a crate root for
//! all that is below it.

use syn::visit::{self, Visit};
use syn::{
    AttrStyle, Attribute, ExprUnsafe, ItemForeignMod, ItemImpl, ItemTrait, Safety, Signature,
};

/// Whether the file uses `unsafe` without `#![allow(unsafe_code)]` of its own. A file that does
/// not parse is reported elsewhere.
pub(super) fn is_unannounced(text: &str) -> bool {
    let Ok(file) = syn::parse_file(text) else {
        return false;
    };
    let mut search = Search::default();
    search.visit_file(&file);
    search.found && !file.attrs.iter().any(allows_unsafe_code)
}

fn allows_unsafe_code(attribute: &Attribute) -> bool {
    let mut allowed = false;
    if matches!(attribute.style, AttrStyle::Inner(_)) && attribute.path().is_ident("allow") {
        // What else the list holds (`reason = ...`) does not matter, so errors do not either.
        let _ = attribute.parse_nested_meta(|meta| {
            allowed |= meta.path.is_ident("unsafe_code");
            if meta.input.peek(syn::Token![=]) {
                let _: syn::Expr = meta.value()?.parse()?;
            }
            Ok(())
        });
    }
    allowed
}

#[derive(Default)]
struct Search {
    found: bool,
}

impl<'ast> Visit<'ast> for Search {
    fn visit_expr_unsafe(&mut self, _: &'ast ExprUnsafe) {
        self.found = true;
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        self.found |= matches!(signature.safety, Safety::Unsafe(_));
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.found |= item.unsafety.is_some();
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.found |= item.unsafety.is_some();
        visit::visit_item_trait(self, item);
    }

    fn visit_item_foreign_mod(&mut self, _: &'ast ItemForeignMod) {
        self.found = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_needs_its_announcement() {
        assert!(is_unannounced("fn f() { unsafe { g() } }"));
        assert!(is_unannounced("unsafe impl Send for X {}"));
        assert!(is_unannounced("#[allow(unsafe_code)] unsafe fn f() {}"));
        assert!(!is_unannounced(
            "#![allow(unsafe_code, reason = \"x\")] unsafe fn f() {}"
        ));
        assert!(!is_unannounced("/// unsafe\nfn f() { \"unsafe\"; }"));
    }
}
