//! The life of one app: wait, start, watch, and start again.

use std::{sync::Arc, time::Duration};

use mvm_contract::{
    Coded as _,
    workload::{App, Entrypoint, HealthCheck, Restart},
};
use mvm_image::Silent;
use mvm_runtime::{Command, Process, ProcessEvent, Runtime, Sandbox, causes};
use tokio::{sync::watch, time::Instant};

use super::state::{AppStatus, Health, Keeping};
use crate::{Build, build, hook};

/// Before the first restart; each that follows waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No restart waits longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Whoever ran so long is started again as if for the first time.
const STEADY: Duration = Duration::from_secs(60);
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
const SIGTERM: u8 = 15;
const SIGKILL: u8 = 9;

pub(super) struct Life {
    pub(super) runtime: Runtime,
    pub(super) app: App,
    pub(super) build: Build,
    pub(super) keeping: Arc<Keeping>,
    pub(super) ending: watch::Receiver<bool>,
}

/// How one run of an app ended.
enum End {
    /// The keeper ends.
    Asked,
    /// Its command ended.
    Exited(u8),
    /// It never answered its health check.
    Unhealthy,
    /// It could not be started, or its sandbox is gone.
    Failed(String),
}

impl Life {
    pub(super) async fn live(mut self) {
        let mut ending = self.ending.clone();
        let keeping = Arc::clone(&self.keeping);
        tokio::select! {
            () = keeping.ready(&self.app.depends_on) => {}
            _ = ending.wait_for(|ending| *ending) => {
                return self.settle(AppStatus::Ended, None);
            }
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let end = self.run().await;
            let (is_failure, reason) = match &end {
                End::Asked => return self.settle(AppStatus::Ended, None),
                End::Exited(code) => {
                    keeping.change(&self.app.name, |state| state.exit_code = Some(*code));
                    (
                        *code != 0,
                        (*code != 0).then(|| format!("its command ended with {code}")),
                    )
                }
                End::Unhealthy => (true, Some("its health check failed".to_owned())),
                End::Failed(reason) => (true, Some(reason.clone())),
            };
            let again = match self.app.restart {
                Restart::Never => false,
                Restart::OnFailure => is_failure,
                Restart::Always => true,
            };
            if !again {
                let status = if is_failure {
                    AppStatus::Failed
                } else {
                    AppStatus::Ended
                };
                return self.settle(status, reason);
            }
            if begun.elapsed() >= STEADY {
                pause = FIRST_PAUSE;
            }
            self.settle(AppStatus::Restarting, reason);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = ending.wait_for(|ending| *ending) => {
                    return self.settle(AppStatus::Ended, None);
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            keeping.change(&self.app.name, |state| state.restarts += 1);
        }
    }

    fn settle(&self, status: AppStatus, reason: Option<String>) {
        self.keeping.change(&self.app.name, |state| {
            state.status = status;
            state.sandbox = None;
            state.health = Health::Unknown;
            state.reason = reason;
        });
    }

    /// One run, from a new sandbox to its end.
    async fn run(&mut self) -> End {
        let Some(entrypoint @ Entrypoint::Command(declared)) = self.app.primary() else {
            return End::Failed("it has no command".to_owned());
        };
        let spec = build::spec(&self.build, &self.app, entrypoint);
        let command = Command::new(&declared.command);
        let name = self.app.name.clone();
        self.keeping.change(&name, |state| {
            state.status = AppStatus::Starting;
            state.reason = None;
        });
        let sandbox = match self.runtime.create(&spec, &Silent).await {
            Ok(sandbox) => sandbox,
            Err(error) => return End::Failed(causes(&error).join(": ")),
        };
        let id = sandbox.id().to_string();
        self.keeping.change(&name, |state| state.sandbox = Some(id));
        let end = self.run_in(&sandbox, &command).await;
        // What is left of it is cleared by the next `mvmctl list`.
        let _ = sandbox.destroy().await;
        end
    }

    async fn run_in(&mut self, sandbox: &Sandbox, command: &Command) -> End {
        let hooks = &self.app.hooks;
        if let Err(error) = hook::run(sandbox, &self.app, "before_start", &hooks.before_start).await
        {
            return End::Failed(causes(&error).join(": "));
        }
        let mut process = match sandbox.start(command).await {
            Ok(process) => process,
            Err(error) => return End::Failed(causes(&error).join(": ")),
        };
        let number = process.id();
        // Hooks run beside the command, whose output must be taken meanwhile.
        let started = {
            let after = hook::run(sandbox, &self.app, "after_start", &hooks.after_start);
            tokio::pin!(after);
            tokio::select! {
                ran = &mut after => ran.map_err(|error| End::Failed(causes(&error).join(": "))),
                end = self.follow(&mut process) => Err(end),
            }
        };
        if let Err(end) = started {
            return end;
        }
        let health = self.app.health_check.clone();
        self.keeping.change(&self.app.name, |state| {
            state.status = AppStatus::Running;
            state.health = if health.is_some() {
                Health::Starting
            } else {
                Health::Unknown
            };
        });
        let mut ending = self.ending.clone();
        let end = {
            let checked = async {
                match &health {
                    Some(check) => self.watch(sandbox, check).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                end = self.follow(&mut process) => return end,
                () = checked => End::Unhealthy,
                _ = ending.wait_for(|ending| *ending) => End::Asked,
            }
        };
        self.stop(sandbox, &mut process, number).await;
        end
    }

    /// Takes what the command writes until it ends. Cancel-safe.
    async fn follow(&self, process: &mut Process) -> End {
        loop {
            match process.next_event().await {
                Ok(Some(ProcessEvent::Output { bytes, .. })) => {
                    self.keeping.write(&self.app.name, bytes);
                }
                Ok(Some(ProcessEvent::Gap { .. })) => {}
                Ok(Some(ProcessEvent::Exited(exit))) => return End::Exited(exit.exit_code()),
                Ok(None) => return End::Failed("its sandbox ended".to_owned()),
                Err(error) => return End::Failed(causes(&error).join(": ")),
            }
        }
    }

    /// Checks the app's health until it has failed too often, where that ends it.
    async fn watch(&self, sandbox: &Sandbox, check: &HealthCheck) {
        let begun = Instant::now();
        let patience = Duration::from_secs(check.start_period_seconds);
        let mut command = Command::new(&check.command)
            .timeout(Duration::from_secs(check.timeout_seconds))
            .grace(Duration::ZERO);
        if let Some(directory) = hook::directory(&self.app, None) {
            command = command.working_directory(directory);
        }
        let mut failures = 0;
        loop {
            let succeeded = sandbox.run(&command).await.is_ok_and(|ran| ran.success());
            if succeeded {
                failures = 0;
                self.keeping
                    .change(&self.app.name, |state| state.health = Health::Healthy);
            } else if begun.elapsed() >= patience {
                failures += 1;
            }
            if failures >= check.retries {
                self.keeping
                    .change(&self.app.name, |state| state.health = Health::Unhealthy);
                if self.app.restart != Restart::Never {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_secs(check.interval_seconds)).await;
        }
    }

    /// Lets the command end in order: hooks, SIGTERM, and SIGKILL when it does not listen.
    async fn stop(&self, sandbox: &Sandbox, process: &mut Process, number: u64) {
        let hooks = &self.app.hooks.before_stop;
        let stopping = async {
            if let Err(error) = hook::run(sandbox, &self.app, "before_stop", hooks).await {
                let text = format!("mvm: {} ({})\n", causes(&error).join(": "), error.code());
                self.keeping.write(&self.app.name, text.as_bytes());
            }
            for (signal, wait) in [(SIGTERM, GRACE), (SIGKILL, GRACE)] {
                // One that has ended takes no signal.
                let _ = sandbox.signal(number, signal, true).await;
                tokio::time::sleep(wait).await;
            }
        };
        tokio::select! {
            end = self.follow(process) => {
                if let End::Exited(code) = end {
                    self.keeping.change(&self.app.name, |state| state.exit_code = Some(code));
                }
            }
            () = stopping => {}
        }
    }
}
