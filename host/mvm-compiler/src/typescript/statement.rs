//! Statements: what binds names, what is called, what is decorated.

use oxc_ast::ast::{
    AssignmentTarget, BindingPattern, Declaration, ExportDefaultDeclarationKind,
    Expression as Node, ForStatementInit, ForStatementLeft, Program, Statement, TSModuleReference,
    TSNamespaceDeclarationBody, UnaryOperator, VariableDeclaration, VariableDeclarationKind,
};

use super::{
    expression,
    function::Callable,
    hint::Hints,
    name, record, span,
    wrapped::{self, Names, Wrapped},
};
use crate::{
    Diagnostic,
    syntax::{Binding, BindingKind, ExpressionKind, FunctionDeclaration, Module, Name, Scope},
};

/// The deepest nesting of statements that is looked into.
const MAX_STATEMENTS: usize = 200;

/// Lowers the statements of a file.
pub(super) fn lower<'a>(text: &'a str, program: &'a Program<'a>, module: &mut Module) {
    let mut names = Names::of(program);
    let types = std::mem::take(&mut names.types);
    let mut walk = Walk {
        hints: Hints::new(module.file, text, types),
        names,
        module,
        too_deep: false,
    };
    walk.block(&program.body, Scope::Module, MAX_STATEMENTS);
}

pub(super) struct Walk<'a, 'm> {
    pub(super) hints: Hints<'a>,
    names: Names<'a>,
    pub(super) module: &'m mut Module,
    too_deep: bool,
}

