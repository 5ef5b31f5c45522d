//! What expressions come to without running anything: literals, constants made of literals, and the
//! closed set of helpers. Everything else is said, with its place.

mod names;

use std::collections::{HashMap, HashSet};

use mvm_contract::workload::Language;

use crate::{
    Diagnostic, declare,
    syntax::{Call, Expression, ExpressionKind, Module, Name, Path, Span},
    value::{Value, ValueKind},
};

use names::Meaning;
pub(crate) use names::{is_sdk, snake_case};

/// The most work of one file: values made or copied, and every 16 bytes of text. It bounds time and
/// memory, for a constant may hold another one many times over.
const MAX_WORK: usize = 1_000_000;
/// The longest chain of constants that are made of each other.
const MAX_CHAIN: usize = 64;

/// Evaluates the expressions of one file.
pub(crate) struct Evaluator<'a> {
    pub(crate) module: &'a Module,
    pub(crate) report: Vec<Diagnostic>,
    /// Where each name is bound, in the order of the source.
    bindings: HashMap<&'a str, Vec<usize>>,
    /// Names whose parts something calls, such as `hosts.append("a")`.
    touched: HashMap<&'a str, Span>,
    constants: HashMap<&'a str, State>,
    /// Names that were complained about; once is enough.
    complained: HashSet<String>,
    work: usize,
    chain: usize,
}

