//! Which function is meant.

use mvm_contract::workload::{App, Entrypoint, FunctionEntrypoint, Workload};

use super::CallError;

/// A function of an app.
#[derive(Debug, Clone, Copy)]
pub struct Callee<'a> {
    /// The app.
    pub app: &'a App,
    /// The entrypoint that the function is.
    pub entrypoint: &'a Entrypoint,
    /// The function.
    pub function: &'a FunctionEntrypoint,
}

/// Finds a function by its name, or by that of its entrypoint; without one, the primary function.
/// Without an app, it is looked for in all of them, and must be in one only.
///
/// # Errors
///
/// [`CallError::NoApp`], [`CallError::NoFunction`] and [`CallError::SeveralFunctions`].
pub fn find<'a>(
    workload: &'a Workload,
    app: Option<&str>,
    function: Option<&str>,
) -> Result<Callee<'a>, CallError> {
    let apps: Vec<&App> = match app {
        None => workload.apps.iter().collect(),
        Some(name) => vec![workload.app(name).ok_or_else(|| CallError::NoApp {
            workload: workload.id.clone(),
            name: name.to_owned(),
            there: workload.apps.iter().map(|app| app.name.clone()).collect(),
        })?],
    };
    let is_meant = |callee: &Callee<'_>| match function {
        None => callee.function.primary,
        Some(name) => callee.function.name == name || callee.function.function == name,
    };
    let mut meant = apps.iter().copied().flat_map(functions).filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(callee), None) => Ok(callee),
        (None, _) => Err(CallError::NoFunction {
            name: function.unwrap_or("primary").to_owned(),
            there: names(&apps),
        }),
        (Some(_), Some(_)) => Err(CallError::SeveralFunctions {
            name: function.unwrap_or("primary").to_owned(),
            there: names(&apps),
        }),
    }
}

fn functions(app: &App) -> impl Iterator<Item = Callee<'_>> {
    app.entrypoints
        .iter()
        .filter_map(move |entrypoint| match entrypoint {
            Entrypoint::Function(function) => Some(Callee {
                app,
                entrypoint,
                function,
            }),
            Entrypoint::Command(_) => None,
        })
}

/// The functions of apps as `mvmctl invoke` takes them.
fn names(apps: &[&App]) -> Vec<String> {
    let named = |callee: Callee<'_>| format!("{}.{}", callee.app.name, callee.function.name);
    apps.iter()
        .copied()
        .flat_map(functions)
        .map(named)
        .collect()
}
