//! What every measurement needs: the program, its state directory, and a machine at rest.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mvm::SandboxSpec;
use mvm_image::Silent;
use mvm_runtime::{
    DEFAULT_IDLE_SECONDS, Home, MVM_SPARES, Runtime, SupervisorProgram, TemplateOrder,
};

use crate::{bench_home::BenchHome, processor, report::Report};

/// How long spares may take to be ready.
const SPARE_LIMIT: Duration = Duration::from_secs(120);
const SPARE_PAUSE: Duration = Duration::from_millis(50);

/// The boxed error that measurements end with.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) starts: usize,
    pub(crate) cold_starts: usize,
    pub(crate) rounds: usize,
    pub(crate) forks: usize,
    pub(crate) snapshots: usize,
    pub(crate) commands: usize,
    pub(crate) records: usize,
    pub(crate) audit_records: usize,
}

pub(crate) struct Bench {
    pub(crate) mvmctl: PathBuf,
    pub(crate) home: BenchHome,
    pub(crate) runtime: Runtime,
    pub(crate) sizes: Sizes,
    pub(crate) report: Report,
    spares: u32,
    rests: usize,
    unrest: usize,
}

impl Bench {
    pub(crate) fn new(mvmctl: &Path, home: BenchHome, sizes: Sizes) -> Outcome<Self> {
        let supervisor = SupervisorProgram {
            program: mvmctl.to_owned(),
            arguments: vec!["supervise".to_owned()],
        };
        Ok(Self {
            mvmctl: mvmctl.to_owned(),
            runtime: Runtime::new(Home::open(home.path())?, supervisor),
            home,
            sizes,
            report: Report::default(),
            spares: 0,
            rests: 0,
            unrest: 0,
        })
    }

    /// Keeps a spare from now on, as mvm does by default, or none. Holds for `mvmctl` and for
    /// sandboxes of this process.
    pub(crate) async fn keep_spare(&mut self, keep: bool) -> Outcome<()> {
        self.keep_spares(u32::from(keep)).await
    }

    /// Keeps so many spares from now on.
    pub(crate) async fn keep_spares(&mut self, count: u32) -> Outcome<()> {
        let spec = SandboxSpec::default();
        let order = TemplateOrder {
            image: spec.image,
            resources: spec.resources,
        };
        self.runtime
            .set_pool(&order, count, DEFAULT_IDLE_SECONDS, &Silent)
            .await?;
        self.spares = count;
        Ok(())
    }

    /// Waits until a spare is ready, where one is kept, none is being made, and the machine is
    /// idle. Before every sample of everything, so that none pays for what another left to do.
    pub(crate) fn rest(&mut self) -> Outcome<()> {
        if self.spares > 0 {
            self.wait_for_spare()?;
        }
        self.rests += 1;
        self.unrest += usize::from(!processor::wait_until_quiet());
        Ok(())
    }

    fn wait_for_spare(&self) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            let pools = self.runtime.pools()?;
            if pools
                .iter()
                .any(|pool| pool.ready == self.spares && pool.making == 0)
            {
                return Ok(());
            }
            if begun.elapsed() > SPARE_LIMIT {
                let spares = self.spares;
                return Err(
                    format!("{spares} spares were not ready within {SPARE_LIMIT:?}").into(),
                );
            }
            thread::sleep(SPARE_PAUSE);
        }
    }

    /// Says how often something else was at work.
    pub(crate) fn remark_unrest(&mut self) {
        let Self { rests, unrest, .. } = *self;
        if unrest > 0 {
            self.report.remark(format!(
                "{unrest} of {rests} measurements began while something else used the processors"
            ));
        }
    }

    /// `mvmctl` with the bench's state directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.home.mvmctl(arguments)
    }

    /// `mvmctl` that neither claims nor makes a spare.
    pub(crate) fn command_without_spare(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env(MVM_SPARES, "off");
        command
    }
}

/// Runs a program to its end, which is to be a success; gives what it wrote.
pub(crate) fn run(mut command: Command) -> Outcome<Written> {
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        let stdout = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        return Ok(Written { stdout, stderr });
    }
    let program = command.get_program().display().to_string();
    // Some tell what is wrong on standard output.
    let stdout = String::from_utf8_lossy(&output.stdout);
    let said = [&*stdout, stderr.as_str()].concat();
    let last = said.trim_end().lines().last().unwrap_or_default();
    Err(format!("`{program}`: {}: {last}", output.status).into())
}

/// What a program wrote.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}