impl<'a> Walk<'a, '_> {
    fn block(&mut self, body: &'a [Statement<'a>], scope: Scope, depth: usize) {
        for statement in body {
            self.statement(statement, scope, depth);
        }
    }

    fn statement(&mut self, statement: &'a Statement<'a>, scope: Scope, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            if !std::mem::replace(&mut self.too_deep, true) {
                let message = format!("more than {MAX_STATEMENTS} statements are in each other");
                let at = span(self.module.file, statement);
                self.module
                    .diagnostics
                    .push(Diagnostic::error("E_TOO_DEEP", at, message));
            }
            return;
        };
        if let Some(declaration) = statement.as_declaration() {
            return self.declaration(declaration, scope, depth);
        }
        // What is below a condition of a function is in the function.
        let below = match scope {
            Scope::Module => Scope::Conditional,
            other => other,
        };
        match statement {
            Statement::BlockStatement(block) => self.block(&block.body, below, depth),
            Statement::IfStatement(branches) => {
                self.statement(&branches.consequent, below, depth);
                if let Some(alternate) = &branches.alternate {
                    self.statement(alternate, below, depth);
                }
            }
            Statement::ForStatement(repeated) => {
                if let Some(ForStatementInit::VariableDeclaration(variables)) = &repeated.init {
                    self.variables(variables, below, depth);
                }
                self.statement(&repeated.body, below, depth);
            }
            Statement::ForInStatement(repeated) => {
                self.loop_variable(&repeated.left, below);
                self.statement(&repeated.body, below, depth);
            }
            Statement::ForOfStatement(repeated) => {
                self.loop_variable(&repeated.left, below);
                self.statement(&repeated.body, below, depth);
            }
            Statement::WhileStatement(repeated) => self.statement(&repeated.body, below, depth),
            Statement::DoWhileStatement(repeated) => self.statement(&repeated.body, below, depth),
            Statement::LabeledStatement(labeled) => self.statement(&labeled.body, below, depth),
            Statement::WithStatement(with) => self.statement(&with.body, below, depth),
            Statement::SwitchStatement(switch) => {
                for case in &switch.cases {
                    self.block(&case.consequent, below, depth);
                }
            }
            Statement::TryStatement(attempt) => {
                self.block(&attempt.block.body, below, depth);
                if let Some(handler) = &attempt.handler {
                    self.block(&handler.body.body, below, depth);
                }
                if let Some(last) = &attempt.finalizer {
                    self.block(&last.body, below, depth);
                }
            }
            Statement::ReturnStatement(answer) => {
                if let Some(value) = &answer.argument {
                    self.decorated(value, None, scope);
                }
            }
            Statement::ExpressionStatement(statement) => {
                self.expression(&statement.expression, scope);
            }
            Statement::ImportDeclaration(import) => self.import(import),
            Statement::ExportDeclaration(export) => {
                self.declaration(&export.declaration, scope, depth);
            }
            Statement::ExportDefaultDeclaration(export) => {
                self.default_export(&export.declaration, scope, depth);
            }
            Statement::TSExportAssignment(export) => self.stray(&export.expression),
            _ => {}
        }
    }

    pub(super) fn bind(&mut self, name: Name, kind: BindingKind, scope: Scope) {
        if matches!(scope, Scope::Module | Scope::Conditional) {
            self.module.bindings.push(Binding { name, kind, scope });
        }
    }

    fn declaration(&mut self, declaration: &'a Declaration<'a>, scope: Scope, depth: usize) {
        let file = self.module.file;
        let at_top = scope == Scope::Module;
        match declaration {
            Declaration::VariableDeclaration(variables) => self.variables(variables, scope, depth),
            Declaration::FunctionDeclaration(function) => {
                if let (Some(id), Some(_), true) = (&function.id, &function.body, at_top) {
                    self.bind(name(file, &id.name, id), BindingKind::Function, scope);
                }
                self.body(Callable::Function(function), depth);
            }
            Declaration::ClassDeclaration(class) => self.class(class, scope),
            Declaration::TSTypeAliasDeclaration(alias) if at_top => {
                let alias = record::alias(&self.hints, alias);
                self.bind(alias.name.clone(), BindingKind::Type, scope);
                self.module.types.push(alias);
            }
            Declaration::TSInterfaceDeclaration(interface) if at_top => {
                let interface = record::interface(&self.hints, interface);
                self.bind(interface.name.clone(), BindingKind::Type, scope);
                self.module.types.push(interface);
            }
            Declaration::TSEnumDeclaration(enumeration) if at_top => {
                let enumeration = record::enumeration(&self.hints, enumeration);
                self.bind(enumeration.name.clone(), BindingKind::Type, scope);
                self.module.types.push(enumeration);
            }
            Declaration::TSNamespaceDeclaration(namespace) => {
                let id = &namespace.id;
                if at_top {
                    self.bind(name(file, &id.name, id), BindingKind::Type, scope);
                }
                let mut inner = &namespace.body;
                while let TSNamespaceDeclarationBody::TSNamespaceDeclaration(next) = inner {
                    inner = &next.body;
                }
                if let TSNamespaceDeclarationBody::TSModuleBlock(block) = inner {
                    self.block(&block.body, Scope::Namespace, depth);
                }
            }
            Declaration::TSImportEqualsDeclaration(import) => {
                if let TSModuleReference::ExternalModuleReference(module) = &import.module_reference
                {
                    self.required(&module.expression.value, span(file, import.as_ref()));
                }
                let other = BindingKind::Other {
                    what: "an `import … = `",
                };
                self.bind(name(file, &import.id.name, &import.id), other, scope);
            }
            _ => {}
        }
    }

    fn variables(&mut self, variables: &'a VariableDeclaration<'a>, scope: Scope, depth: usize) {
        // Names of blocks are not those of the file, but for `var`.
        let is_var = variables.kind == VariableDeclarationKind::Var;
        let is_bound = scope == Scope::Module || is_var;
        for variable in &variables.declarations {
            let BindingPattern::BindingIdentifier(id) = &variable.id else {
                if let Some(value) = &variable.init {
                    self.import_call(value);
                    self.stray(value);
                }
                if is_bound {
                    self.pattern(&variable.id, scope, "a destructuring");
                }
                continue;
            };
            let word = name(self.module.file, &id.name, id.as_ref());
            let other = match variables.kind {
                VariableDeclarationKind::Const => None,
                VariableDeclarationKind::Let => Some("a `let` variable"),
                VariableDeclarationKind::Var => Some("a `var` variable"),
                _ => Some("a `using` variable"),
            };
            let Some(value) = &variable.init else {
                if is_bound {
                    let what = other.unwrap_or("a constant without a value");
                    self.bind(word, BindingKind::Other { what }, scope);
                }
                continue;
            };
            self.import_call(value);
            let is_function = self.decorated(value, Some(word.clone()), scope);
            let callable = wrapped::callable(value);
            if let Some(callable) = callable {
                self.body(callable, depth);
            }
            if !is_bound {
                continue;
            }
            let kind = match other {
                _ if is_function || callable.is_some() => BindingKind::Function,
                Some(what) => BindingKind::Other { what },
                None => BindingKind::Value(expression::lower(self.module.file, value)),
            };
            self.bind(word, kind, scope);
        }
    }

    fn body(&mut self, callable: Callable<'a>, depth: usize) {
        self.block(callable.body(), Scope::Function, depth);
    }

    /// Adds the function that calls decorate, if that is what a value is.
    fn decorated(&mut self, value: &'a Node<'a>, bound: Option<Name>, scope: Scope) -> bool {
        let Some(wrapped) = wrapped::unwrap(self.module.file, &self.names, value) else {
            self.stray(value);
            return false;
        };
        let is_known = wrapped.callable.is_some();
        let own = match wrapped.target {
            Node::Identifier(word) => Some(name(self.module.file, &word.name, word.as_ref())),
            _ => None,
        };
        match bound.or(own) {
            Some(word) => {
                let called = self.names.exported.get(word.text.as_str()).cloned();
                let exported = called.is_some();
                self.function(wrapped, word, called, exported, scope);
            }
            // What has no name cannot be reached, but from where it stands: as default export.
            None => self.stray(value),
        }
        is_known
    }

    fn function(
        &mut self,
        wrapped: Wrapped<'a>,
        name: Name,
        called: Option<String>,
        exported: bool,
        scope: Scope,
    ) {
        let callable = wrapped.callable;
        let parameters = callable.map(|it| it.parameters(&self.hints));
        self.module.functions.push(FunctionDeclaration {
            called: called.filter(|called| *called != name.text),
            name,
            decorators: wrapped.decorators,
            parameters: parameters.unwrap_or_default(),
            result: callable.and_then(|it| it.result(&self.hints)),
            scope,
            exported,
            unsupported: wrapped.unsupported,
        });
    }

    fn default_export(
        &mut self,
        export: &'a ExportDefaultDeclarationKind<'a>,
        scope: Scope,
        depth: usize,
    ) {
        let file = self.module.file;
        match export {
            ExportDefaultDeclarationKind::FunctionDeclaration(function) => {
                if let Some(id) = &function.id {
                    self.bind(name(file, &id.name, id), BindingKind::Function, scope);
                }
                self.body(Callable::Function(function), depth);
            }
            ExportDefaultDeclarationKind::ClassDeclaration(class) => self.class(class, scope),
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => {}
            other => {
                let Some(value) = other.as_expression() else {
                    return;
                };
                let Some(wrapped) = wrapped::unwrap(file, &self.names, value) else {
                    return self.stray(value);
                };
                let own = wrapped.callable.and_then(|it| it.name(&self.hints));
                let word = match wrapped.target {
                    Node::Identifier(word) => Some(name(file, &word.name, word.as_ref())),
                    _ => own,
                };
                let word = word.unwrap_or_else(|| name(file, "default", value));
                self.function(wrapped, word, Some("default".to_owned()), true, scope);
            }
        }
    }

    /// A function that is decorated where no name reaches it.
    fn stray(&mut self, value: &'a Node<'a>) {
        if let Some(found) = wrapped::stray(&self.names, value) {
            let at = span(self.module.file, found);
            let message = "a function is decorated inside of an expression";
            self.module.diagnostics.push(
                Diagnostic::error("E_NESTED", at, message)
                    .hint("give it a name: `export const f = mvm.app({…})(…)`"),
            );
        }
    }

    fn expression(&mut self, value: &'a Node<'a>, scope: Scope) {
        let file = self.module.file;
        let value = value.get_inner_expression();
        match value {
            Node::CallExpression(_) => {
                if self.decorated(value, None, scope) {
                    return;
                }
                let lowered = expression::lower(file, value);
                if let ExpressionKind::Call(_) = lowered.kind {
                    self.module.calls.push((lowered, scope));
                }
            }
            Node::AwaitExpression(inner) => self.expression(&inner.argument, scope),
            Node::AssignmentExpression(assign) => {
                self.assigned(&assign.left, scope);
                self.stray(&assign.right);
            }
            Node::UnaryExpression(unary) if unary.operator == UnaryOperator::Delete => {
                self.changed(&unary.argument, scope);
            }
            Node::UpdateExpression(update) => {
                if let Some(word) = update.argument.get_identifier_name() {
                    let word = name(file, word, update.as_ref());
                    let what = "an assignment";
                    self.bind(word, BindingKind::Other { what }, scope);
                }
            }
            other => self.stray(other),
        }
    }

    /// Names whose value an assignment changes.
    fn assigned(&mut self, target: &'a AssignmentTarget<'a>, scope: Scope) {
        if let AssignmentTarget::AssignmentTargetIdentifier(word) = target {
            let word = name(self.module.file, &word.name, word.as_ref());
            let what = "an assignment";
            self.bind(word, BindingKind::Other { what }, scope);
        } else if let Some(member) = target.as_member_expression() {
            self.changed(member.object(), scope);
        }
    }

    /// The name whose parts something changes.
    fn changed(&mut self, value: &'a Node<'a>, scope: Scope) {
        let mut rest = value.get_inner_expression();
        while let Some(member) = rest.as_member_expression() {
            rest = member.object().get_inner_expression();
        }
        if let Node::Identifier(word) = rest {
            let word = name(self.module.file, &word.name, word.as_ref());
            let what = "an assignment to a part of it";
            self.bind(word, BindingKind::Other { what }, scope);
        }
    }

    fn pattern(&mut self, pattern: &'a BindingPattern<'a>, scope: Scope, what: &'static str) {
        for id in pattern.get_binding_identifiers() {
            let word = name(self.module.file, &id.name, id);
            self.bind(word, BindingKind::Other { what }, scope);
        }
    }

    fn loop_variable(&mut self, left: &'a ForStatementLeft<'a>, scope: Scope) {
        match left {
            ForStatementLeft::VariableDeclaration(variables) => {
                if variables.kind == VariableDeclarationKind::Var {
                    for variable in &variables.declarations {
                        self.pattern(&variable.id, scope, "a loop");
                    }
                }
            }
            left => {
                if let Some(target) = left.as_assignment_target() {
                    self.assigned(target, scope);
                }
            }
        }
    }
}
