//! Hooks, health and restarts.

use mvm_contract::workload::{HealthCheck, Hook, HookCommand, Restart};

use super::{Arguments, environment, image::choice};
use crate::value::{Piece, Placed, Places, Value, ValueKind};

pub(super) fn hook(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let value = arguments.require("run")?;
    let run = command_of(arguments, "run", value)?;
    let mut hook = Hook::of(run);
    if let Some(seconds) = arguments.integer("timeout_seconds") {
        hook.timeout_seconds = seconds;
    }
    hook.working_directory = arguments.text("working_directory").map(|it| it.text);
    let environment = environment::variables(arguments, "environment");
    let mut places = arguments.places();
    places.graft("/environment", environment.places);
    hook.environment = environment.part;
    Some(Placed::new(Piece::Hook(hook), places))
}

/// A text is a line for the shell, a list of texts a program with its arguments.
fn command_of(arguments: &mut Arguments, name: &str, value: Value) -> Option<HookCommand> {
    match value.kind {
        ValueKind::Text(line) => Some(HookCommand::Shell { line }),
        _ => {
            let command = arguments.texts_of(name, value)?;
            Some(HookCommand::Command { command })
        }
    }
}

/// The hooks of an argument: a line, a program with its arguments, `hook(…)`, or a list of these.
/// A list of texts only is one program with its arguments.
pub(crate) fn hooks_of(arguments: &mut Arguments, name: &str) -> Placed<Vec<Hook>> {
    let mut hooks = Placed::<Vec<Hook>>::default();
    let Some(value) = arguments.take(name) else {
        return hooks;
    };
    hooks.places = Places::NONE.with("", value.span);
    let span = value.span;
    let several = match value.kind {
        ValueKind::List(values)
            if values
                .iter()
                .any(|it| !matches!(it.kind, ValueKind::Text(_))) =>
        {
            values
        }
        ValueKind::List(values) if values.is_empty() => return hooks,
        kind => vec![Value { kind, span }],
    };
    for value in several {
        let span = value.span;
        let hook = match value.kind {
            ValueKind::Text(_) | ValueKind::List(_) => command_of(arguments, name, value)
                .map(|run| Placed::new(Hook::of(run), Places::NONE.with("", span))),
            _ => arguments.piece_of(name, value, "a hook", |piece| match piece {
                Piece::Hook(hook) => Some(hook),
                _ => None,
            }),
        };
        if let Some(hook) = hook {
            let at = format!("/{}", hooks.part.len());
            hooks.places.graft(&at, hook.places);
            hooks.part.push(hook.part);
        }
    }
    hooks
}

pub(super) fn health_check(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let command = arguments.require_texts("command")?;
    let mut check = HealthCheck::of(command);
    if let Some(seconds) = arguments.integer("interval_seconds") {
        check.interval_seconds = seconds;
    }
    if let Some(seconds) = arguments.integer("timeout_seconds") {
        check.timeout_seconds = seconds;
    }
    if let Some(retries) = arguments.integer("retries") {
        check.retries = retries;
    }
    if let Some(seconds) = arguments.integer("start_period_seconds") {
        check.start_period_seconds = seconds;
    }
    Some(Placed::new(Piece::HealthCheck(check), arguments.places()))
}

const POLICIES: [(&str, Restart); 4] = [
    ("never", Restart::Never),
    ("on-failure", Restart::OnFailure),
    ("on_failure", Restart::OnFailure),
    ("always", Restart::Always),
];

pub(super) fn restart(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let policy = choice(arguments, "policy", &POLICIES, Restart::Never)?;
    Some(Placed::new(Piece::Restart(policy), arguments.places()))
}

/// The policy of an argument: a word, or what `restart` gives.
pub(crate) fn restart_of(arguments: &mut Arguments) -> Option<Restart> {
    let value = arguments.take("restart")?;
    if !matches!(value.kind, ValueKind::Text(_)) {
        let policy =
            arguments.piece_of("restart", value, "a restart policy", |piece| match piece {
                Piece::Restart(policy) => Some(policy),
                _ => None,
            });
        return policy.map(|policy| policy.part);
    }
    let word = arguments.text_of("restart", value)?;
    let found = POLICIES.iter().find(|(it, _)| *it == word.text);
    if found.is_none() {
        let message = format!(
            "`restart` of `{}` cannot be `{}`",
            arguments.helper, word.text
        );
        arguments.refuse(
            crate::Diagnostic::error("E_ARGUMENT_CHOICE", word.span, message)
                .hint("use `never`, `on-failure` or `always`"),
        );
    }
    found.map(|(_, policy)| *policy)
}
