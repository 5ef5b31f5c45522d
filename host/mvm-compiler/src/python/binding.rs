//! What binds names of the top level from inside of expressions and functions, and what a function's
//! body says of it.

use ruff_python_ast::{
    Expr, Stmt,
    visitor::{Visitor, walk_expr, walk_stmt},
};
use ruff_text_size::Ranged;

use super::{name, span};
use crate::syntax::{Binding, BindingKind, FileId, Name, Scope};

/// Names bound by `:=` outside of functions, and names that functions say to be `global`.
pub(super) fn hidden(file: FileId, body: &[Stmt]) -> Vec<Binding> {
    let mut search = Search {
        file,
        functions: 0,
        found: Vec::new(),
    };
    for statement in body {
        search.visit_stmt(statement);
    }
    search.found
}

struct Search {
    file: FileId,
    functions: usize,
    found: Vec<Binding>,
}

impl Search {
    fn add(&mut self, name: Name, what: &'static str) {
        self.found.push(Binding {
            name,
            kind: BindingKind::Other { what },
            scope: Scope::Conditional,
        });
    }
}

impl<'a> Visitor<'a> for Search {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => {
                self.functions += 1;
                walk_stmt(self, statement);
                self.functions -= 1;
            }
            Stmt::Global(global) if self.functions > 0 => {
                for word in &global.names {
                    self.add(name(self.file, word), "a `global` statement");
                }
            }
            _ => walk_stmt(self, statement),
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Named(named) => {
                if let (0, Expr::Name(target)) = (self.functions, named.target.as_ref()) {
                    let name = Name {
                        text: target.id.to_string(),
                        span: span(self.file, target.range()),
                    };
                    self.add(name, "an assignment in an expression");
                }
                walk_expr(self, expression);
            }
            Expr::Lambda(_) => {
                self.functions += 1;
                walk_expr(self, expression);
                self.functions -= 1;
            }
            _ => walk_expr(self, expression),
        }
    }
}

/// Whether a function's body yields, so that the function is a generator.
pub(super) fn yields(body: &[Stmt]) -> bool {
    let mut search = Yields(false);
    for statement in body {
        search.visit_stmt(statement);
    }
    search.0
}

struct Yields(bool);

impl<'a> Visitor<'a> for Yields {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if !matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_)) {
            walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Yield(_) | Expr::YieldFrom(_) => self.0 = true,
            Expr::Lambda(_) => {}
            _ => walk_expr(self, expression),
        }
    }
}
