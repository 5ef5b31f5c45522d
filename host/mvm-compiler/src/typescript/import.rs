//! Imports: those that name what they bind, and those that do so when the file runs.

use oxc_ast::ast::{
    CallExpression, Expression as Node, ImportDeclaration, ImportDeclarationSpecifier,
};

use super::{name, span, statement::Walk, wrapped};
use crate::{
    Diagnostic,
    evaluate::is_sdk,
    syntax::{BindingKind, Scope, Span},
};

impl<'a> Walk<'a, '_> {
    pub(super) fn import(&mut self, import: &'a ImportDeclaration<'a>) {
        let file = self.module.file;
        let of_sdk = is_sdk(self.module.language, import.source.value.as_str());
        for specifier in import.specifiers.iter().flatten() {
            let (item, is_type) = match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(it) => (
                    Some(it.imported.name().to_string()),
                    it.import_kind.is_type(),
                ),
                ImportDeclarationSpecifier::ImportDefaultSpecifier(_) => {
                    (Some("default".to_owned()), false)
                }
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(_) => (None, false),
            };
            let kind = if is_type || import.import_kind.is_type() {
                BindingKind::Type
            } else {
                BindingKind::Import { of_sdk, item }
            };
            let word = name(file, wrapped::local_of(specifier), specifier);
            self.bind(word, kind, Scope::Module);
        }
    }

    /// `require("@mvm/sdk")` and `await import("@mvm/sdk")`, whose names cannot be known.
    pub(super) fn import_call(&mut self, value: &'a Node<'a>) {
        let file = self.module.file;
        let value = match value.get_inner_expression() {
            Node::AwaitExpression(inner) => inner.argument.get_inner_expression(),
            value => value,
        };
        let source = match value {
            Node::CallExpression(call) => required_by(call),
            Node::ImportExpression(import) => Some(import.source.get_inner_expression()),
            Node::StaticMemberExpression(member) => match member.object.get_inner_expression() {
                Node::CallExpression(call) => required_by(call),
                _ => None,
            },
            _ => None,
        };
        if let Some(Node::StringLiteral(module)) = source {
            self.required(&module.value, span(file, value));
        }
    }

    pub(super) fn required(&mut self, module: &str, at: Span) {
        if is_sdk(self.module.language, module) {
            let message = format!("`{module}` is loaded when the file runs");
            self.module.diagnostics.push(
                Diagnostic::error("E_UNSUPPORTED_REQUIRE", at, message)
                    .hint(format!("write `import * as mvm from \"{module}\"`")),
            );
        }
    }
}

/// What `require` is called with.
fn required_by<'a>(call: &'a CallExpression<'a>) -> Option<&'a Node<'a>> {
    match (call.callee.get_inner_expression(), call.arguments.first()) {
        (Node::Identifier(word), Some(argument)) if word.name == "require" => {
            argument.as_expression().map(Node::get_inner_expression)
        }
        _ => None,
    }
}
