//! What files declare, put together: one workload with its apps.

mod app;
mod draft;
mod function;
mod name;

use mvm_contract::workload::Volume;

use crate::{
    Diagnostic,
    declare::{self, Takes},
    evaluate::Evaluator,
    schema::Schemas,
    syntax::{
        BindingKind, Call, Expression, ExpressionKind, FunctionDeclaration, Module, Scope, Span,
    },
    value::{Placed, Places, ValueKind},
};

pub(crate) use draft::Finished;
pub use name::name_from;

use draft::{Draft, DraftEntrypoint};

/// What `workload` takes.
const WORKLOAD: Takes = Takes {
    positional: &["id"],
    named: &["volumes"],
};

/// What was declared so far.
#[derive(Default)]
pub(crate) struct Collection {
    drafts: Vec<Draft>,
    volumes: Vec<Placed<Volume>>,
    /// The identifier, and where it was declared.
    workload: Option<(String, Span)>,
    report: Vec<Diagnostic>,
}

/// A file while it is collected.
struct File<'a> {
    /// The file's name without its directory.
    name: &'a str,
    evaluator: Evaluator<'a>,
    schemas: Schemas<'a>,
}

/// Something that declares.
enum Declaration<'a> {
    Function(&'a FunctionDeclaration),
    Call(&'a Expression, Scope),
}

impl Collection {
    /// Adds what a file declares. `name` is the file's, without its directory.
    pub(crate) fn add(&mut self, name: &str, module: &Module) {
        let mut file = File {
            name,
            evaluator: Evaluator::new(module),
            schemas: Schemas::new(module),
        };
        for star in &module.star_imports {
            if star.of_sdk {
                self.report.push(
                    Diagnostic::error(
                        "E_STAR_IMPORT",
                        star.span,
                        "an import of everything does not say which names are mvm's",
                    )
                    .hint("import the names one by one, or the module"),
                );
            }
        }
        let mut found: Vec<(u32, Declaration<'_>)> = Vec::new();
        // Declarations that decorate by the name of a constant stand nowhere alone.
        let mut used = Vec::new();
        for function in &module.functions {
            for decorator in &function.decorators {
                if let ExpressionKind::Path(path) = &decorator.kind
                    && let [name] = path.segments.as_slice()
                {
                    used.push(name.text.as_str());
                }
            }
            found.push((function.name.span.start, Declaration::Function(function)));
        }
        for (call, scope) in &module.calls {
            found.push((call.span.start, Declaration::Call(call, *scope)));
        }
        for binding in &module.bindings {
            if let BindingKind::Value(value) = &binding.kind
                && let ExpressionKind::Call(_) = value.kind
                && !used.contains(&binding.name.text.as_str())
            {
                found.push((value.span.start, Declaration::Call(value, binding.scope)));
            }
        }
        found.sort_by_key(|(start, _)| *start);
        for (_, declaration) in found {
            match declaration {
                Declaration::Function(function) => self.function(&mut file, function),
                Declaration::Call(call, scope) => self.stand_alone(&mut file, call, scope),
            }
        }
        self.report.append(&mut file.evaluator.report);
    }

    /// A call that stands alone, or whose result is a constant.
    fn stand_alone<'a>(&mut self, file: &mut File<'a>, expression: &'a Expression, scope: Scope) {
        let ExpressionKind::Call(call) = &expression.kind else {
            return;
        };
        let Some(helper) = file.evaluator.helper(&call.callee) else {
            return;
        };
        if declare::is_pointless(&helper) {
            let message = format!("`{helper}` does nothing here");
            self.report.push(
                Diagnostic::note("N_PASSED_OVER", expression.span, message)
                    .hint("run `mvmctl compile` on the file"),
            );
            return;
        }
        if scope != Scope::Module {
            let message = format!("whether `{helper}` is called is not known before the file runs");
            self.report.push(
                Diagnostic::error("E_CONDITIONAL", expression.span, message)
                    .hint("declare it at the top level"),
            );
            return;
        }
        match helper.as_str() {
            "workload" => self.workload(file, call, expression.span),
            "app" => app::stand_alone(self, file, call, expression.span),
            "func" => self.report.push(
                Diagnostic::error(
                    "E_NOTHING_DECORATED",
                    expression.span,
                    "`func` decorates no function",
                )
                .hint("put it right above a function"),
            ),
            // A constant is evaluated where it is used, and once for its flaws.
            _ => {
                let value = file.evaluator.evaluate(expression);
                let is_bound = file.evaluator.module.calls.iter();
                let stands_alone = is_bound
                    .into_iter()
                    .any(|(call, _)| std::ptr::eq(call, expression));
                if stands_alone && !matches!(value.kind, ValueKind::Failed) {
                    let message = format!("what `{helper}` gives is not used");
                    self.report.push(
                        Diagnostic::error("E_UNUSED", expression.span, message)
                            .hint("give it to an app, or remove it"),
                    );
                }
            }
        }
    }

    fn workload<'a>(&mut self, file: &mut File<'a>, call: &'a Call, span: Span) {
        let mut arguments = file.evaluator.arguments("workload", WORKLOAD, call, span);
        let id = arguments.require_text("id");
        if let Some(value) = arguments.take("volumes") {
            if let ValueKind::List(values) = value.kind {
                for value in values {
                    let volume = declare::volume_of(&mut arguments, value);
                    self.volumes.extend(volume);
                }
            } else {
                arguments.mistyped("volumes", &value, "a list of volumes");
            }
        }
        self.report.append(&mut arguments.report);
        let Some(id) = id else {
            return;
        };
        if let Some((_, first)) = &self.workload {
            self.report.push(
                Diagnostic::error("E_WORKLOAD_TWICE", span, "`workload` is called twice")
                    .label(*first, "here first")
                    .hint("one compilation has one workload: leave one of them out"),
            );
            return;
        }
        self.workload = Some((id.text, span));
    }

    /// A function and what decorates it.
    fn function<'a>(&mut self, file: &mut File<'a>, function: &'a FunctionDeclaration) {
        let module = file.evaluator.module;
        let mut ours: Option<Span> = None;
        for decorator in &function.decorators {
            let mut expression = decorator;
            // `@shared`, where `shared = mvm.app(…)`.
            if let ExpressionKind::Path(path) = &decorator.kind
                && let [name] = path.segments.as_slice()
            {
                let mut bindings = module.bindings.iter();
                let bound = bindings.find_map(|binding| match &binding.kind {
                    BindingKind::Value(value) if binding.name.text == name.text => Some(value),
                    _ => None,
                });
                expression = bound.unwrap_or(decorator);
            }
            let (callee, call) = match &expression.kind {
                ExpressionKind::Path(path) => (path, None),
                ExpressionKind::Call(call) => (&call.callee, Some(call.as_ref())),
                _ => continue,
            };
            let Some(helper) = file.evaluator.helper(callee) else {
                continue;
            };
            if helper != "app" && helper != "func" {
                let hint = "decorate it with `app` or `func`";
                self.report.push(match declare::helper_named(&helper) {
                    Err(missing) => missing.at(decorator.span),
                    Ok(_) => Diagnostic::error(
                        "E_NOT_A_DECORATOR",
                        decorator.span,
                        format!("`{helper}` decorates no function"),
                    )
                    .hint(hint),
                });
                continue;
            }
            if let Some(first) = ours {
                self.report.push(
                    Diagnostic::error(
                        "E_DECORATED_TWICE",
                        decorator.span,
                        format!("`{}` is declared twice", function.name.text),
                    )
                    .label(first, "here first")
                    .hint("leave one of them out"),
                );
                continue;
            }
            ours = Some(decorator.span);
            app::decorated(self, file, function, &helper, call, decorator.span);
        }
    }

    /// Adds a volume that an app's mount declares.
    fn add_volume(&mut self, volume: Volume, places: Places) {
        let same = |it: &&Placed<Volume>| it.part == volume;
        if self.volumes.iter().find(same).is_none() {
            self.volumes.push(Placed::new(volume, places));
        }
    }
}
