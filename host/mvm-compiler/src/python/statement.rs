//! Statements: what binds names, what is called, what is decorated.

use mvm_contract::workload::Language;
use ruff_python_ast::{
    AnyParameterRef, Expr, Pattern, Stmt, StmtClassDef, StmtFunctionDef, StmtImport, StmtImportFrom,
};
use ruff_text_size::Ranged;

use super::{binding, expression, hint::Hints, name, record, span};
use crate::{
    evaluate::is_sdk,
    syntax::{
        Binding, BindingKind, Expression, ExpressionKind, FunctionDeclaration, Module, Name,
        Parameter, ParameterKind, Scope, StarImport,
    },
};

/// Lowers the statements of a file.
pub(super) fn lower(text: &str, body: &[Stmt], module: &mut Module) {
    // Hints name what may be imported below them: the first round collects the names.
    let hints = Hints::of(module.file, text, body);
    module.bindings = binding::hidden(module.file, body);
    let mut walk = Walk { hints, module };
    walk.block(body, Scope::Module);
}

struct Walk<'a> {
    hints: Hints<'a>,
    module: &'a mut Module,
}

impl Walk<'_> {
    fn block(&mut self, body: &[Stmt], scope: Scope) {
        for statement in body {
            self.statement(statement, scope);
        }
    }

    fn statement(&mut self, statement: &Stmt, scope: Scope) {
        // What is below a condition of a function is in the function.
        let below = match scope {
            Scope::Module => Scope::Conditional,
            other => other,
        };
        match statement {
            Stmt::FunctionDef(function) => self.function(function, scope),
            Stmt::ClassDef(class) => self.class(class, scope),
            Stmt::If(branches) => {
                self.block(&branches.body, below);
                for clause in &branches.elif_else_clauses {
                    self.block(&clause.body, below);
                }
            }
            Stmt::While(repeated) => {
                self.block(&repeated.body, below);
                self.block(&repeated.orelse, below);
            }
            Stmt::For(repeated) => {
                self.target(&repeated.target, below, "a loop");
                self.block(&repeated.body, below);
                self.block(&repeated.orelse, below);
            }
            Stmt::With(with) => {
                for item in &with.items {
                    if let Some(target) = &item.optional_vars {
                        self.target(target, below, "a `with` statement");
                    }
                }
                self.block(&with.body, below);
            }
            Stmt::Try(attempt) => {
                self.block(&attempt.body, below);
                for handler in &attempt.handlers {
                    let ruff_python_ast::ExceptHandler::ExceptHandler(handler) = handler;
                    if let Some(caught) = &handler.name {
                        let caught = name(self.module.file, caught);
                        self.other(caught, below, "an exception");
                    }
                    self.block(&handler.body, below);
                }
                self.block(&attempt.orelse, below);
                self.block(&attempt.finalbody, below);
            }
            Stmt::Match(choice) => {
                for case in &choice.cases {
                    self.pattern(&case.pattern, below);
                    self.block(&case.body, below);
                }
            }
            _ if matches!(scope, Scope::Module | Scope::Conditional) => {
                self.top_level(statement, scope);
            }
            _ => {}
        }
    }

    /// Statements that mean something at the top level only.
    fn top_level(&mut self, statement: &Stmt, scope: Scope) {
        let file = self.module.file;
        match statement {
            Stmt::Import(import) => self.import(import, scope),
            Stmt::ImportFrom(import) => self.import_from(import, scope),
            Stmt::Assign(assign) => {
                for target in &assign.targets {
                    self.assign(target, &assign.value, scope);
                }
            }
            Stmt::AnnAssign(assign) => {
                // Without a value it binds nothing.
                if let Some(value) = &assign.value {
                    self.assign(&assign.target, value, scope);
                }
            }
            Stmt::AugAssign(assign) => {
                self.target(&assign.target, scope, "an augmented assignment");
            }
            Stmt::Delete(delete) => {
                for target in &delete.targets {
                    self.target(target, scope, "a `del` statement");
                }
            }
            Stmt::TypeAlias(alias) => {
                if let Expr::Name(target) = alias.name.as_ref() {
                    let target = Name {
                        text: target.id.to_string(),
                        span: span(file, target.range()),
                    };
                    let alias = record::alias(&self.hints, target.clone(), &alias.value);
                    self.module.types.push(alias);
                    self.bind(target, BindingKind::Type, scope);
                }
            }
            Stmt::Expr(statement) => {
                let lowered = expression::lower(file, &statement.value);
                if let ExpressionKind::Call(_) = lowered.kind {
                    self.module.calls.push((lowered, scope));
                }
            }
            _ => {}
        }
    }

    fn bind(&mut self, name: Name, kind: BindingKind, scope: Scope) {
        if matches!(scope, Scope::Module | Scope::Conditional) {
            self.module.bindings.push(Binding { name, kind, scope });
        }
    }

    fn other(&mut self, name: Name, scope: Scope, what: &'static str) {
        self.bind(name, BindingKind::Other { what }, scope);
    }

    fn assign(&mut self, target: &Expr, value: &Expr, scope: Scope) {
        let Expr::Name(word) = target else {
            return self.target(target, scope, "an unpacking");
        };
        let file = self.module.file;
        let word = Name {
            text: word.id.to_string(),
            span: span(file, word.range()),
        };
        if scope == Scope::Module && self.hints.is_alias(value) {
            let alias = record::alias(&self.hints, word.clone(), value);
            self.module.types.push(alias);
        }
        let value = expression::lower(file, value);
        self.bind(word, BindingKind::Value(value), scope);
    }

    /// Names that a target binds to something unknown, or whose value it changes.
    fn target(&mut self, target: &Expr, scope: Scope, what: &'static str) {
        match target {
            Expr::Name(word) => {
                let word = Name {
                    text: word.id.to_string(),
                    span: span(self.module.file, word.range()),
                };
                self.other(word, scope, what);
            }
            Expr::Attribute(part) => {
                self.target(&part.value, scope, "an assignment to a part of it");
            }
            Expr::Subscript(part) => {
                self.target(&part.value, scope, "an assignment to a part of it");
            }
            Expr::Starred(starred) => self.target(&starred.value, scope, what),
            Expr::List(list) => {
                for element in &list.elts {
                    self.target(element, scope, what);
                }
            }
            Expr::Tuple(tuple) => {
                for element in &tuple.elts {
                    self.target(element, scope, what);
                }
            }
            _ => {}
        }
    }

    fn pattern(&mut self, pattern: &Pattern, scope: Scope) {
        let mut words = Vec::new();
        match pattern {
            Pattern::MatchAs(part) => {
                words.extend(&part.name);
                if let Some(inner) = &part.pattern {
                    self.pattern(inner, scope);
                }
            }
            Pattern::MatchStar(part) => words.extend(&part.name),
            Pattern::MatchMapping(part) => {
                words.extend(&part.rest);
                for inner in &part.patterns {
                    self.pattern(inner, scope);
                }
            }
            Pattern::MatchSequence(part) => {
                for inner in &part.patterns {
                    self.pattern(inner, scope);
                }
            }
            Pattern::MatchOr(part) => {
                for inner in &part.patterns {
                    self.pattern(inner, scope);
                }
            }
            Pattern::MatchClass(part) => {
                for inner in &part.arguments.patterns {
                    self.pattern(inner, scope);
                }
                for keyword in &part.arguments.keywords {
                    self.pattern(&keyword.pattern, scope);
                }
            }
            _ => {}
        }
        for word in words {
            let word = name(self.module.file, word);
            self.other(word, scope, "a pattern");
        }
    }

    fn import(&mut self, import: &StmtImport, scope: Scope) {
        for alias in &import.names {
            let file = self.module.file;
            let module = alias.name.id.to_string();
            let (bound, module) = match &alias.asname {
                Some(word) => (name(file, word), module),
                None => {
                    // `import a.b` binds `a`.
                    let first = module.split('.').next().unwrap_or_default().to_owned();
                    let bound = Name {
                        text: first.clone(),
                        span: span(file, alias.range()),
                    };
                    (bound, first)
                }
            };
            let of_sdk = is_sdk(Language::Python, &module);
            self.bind(bound, BindingKind::Import { of_sdk, item: None }, scope);
        }
    }

    fn import_from(&mut self, import: &StmtImportFrom, scope: Scope) {
        let file = self.module.file;
        let dots = ".".repeat(import.level.min(64) as usize);
        let named = import
            .module
            .as_ref()
            .map_or("", |module| module.id.as_str());
        let of_sdk = is_sdk(Language::Python, &format!("{dots}{named}"));
        for alias in &import.names {
            if alias.name.id.as_str() == "*" {
                self.module.star_imports.push(StarImport {
                    of_sdk,
                    span: span(file, import.range()),
                });
                continue;
            }
            let bound = name(file, alias.asname.as_ref().unwrap_or(&alias.name));
            let kind = BindingKind::Import {
                of_sdk,
                item: Some(alias.name.id.to_string()),
            };
            self.bind(bound, kind, scope);
        }
    }

    fn function(&mut self, function: &StmtFunctionDef, scope: Scope) {
        let file = self.module.file;
        self.bind(name(file, &function.name), BindingKind::Function, scope);
        if !function.decorator_list.is_empty() {
            let parameters = function.parameters.iter_source_order();
            let declaration = FunctionDeclaration {
                name: name(file, &function.name),
                called: None,
                decorators: self.decorators(&function.decorator_list),
                parameters: parameters.map(|it| self.parameter(it)).collect(),
                result: function
                    .returns
                    .as_deref()
                    .map(|hint| self.hints.lower(hint)),
                scope,
                exported: true,
                unsupported: binding::yields(&function.body).then_some("a generator"),
            };
            self.module.functions.push(declaration);
        }
        self.block(&function.body, Scope::Function);
    }

    fn decorators(&self, decorators: &[ruff_python_ast::Decorator]) -> Vec<Expression> {
        let lower =
            |it: &ruff_python_ast::Decorator| expression::lower(self.module.file, &it.expression);
        decorators.iter().map(lower).collect()
    }

    fn parameter(&self, parameter: AnyParameterRef<'_>) -> Parameter {
        let (inner, optional, kind) = match parameter {
            AnyParameterRef::NonVariadic(parameter) => (
                &parameter.parameter,
                parameter.default.is_some(),
                ParameterKind::One,
            ),
            AnyParameterRef::Variadic(parameter) => {
                // The parser's range of the parameter does not tell `*` from `**`; its text does.
                let what = if self.hints.is_double_starred(parameter) {
                    "`**` parameters"
                } else {
                    "`*` parameters"
                };
                (parameter, true, ParameterKind::Unsupported { what })
            }
        };
        Parameter {
            name: name(self.module.file, &inner.name),
            kind,
            hint: inner
                .annotation
                .as_deref()
                .map(|hint| self.hints.lower(hint)),
            optional,
        }
    }

    fn class(&mut self, class: &StmtClassDef, scope: Scope) {
        let file = self.module.file;
        let word = name(file, &class.name);
        if scope == Scope::Module {
            self.module.types.push(record::class(&self.hints, class));
        }
        self.bind(word.clone(), BindingKind::Type, scope);
        if !class.decorator_list.is_empty() {
            let declaration = FunctionDeclaration {
                name: word,
                called: None,
                decorators: self.decorators(&class.decorator_list),
                parameters: Vec::new(),
                result: None,
                scope,
                exported: true,
                unsupported: Some("a class"),
            };
            self.module.functions.push(declaration);
        }
        self.block(&class.body, Scope::Class);
    }
}
