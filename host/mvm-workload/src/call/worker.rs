//! A sandbox in which a function is loaded, and what it is asked.

use std::time::{Duration, Instant};

use mvm_image::Progress;
use mvm_runtime::{Command, Phase, ProcessSummary, RunAccount, Runtime, Sandbox};

use super::{
    CallError, Called, Callee, Outcome,
    channel::{Answer, Channel},
};
use crate::{Build, build, hook, runner, schema};

/// What a call consists of, told as it goes.
pub(super) struct Laps {
    phases: Vec<Phase>,
    begun: Instant,
}

impl Laps {
    pub(super) fn after(phases: Vec<Phase>) -> Self {
        Self {
            phases,
            begun: Instant::now(),
        }
    }

    pub(super) fn lap(&mut self, name: &str) {
        self.phases.push(Phase {
            name: name.to_owned(),
            milliseconds: self.begun.elapsed().as_secs_f64() * 1000.0,
        });
        self.begun = Instant::now();
    }
}

/// A sandbox whose function answers, or whose module could not be loaded.
pub(super) struct Worker {
    pub(super) sandbox: Sandbox,
    channel: Channel,
    /// What the module raised, if it did.
    failed: Option<Outcome>,
    pub(super) laps: Laps,
}

impl Worker {
    /// Makes a sandbox and loads the function in it.
    pub(super) async fn make(
        runtime: &Runtime,
        build: &Build,
        callee: &Callee<'_>,
        limit: Option<Duration>,
        progress: &(dyn Progress + Sync),
    ) -> Result<Self, CallError> {
        let spec = build::spec(build, callee.app, callee.entrypoint);
        let sandbox = runtime.create(&spec, progress).await?;
        let mut laps = Laps::after(sandbox.start_phases().to_vec());
        match load(&sandbox, callee, limit, &mut laps).await {
            Ok((channel, failed)) => Ok(Self {
                sandbox,
                channel,
                failed,
                laps,
            }),
            Err(error) => Err(given_up(sandbox, error).await),
        }
    }

    /// Takes the function up in a sandbox that goes on from where one had loaded it.
    pub(super) async fn take_up(
        sandbox: Sandbox,
        callee: &Callee<'_>,
        limit: Option<Duration>,
    ) -> Result<Self, CallError> {
        let mut laps = Laps::after(sandbox.start_phases().to_vec());
        match attach(&sandbox, callee, limit).await {
            Ok(channel) => {
                laps.lap("attach to the worker");
                Ok(Self {
                    sandbox,
                    channel,
                    failed: None,
                    laps,
                })
            }
            Err(error) => Err(given_up(sandbox, error).await),
        }
    }

    /// Whether the function is there to be asked.
    pub(super) const fn is_loaded(&self) -> bool {
        self.failed.is_none()
    }

    /// Asks the function, and ends the sandbox.
    pub(super) async fn call(
        self,
        callee: &Callee<'_>,
        line: &[u8],
        limit: Option<Duration>,
    ) -> Result<Called, CallError> {
        let Self {
            sandbox,
            channel,
            failed,
            mut laps,
        } = self;
        let origin = sandbox.record().origin.clone();
        let asked = match failed {
            Some(outcome) => channel.end().await.map(|(written, run)| Asked {
                outcome,
                written,
                run,
                duration: Duration::ZERO,
            }),
            None => ask(&sandbox, channel, callee, line, limit, &mut laps).await,
        };
        let ended = sandbox.destroy().await;
        let Asked {
            outcome,
            written,
            run,
            duration,
        } = asked?;
        ended?;
        Ok(Called {
            outcome,
            written,
            run,
            duration,
            origin,
            phases: laps.phases,
        })
    }
}

/// What came of asking.
struct Asked {
    outcome: Outcome,
    written: Vec<u8>,
    run: RunAccount,
    duration: Duration,
}

/// Ends a sandbox that is of no use, and gives back why.
async fn given_up(sandbox: Sandbox, error: CallError) -> CallError {
    // Its owner's death ends it, too: the first failure is what is told.
    let _ = sandbox.destroy().await;
    error
}

async fn load(
    sandbox: &Sandbox,
    callee: &Callee<'_>,
    limit: Option<Duration>,
    laps: &mut Laps,
) -> Result<(Channel, Option<Outcome>), CallError> {
    let hooks = &callee.app.hooks;
    hook::run(sandbox, callee.app, "before_start", &hooks.before_start).await?;
    laps.lap("before_start hooks");
    let command = Command::new(arguments(callee)).standard_input(true);
    let process = sandbox.start(&command).await.map_err(CallError::Runner)?;
    let mut channel = Channel::new(process);
    let failed = match channel.answer(limit).await? {
        Answer::Ready => None,
        Answer::Failed { error } => Some(Outcome::Raised(error)),
        Answer::Returned { .. } | Answer::Raised { .. } => return Err(CallError::OutOfTurn),
    };
    laps.lap("load the module");
    if failed.is_none() {
        hook::run(sandbox, callee.app, "after_start", &hooks.after_start).await?;
        laps.lap("after_start hooks");
    }
    Ok((channel, failed))
}

async fn attach(
    sandbox: &Sandbox,
    callee: &Callee<'_>,
    limit: Option<Duration>,
) -> Result<Channel, CallError> {
    let arguments = arguments(callee);
    let is_it = |process: &ProcessSummary| process.exit.is_none() && process.arguments == arguments;
    let processes = sandbox.processes().await.map_err(CallError::Connection)?;
    let process = processes.iter().find(|process| is_it(process));
    let id = process.ok_or(CallError::NoWorker)?.id;
    let process = sandbox.attach(id, 0, 0, true).await;
    let mut channel = Channel::new(process.map_err(CallError::Connection)?);
    // What it said before is said again.
    match channel.answer(limit).await? {
        Answer::Ready => Ok(channel),
        _ => Err(CallError::OutOfTurn),
    }
}

async fn ask(
    sandbox: &Sandbox,
    mut channel: Channel,
    callee: &Callee<'_>,
    line: &[u8],
    limit: Option<Duration>,
    laps: &mut Laps,
) -> Result<Asked, CallError> {
    let asked = Instant::now();
    channel.ask(line).await?;
    let outcome = match channel.answer(limit).await? {
        Answer::Returned { value } => {
            let schema = callee.function.result_schema.as_ref();
            schema::check("the result", schema, &value).map_err(CallError::Result)?;
            Outcome::Returned(value)
        }
        Answer::Raised { error } => Outcome::Raised(error),
        Answer::Ready | Answer::Failed { .. } => return Err(CallError::OutOfTurn),
    };
    let duration = asked.elapsed();
    laps.lap("the call");
    let (written, run) = channel.end().await?;
    let hooks = &callee.app.hooks.before_stop;
    hook::run(sandbox, callee.app, "before_stop", hooks).await?;
    laps.lap("end and before_stop hooks");
    Ok(Asked {
        outcome,
        written,
        run,
        duration,
    })
}

/// The program that loads the function and waits for calls.
fn arguments(callee: &Callee<'_>) -> [String; 4] {
    let function = callee.function;
    runner::command(function.language, &callee.app.name, &function.name)
}
