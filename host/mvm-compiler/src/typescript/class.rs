//! Classes, of which nothing can be called by a name.

use oxc_ast::ast::{Class, ClassElement};

use super::{expression, name, record, statement::Walk};
use crate::syntax::{BindingKind, FunctionDeclaration, Scope};

impl<'a> Walk<'a, '_> {
    pub(super) fn class(&mut self, class: &'a Class<'a>, scope: Scope) {
        let file = self.module.file;
        let Some(declared) = record::class(&self.hints, class) else {
            return;
        };
        let word = declared.name.clone();
        if scope == Scope::Module {
            self.bind(word.clone(), BindingKind::Type, scope);
            self.module.types.push(declared);
        }
        if !class.decorators.is_empty() {
            let decorators = class.decorators.iter();
            let decorators = decorators.map(|it| expression::lower(file, &it.expression));
            let declaration = FunctionDeclaration {
                name: word,
                called: None,
                decorators: decorators.collect(),
                parameters: Vec::new(),
                result: None,
                scope,
                exported: true,
                unsupported: Some("a class"),
            };
            self.module.functions.push(declaration);
        }
        self.methods(class);
    }

    /// Methods that something decorates, which nothing can call by a name.
    fn methods(&mut self, class: &'a Class<'a>) {
        let file = self.module.file;
        for element in &class.body.body {
            let ClassElement::MethodDefinition(method) = element else {
                continue;
            };
            if method.decorators.is_empty() {
                continue;
            }
            let decorators = method.decorators.iter();
            let decorators = decorators.map(|it| expression::lower(file, &it.expression));
            let text = method.key.static_name().unwrap_or_default();
            let declaration = FunctionDeclaration {
                name: name(file, &text, &method.key),
                called: None,
                decorators: decorators.collect(),
                parameters: Vec::new(),
                result: None,
                scope: Scope::Class,
                exported: false,
                unsupported: None,
            };
            self.module.functions.push(declaration);
        }
    }
}