/// How far a constant is.
enum State {
    Running,
    Known(Value),
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(module: &'a Module) -> Self {
        let mut bindings: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, binding) in module.bindings.iter().enumerate() {
            bindings.entry(&binding.name.text).or_default().push(index);
        }
        let mut touched = HashMap::new();
        for (call, _) in &module.calls {
            if let ExpressionKind::Call(call) = &call.kind
                && let [first, _, ..] = call.callee.segments.as_slice()
            {
                touched.insert(first.text.as_str(), call.callee.span);
            }
        }
        Self {
            module,
            report: Vec::new(),
            bindings,
            touched,
            constants: HashMap::new(),
            complained: HashSet::new(),
            work: 0,
            chain: 0,
        }
    }

    /// What an expression comes to.
    pub(crate) fn evaluate(&mut self, expression: &'a Expression) -> Value {
        let span = expression.span;
        if !self.spend(1, span) {
            return Value::failed(span);
        }
        let kind = match &expression.kind {
            ExpressionKind::Text(text) => {
                self.spend(text.len() / 16, span);
                ValueKind::Text(text.clone())
            }
            ExpressionKind::Integer(integer) => ValueKind::Integer(*integer),
            ExpressionKind::Number(_) => ValueKind::Number,
            ExpressionKind::Boolean(boolean) => ValueKind::Boolean(*boolean),
            ExpressionKind::Null => ValueKind::Null,
            ExpressionKind::List(elements) => {
                ValueKind::List(elements.iter().map(|it| self.evaluate(it)).collect())
            }
            ExpressionKind::Map(entries) => self.map(entries),
            ExpressionKind::Path(path) => return self.path(path),
            ExpressionKind::Call(call) => self.call(call, span),
            ExpressionKind::Joined(parts) => self.joined(parts),
            ExpressionKind::Unsupported { what } => {
                self.report.push(not_constant(what, span));
                ValueKind::Failed
            }
        };
        Value { kind, span }
    }

    /// Takes work off the budget; whether there was enough.
    fn spend(&mut self, work: usize, span: Span) -> bool {
        let before = self.work;
        self.work = before.saturating_add(work);
        if before <= MAX_WORK && self.work > MAX_WORK {
            self.report.push(
                Diagnostic::error(
                    "E_TOO_LARGE",
                    span,
                    "the file's declarations hold more than is looked at",
                )
                .hint("constants that hold each other many times over count as often"),
            );
        }
        self.work <= MAX_WORK
    }

    fn map(&mut self, entries: &'a [crate::syntax::Entry]) -> ValueKind {
        let mut values: Vec<(Name, Value)> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        for entry in entries {
            let key = self.evaluate(&entry.key);
            if matches!(key.kind, ValueKind::Failed) {
                continue;
            }
            let value = self.evaluate(&entry.value);
            let text = match key.kind {
                ValueKind::Text(text) => text,
                other => {
                    let message = format!("a key is {}, not a text", other.noun());
                    let report = Diagnostic::error("E_ARGUMENT_TYPE", key.span, message);
                    self.report.push(report);
                    continue;
                }
            };
            if let Some(first) = seen.insert(text.clone(), key.span) {
                self.report.push(
                    Diagnostic::error(
                        "E_KEY_TWICE",
                        key.span,
                        format!("key `{text}` stands twice"),
                    )
                    .label(first, "here first")
                    .hint("leave one of them out"),
                );
                continue;
            }
            let span = key.span;
            values.push((Name { text, span }, value));
        }
        ValueKind::Map(values)
    }

    fn joined(&mut self, parts: &'a [Expression]) -> ValueKind {
        let mut whole = String::new();
        let mut failed = false;
        for part in parts {
            let value = self.evaluate(part);
            match value.kind {
                ValueKind::Text(text) => {
                    failed |= !self.spend(whole.len() / 64 + text.len() / 16, part.span);
                    if !failed {
                        whole.push_str(&text);
                    }
                }
                ValueKind::Failed => failed = true,
                other if !failed => {
                    failed = true;
                    let message =
                        format!("only texts are put together, and this is {}", other.noun());
                    self.report.push(
                        Diagnostic::error("E_NOT_CONSTANT", part.span, message)
                            .hint("write the value out"),
                    );
                }
                _ => {}
            }
        }
        if failed {
            ValueKind::Failed
        } else {
            ValueKind::Text(whole)
        }
    }

    fn path(&mut self, path: &'a Path) -> Value {
        match self.meaning(path) {
            Meaning::Constant(index) => {
                let mut value = self.constant(index, path.span);
                // A flaw is shown where the value is used; a constant's parts keep their places.
                value.span = path.span;
                value
            }
            Meaning::Helper(name) => {
                let report = Diagnostic::error(
                    "E_NOT_CALLED",
                    path.span,
                    format!("helper `{name}` is not called"),
                )
                .hint(format!("write `{}(…)`", path.dotted()));
                self.report.push(report);
                Value::failed(path.span)
            }
            Meaning::Foreign(what) => {
                self.report.push(not_constant(what, path.span));
                Value::failed(path.span)
            }
            Meaning::Failed => Value::failed(path.span),
        }
    }

    fn constant(&mut self, index: usize, used: Span) -> Value {
        let module = self.module;
        let Some(binding) = module.bindings.get(index) else {
            return Value::failed(used);
        };
        let name = binding.name.text.as_str();
        let crate::syntax::BindingKind::Value(expression) = &binding.kind else {
            return Value::failed(used);
        };
        match self.constants.get(name) {
            Some(State::Known(value)) => {
                let value = value.clone();
                return if self.spend(value.size(), used) {
                    value
                } else {
                    Value::failed(used)
                };
            }
            Some(State::Running) => {
                self.report.push(
                    Diagnostic::error(
                        "E_CONSTANT_CYCLE",
                        used,
                        format!("constant `{name}` is made of itself"),
                    )
                    .label(binding.name.span, "declared here"),
                );
                return Value::failed(used);
            }
            None => {}
        }
        if self.chain >= MAX_CHAIN {
            let message = format!("more than {MAX_CHAIN} constants are made of each other");
            self.report
                .push(Diagnostic::error("E_TOO_DEEP", used, message));
            return Value::failed(used);
        }
        self.constants.insert(name, State::Running);
        self.chain += 1;
        let value = self.evaluate(expression);
        self.chain -= 1;
        let is_changeable = matches!(value.kind, ValueKind::List(_) | ValueKind::Map(_));
        let value = match self.touched.get(name) {
            Some(touched) if is_changeable => {
                self.report.push(
                    Diagnostic::error(
                        "E_REASSIGNED",
                        used,
                        format!("the value of `{name}` changes when the file runs"),
                    )
                    .label(*touched, "changed here")
                    .hint("write the whole value where the constant is declared"),
                );
                Value::failed(used)
            }
            _ => value,
        };
        self.constants.insert(name, State::Known(value.clone()));
        value
    }

    fn call(&mut self, call: &'a Call, span: Span) -> ValueKind {
        let meaning = if self.is_bound(&call.callee) {
            self.meaning(&call.callee)
        } else {
            Meaning::Foreign("a name")
        };
        let helper = match meaning {
            Meaning::Helper(name) => name,
            Meaning::Failed => return ValueKind::Failed,
            Meaning::Constant(_) | Meaning::Foreign(_) => {
                self.report.push(
                    Diagnostic::error(
                        "E_NOT_CONSTANT",
                        span,
                        format!(
                            "`{}` is called, whose result is not known before the file runs",
                            call.callee.dotted()
                        ),
                    )
                    .hint("only the helpers of mvm are called when a declaration is read"),
                );
                return ValueKind::Failed;
            }
        };
        match declare::helper_named(&helper) {
            Ok(helper) => {
                let mut arguments = self.arguments(helper.name, helper.takes, call, span);
                let mut piece = (helper.make)(&mut arguments);
                if !arguments.is_bound {
                    // What is missing may be what has a name that is not taken.
                    piece = None;
                    arguments
                        .report
                        .retain(|report| report.code != "E_ARGUMENT_MISSING");
                }
                self.report.append(&mut arguments.report);
                piece.map_or(ValueKind::Failed, |piece| ValueKind::Piece(Box::new(piece)))
            }
            Err(report) => {
                self.report.push(report.at(call.callee.span));
                ValueKind::Failed
            }
        }
    }

    /// The arguments of a call, each under its name.
    pub(crate) fn arguments(
        &mut self,
        helper: &'static str,
        takes: declare::Takes,
        call: &'a Call,
        span: Span,
    ) -> declare::Arguments {
        let mut given = Vec::new();
        for argument in &call.arguments {
            let value = self.evaluate(&argument.value);
            given.push((argument.name.clone(), value));
        }
        let language = self.module.language;
        let mut arguments = declare::Arguments::new(helper, span, language);
        arguments.bind(takes, given);
        arguments
    }

    pub(crate) fn language(&self) -> Language {
        self.module.language
    }
}

fn not_constant(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E_NOT_CONSTANT",
        span,
        format!("{what} has no value before the file runs"),
    )
    .hint("use a literal, a constant made of literals, or a helper of mvm")
}
