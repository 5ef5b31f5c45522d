//! Calling a function: its arguments as JSON into a microVM of its own, its result out of it.
//!
//! The guest's word is believed in nothing but what the function gave: its size is bounded, its
//! form is checked, and its schema too.

mod callee;
mod channel;
mod error;

use std::time::{Duration, Instant};

use mvm_contract::workload::{App, FunctionEntrypoint};
use mvm_image::Progress;
use mvm_runtime::{Command, Phase, RunAccount, Runtime, Sandbox, StartOrigin};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use callee::{Callee, find};
pub use error::CallError;

use crate::{
    Build, build, hook, runner,
    schema::{self, SchemaMismatch},
};
use channel::{Answer, Channel};

/// What a function is called with.
#[derive(Debug, Clone, PartialEq)]
pub enum Arguments {
    /// By their names.
    Named(Map<String, Value>),
    /// In the order of its parameters.
    Positional(Vec<Value>),
}

/// How a function is called.
#[derive(Clone, Copy)]
pub struct CallOptions<'a> {
    /// The call fails when it has not answered so long after it was asked.
    pub timeout: Option<Duration>,
    /// Who is told how far the start is.
    pub progress: &'a (dyn Progress + Sync),
}

/// What became of a call.
#[derive(Debug)]
pub struct Called {
    /// What the function did.
    pub outcome: Outcome,
    /// What it wrote to standard output and error, up to 16 MiB.
    pub written: Vec<u8>,
    /// What is kept of the run.
    pub run: RunAccount,
    /// From the request to the answer.
    pub duration: Duration,
    /// Where its sandbox came from.
    pub origin: StartOrigin,
    /// What the start consisted of, and the call.
    pub phases: Vec<Phase>,
}

/// What a function did.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It returned this.
    Returned(Value),
    /// It raised this.
    Raised(Raised),
}

/// An exception of the guest, in its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// The exception's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    pub message: String,
    /// Where it was raised, as the language tells it.
    #[serde(default)]
    pub traceback: String,
}

/// Calls a function of a built app in a sandbox of its own, which is gone afterwards.
///
/// # Errors
///
/// [`CallError`]: what was asked does not fit, the sandbox or a hook failed, or the guest did not
/// answer as it must. An exception of the function is an [`Outcome`].
pub async fn call(
    runtime: &Runtime,
    build: &Build,
    callee: &Callee<'_>,
    arguments: Arguments,
    options: &CallOptions<'_>,
) -> Result<Called, CallError> {
    let Callee {
        app,
        entrypoint,
        function,
    } = *callee;
    let arguments = Value::Object(named(function, arguments)?);
    schema::check(
        "the arguments",
        function.arguments_schema.as_ref(),
        &arguments,
    )?;
    let mut line = serde_json::to_vec(&serde_json::json!({ "arguments": arguments }))
        .map_err(|error| CallError::Arguments(error.into()))?;
    line.push(b'\n');
    if line.len() > runner::MOST_MESSAGE_BYTES {
        return Err(CallError::TooLarge { bytes: line.len() });
    }

    let spec = build::spec(build, app, entrypoint);
    let sandbox = runtime.create(&spec, options.progress).await?;
    let mut phases = sandbox.start_phases().to_vec();
    let origin = sandbox.record().origin.clone();
    let called = in_sandbox(&sandbox, app, function, &line, options.timeout, &mut phases).await;
    let ended = sandbox.destroy().await;
    let (outcome, written, run, duration) = called?;
    ended?;
    Ok(Called {
        outcome,
        written,
        run,
        duration,
        origin,
        phases,
    })
}

async fn in_sandbox(
    sandbox: &Sandbox,
    app: &App,
    function: &FunctionEntrypoint,
    line: &[u8],
    timeout: Option<Duration>,
    phases: &mut Vec<Phase>,
) -> Result<(Outcome, Vec<u8>, RunAccount, Duration), CallError> {
    let mut begun = Instant::now();
    let mut lap = |name: &str| {
        let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
        phases.push(Phase {
            name: name.to_owned(),
            milliseconds,
        });
        begun = Instant::now();
    };
    hook::run(sandbox, app, "before_start", &app.hooks.before_start).await?;
    lap("before_start hooks");
    let command = Command::new(runner::command(
        function.language,
        &app.name,
        &function.name,
    ))
    .standard_input(true);
    let process = sandbox.start(&command).await.map_err(CallError::Runner)?;
    let mut channel = Channel::new(process)?;
    match channel.answer(timeout).await? {
        Answer::Ready => {}
        Answer::Failed { error } => {
            let (written, run) = channel.end().await?;
            return Ok((Outcome::Raised(error), written, run, Duration::ZERO));
        }
        Answer::Returned { .. } | Answer::Raised { .. } => return Err(CallError::OutOfTurn),
    }
    lap("load the module");
    hook::run(sandbox, app, "after_start", &app.hooks.after_start).await?;
    let asked = Instant::now();
    channel.ask(line).await?;
    let outcome = match channel.answer(timeout).await? {
        Answer::Returned { value } => {
            schema::check("the result", function.result_schema.as_ref(), &value)
                .map_err(CallError::Result)?;
            Outcome::Returned(value)
        }
        Answer::Raised { error } => Outcome::Raised(error),
        Answer::Ready | Answer::Failed { .. } => return Err(CallError::OutOfTurn),
    };
    let duration = asked.elapsed();
    lap("the call");
    let (written, run) = channel.end().await?;
    hook::run(sandbox, app, "before_stop", &app.hooks.before_stop).await?;
    lap("end and before_stop hooks");
    Ok((outcome, written, run, duration))
}

/// Arguments by their names.
fn named(
    function: &FunctionEntrypoint,
    arguments: Arguments,
) -> Result<Map<String, Value>, SchemaMismatch> {
    let mismatch = |flaw: String| SchemaMismatch {
        what: "the arguments",
        at: String::new(),
        flaw,
    };
    match arguments {
        Arguments::Named(named) => Ok(named),
        Arguments::Positional(values) if values.len() > function.parameters.len() => {
            let (given, takes) = (values.len(), function.parameters.len());
            Err(mismatch(format!("{given} are given, and it takes {takes}")))
        }
        Arguments::Positional(values) => {
            Ok(function.parameters.iter().cloned().zip(values).collect())
        }
    }
}
