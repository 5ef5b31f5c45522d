//! The rules of what can be started.

use super::{Report, app::check_environment, is_path_below, schema::is_schema};
use crate::{
    Resources,
    workload::{App, Entrypoint, FunctionEntrypoint, Language, WarmWorkers, WorkloadFlaw},
};

/// The longest name of a module or function, in bytes.
const MAX_NAME_BYTES: usize = 255;

pub(super) fn check(app: &App, at: &str, report: &mut Report) {
    report.ensure(at, !app.entrypoints.is_empty(), || {
        WorkloadFlaw::NoEntrypoints
    });
    let names = app.entrypoints.iter().map(Entrypoint::name);
    report.distinct(at, "entrypoint", names);
    match app
        .entrypoints
        .iter()
        .filter(|entrypoint| entrypoint.primary())
        .count()
    {
        0 if app.entrypoints.is_empty() => {}
        0 => report.add(at, WorkloadFlaw::NoPrimary),
        1 => {}
        _ => report.add(at, WorkloadFlaw::SeveralPrimaries),
    }
    for (index, entrypoint) in app.entrypoints.iter().enumerate() {
        let at = format!("{at}/{index}");
        let name = entrypoint.name();
        report.ensure(&format!("{at}/name"), is_entrypoint_name(name), || {
            WorkloadFlaw::Name {
                what: "an entrypoint",
                name: name.to_owned(),
            }
        });
        if let Some(directory) = entrypoint.working_directory() {
            check_directory(directory, &at, report);
        }
        check_environment(
            entrypoint.environment(),
            &format!("{at}/environment"),
            report,
        );
        match entrypoint {
            Entrypoint::Command(command) => {
                report.command(&format!("{at}/command"), &command.command);
            }
            Entrypoint::Function(function) => check_function(app, function, &at, report),
        }
    }
}

pub(super) fn check_directory(directory: &str, at: &str, report: &mut Report) {
    let absolute = directory.starts_with('/') && !directory.contains('\0');
    report.ensure(&format!("{at}/working_directory"), absolute, || {
        WorkloadFlaw::WorkingDirectory {
            path: directory.to_owned(),
        }
    });
}

fn check_function(app: &App, function: &FunctionEntrypoint, at: &str, report: &mut Report) {
    report.ensure(at, app.source.is_some(), || {
        WorkloadFlaw::FunctionWithoutSource
    });
    let module = &function.module;
    let valid = match function.language {
        Language::Python => {
            module.len() <= MAX_NAME_BYTES
                && module != "__main__"
                && module.split('.').all(is_identifier)
        }
        Language::Node | Language::Rust => is_path_below(module) && module != ".",
    };
    report.ensure(&format!("{at}/module"), valid, || WorkloadFlaw::Module {
        module: module.clone(),
    });
    let name = &function.function;
    report.ensure(&format!("{at}/function"), is_identifier(name), || {
        WorkloadFlaw::Function {
            function: name.clone(),
        }
    });
    let parameters = function.parameters.iter().map(String::as_str);
    report.distinct(&format!("{at}/parameters"), "parameter", parameters);
    for (field, what, schema) in [
        (
            "arguments_schema",
            "schema of the arguments",
            &function.arguments_schema,
        ),
        (
            "result_schema",
            "schema of the result",
            &function.result_schema,
        ),
    ] {
        let valid = schema.as_ref().is_none_or(is_schema);
        report.ensure(&format!("{at}/{field}"), valid, || WorkloadFlaw::Schema {
            what,
        });
    }
    if let Some(warm) = &function.warm {
        check_warm(warm, app.resources, &format!("{at}/warm"), report);
        let language = function.language;
        report.ensure(&format!("{at}/warm"), language != Language::Rust, || {
            WorkloadFlaw::WarmLanguage {
                language: language.as_str(),
            }
        });
    }
}

fn check_warm(warm: &WarmWorkers, resources: Resources, at: &str, report: &mut Report) {
    for (field, valid) in [
        ("pool_size", (1..=64).contains(&warm.pool_size)),
        ("max_calls_per_worker", warm.max_calls_per_worker >= 1),
        (
            "max_memory_mib",
            (1..=resources.memory_mib).contains(&warm.max_memory_mib),
        ),
    ] {
        report.ensure(&format!("{at}/{field}"), valid, || WorkloadFlaw::Warm {
            field,
        });
    }
}

/// A name that a command line and a file can hold.
fn is_entrypoint_name(text: &str) -> bool {
    is_identifier(&text.replace('-', "_"))
}

/// Letters, digits, `_` and `$`, not beginning with a digit. Letters of every script count, as they
/// do in the languages; what is no letter to Unicode is none here.
fn is_identifier(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|first: char| first.is_alphabetic() || matches!(first, '_' | '$'))
        && text
            .chars()
            .all(|character| character.is_alphanumeric() || matches!(character, '_' | '$'))
}
