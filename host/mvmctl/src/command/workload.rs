//! `mvmctl init`, `build` and `invoke`.

use std::path::Path;

use mvm_contract::workload::App;
use mvm_workload::{Arguments, BuildOptions, CallError, CallOptions, Called, Declaration, Outcome};
use serde_json::{Value, json};

use super::{Context, read, trace};
use crate::{
    arguments::{Build, Init, Invoke},
    failure::Failure,
    output,
    progress::{Display, START_PATIENCE, WORK_PATIENCE},
    table,
};

/// Of a call whose function raised.
const RAISED: u8 = 1;

pub(super) fn init(options: &Init, json: bool, quiet: bool) -> Result<u8, Failure> {
    let directory = &options.directory;
    let made = mvm_workload::init(directory, options.template.into(), options.name.as_deref())?;
    if json {
        output::json(&made)?;
        return Ok(0);
    }
    for name in &made.files {
        output::data(directory.join(name).display())?;
    }
    if !quiet {
        let (workload, readme) = (made.workload, directory.join("README.md"));
        output::talk(format_args!(
            "workload `{workload}`; what to run is in `{}`",
            readme.display()
        ));
    }
    Ok(0)
}

pub(super) async fn build(context: &Context, options: &Build) -> Result<u8, Failure> {
    let declaration = mvm_workload::load(&options.path)?;
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let options_of_build = BuildOptions {
        declared_in: &declaration.declared_in,
        progress: &display,
    };
    let apps: Vec<&App> = match &options.app {
        Some(name) => {
            let app = declaration.workload.app(name);
            vec![app.ok_or_else(|| no_app(&declaration, name))?]
        }
        None => declaration.workload.apps.iter().collect(),
    };
    let mut built = Vec::new();
    for app in apps {
        let workload = &declaration.workload;
        let build = mvm_workload::build(&context.runtime, workload, app, &options_of_build);
        built.push(build.await?);
    }
    if context.json {
        output::json(&built)?;
        return Ok(0);
    }
    let rows: Vec<_> = built
        .into_iter()
        .map(|build| {
            let made = if build.reused { "found" } else { "built" };
            [
                build.app,
                made.to_owned(),
                build.image_digest.to_string(),
                build.image,
            ]
        })
        .collect();
    table::print(["APP", "", "IMAGE DIGEST", "IMAGE"], &rows)?;
    Ok(0)
}

pub(super) async fn invoke(context: &Context, options: &Invoke) -> Result<u8, Failure> {
    let arguments = arguments(&options.arguments)?;
    let (app, function) = match options.target.split_once('.') {
        Some((app, function)) => (app, Some(function)),
        None => (options.target.as_str(), None),
    };
    let display = Display::new(context.quiet, START_PATIENCE);
    let options_of_call = CallOptions {
        timeout: options.timeout,
        progress: &display,
    };
    let called = mvm_workload::invoke(
        &context.runtime,
        &options.from,
        Some(app),
        function,
        arguments,
        &options_of_call,
    )
    .await?;
    if options.trace {
        trace(&called.phases);
    }
    report(context, called)
}

/// Prints what a function gave, as it would be if it had run here.
fn report(context: &Context, called: Called) -> Result<u8, Failure> {
    output::talk_bytes(&called.written);
    let exit_code = match &called.outcome {
        Outcome::Returned(_) => 0,
        Outcome::Raised(_) => RAISED,
    };
    if context.json {
        let (outcome, key, value) = match called.outcome {
            Outcome::Returned(value) => ("returned", "value", value),
            Outcome::Raised(raised) => ("raised", "error", json!(raised)),
        };
        output::json(&json!({
            "outcome": outcome,
            key: value,
            "duration_ms": called.duration.as_secs_f64() * 1000.0,
            "run_id": called.run.run_id,
            "audit_id": called.run.audit_id.as_ref().ok(),
            "phases": called.phases,
        }))?;
        return Ok(exit_code);
    }
    match called.outcome {
        Outcome::Returned(value) => output::json(&value)?,
        Outcome::Raised(raised) => {
            let text = output::printable_lines(&raised.traceback);
            let what = output::printable(&format!("{}: {}", raised.kind, raised.message));
            output::talk(format_args!("{}", text.trim_end()));
            output::talk(format_args!("error: the function raised {what}"));
        }
    }
    Ok(exit_code)
}

fn no_app(declaration: &Declaration, name: &str) -> Failure {
    CallError::NoApp {
        workload: declaration.workload.id.clone(),
        name: name.to_owned(),
        there: declaration
            .workload
            .apps
            .iter()
            .map(|app| app.name.clone())
            .collect(),
    }
    .into()
}

fn arguments(text: &str) -> Result<Arguments, Failure> {
    let text = if text == "-" {
        String::from_utf8_lossy(&read(Path::new("-"))?).into_owned()
    } else {
        text.to_owned()
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(named)) => Ok(Arguments::Named(named)),
        Ok(Value::Array(positional)) => Ok(Arguments::Positional(positional)),
        _ => Err(Failure::invalid(
            "the arguments are neither a JSON object nor a JSON array",
            "give `{\"name\": value}`, or `[value]` in the order of the parameters",
        )),
    }
}
