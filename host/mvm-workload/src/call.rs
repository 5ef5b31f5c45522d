//! Calling a function: its arguments as JSON into a microVM of its own, its result out of it.
//!
//! The guest's word is believed in nothing but what the function gave: its size is bounded, its
//! form is checked, and its schema too.

mod callee;
mod channel;
mod error;
mod warm;
mod worker;

use std::time::Duration;

use mvm_contract::workload::FunctionEntrypoint;
use mvm_image::Progress;
use mvm_runtime::{Phase, RunAccount, Runtime, StartOrigin};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use callee::{Callee, find};
pub use error::CallError;

use crate::{
    Build, runner,
    schema::{self, SchemaMismatch},
};
use worker::Worker;

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
    let function = callee.function;
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

    let limit = options.timeout;
    let Some(warm) = function.warm else {
        let worker = Worker::make(runtime, build, callee, limit, options.progress).await?;
        return worker.call(callee, &line, limit).await;
    };
    let warm::WarmWorker { worker, place } =
        warm::worker(runtime, build, callee, warm, options).await?;
    let called = worker.call(callee, &line, limit).await;
    drop(place);
    called
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
