//! One function per verb.

mod audit;
mod copy;
mod declaration;
mod doctor;
mod exec;
mod files;
mod image;
mod inspect;
mod lifecycle;
mod plan;
mod receipt;
mod run;
mod script;
mod serve;
mod service;
mod snapshot;
mod template;
mod trust;
mod workload;

use std::{ffi::OsString, path::Path};

use mvm_contract::{Resources, SandboxSpec};
use mvm_runtime::{Command, Runtime, Sandbox, SupervisorProgram};

use crate::{
    arguments::{Arguments, CopyIn, Manner, Shape, Verb},
    failure::Failure,
    progress::{Display, START_PATIENCE},
    terminal,
};

/// What every verb gets.
pub(crate) struct Context {
    runtime: Runtime,
    json: bool,
    quiet: bool,
}

/// Runs a verb and gives the program's exit code.
pub(crate) async fn dispatch(arguments: Arguments) -> Result<u8, Failure> {
    // What only reads files needs no state of this host.
    let arguments = match arguments.command {
        Verb::Compile(options) => {
            return declaration::compile(&options, arguments.json, arguments.quiet);
        }
        Verb::Check(options) => {
            return declaration::check(&options, arguments.json, arguments.quiet);
        }
        Verb::Init(options) => {
            return workload::init(&options, arguments.json, arguments.quiet);
        }
        command => Arguments {
            command,
            ..arguments
        },
    };
    let supervisor = SupervisorProgram {
        // Whatever happens to the file: the running program starts its own supervisors.
        program: Path::new("/proc/self/exe").to_owned(),
        arguments: vec!["supervise".to_owned()],
    };
    let runtime = Runtime::from_environment(supervisor)?;
    let context = Context {
        runtime,
        json: arguments.json,
        quiet: arguments.quiet,
    };
    match arguments.command {
        Verb::Run(options) => run::run(context, options).await,
        Verb::Create(options) => lifecycle::create(context, options).await,
        Verb::List => inspect::list(&context),
        Verb::Inspect(options) => inspect::inspect(&context, &options.sandbox),
        Verb::Exec(options) => exec::exec(&context, options).await,
        Verb::Shell(options) => exec::shell(&context, options).await,
        Verb::Ps(options) => match options.sandbox {
            Some(sandbox) => inspect::processes(&context, &sandbox).await,
            None => service::list(&context),
        },
        Verb::Kill(options) => exec::kill(&context, &options).await,
        Verb::Cp(options) => copy::copy(&context, &options).await,
        Verb::Files(options) => files::files(&context, options).await,
        Verb::Logs(options) if options.sandbox.contains('.') => {
            service::logs(&context, &options).await
        }
        Verb::Logs(options) => inspect::logs(&context, &options).await,
        Verb::Pause(options) => lifecycle::pause(&context, &options.sandbox).await,
        Verb::Resume(options) => lifecycle::resume(&context, &options.sandbox).await,
        Verb::Cold(options) => lifecycle::cold(&context, &options.sandbox).await,
        Verb::Snapshot(verb) => snapshot::snapshots(&context, verb).await,
        Verb::Fork(options) => snapshot::fork(&context, options).await,
        Verb::Restore(options) => snapshot::restore(&context, options).await,
        Verb::Image(verb) => image::images(&context, verb),
        Verb::Template(verb) => template::templates(&context, verb).await,
        Verb::Pool(verb) => template::pools(&context, verb).await,
        Verb::Ttl(options) => lifecycle::ttl(&context, &options).await,
        Verb::Stop(options) => lifecycle::stop(&context, &options).await,
        Verb::Destroy(options) => lifecycle::destroy(&context, options).await,
        Verb::Key(verb) => trust::keys(&context, verb),
        Verb::Plan(verb) => plan::plans(&context, verb),
        Verb::Policy(verb) => trust::policies(&context, verb),
        Verb::Audit(verb) => audit::audits(&context, verb),
        Verb::Receipt(verb) => receipt::receipts(&context, verb),
        Verb::Compile(options) => declaration::compile(&options, context.json, context.quiet),
        Verb::Check(options) => declaration::check(&options, context.json, context.quiet),
        Verb::Init(options) => workload::init(&options, context.json, context.quiet),
        Verb::Build(options) => workload::build(&context, &options).await,
        Verb::Invoke(options) => workload::invoke(&context, &options).await,
        Verb::Up(options) => service::up(&context, &options).await,
        Verb::Down(options) => service::down(&context, &options).await,
        Verb::Serve(options) => serve::serve(context, options).await,
        Verb::Setup(options) => doctor::setup(&context, &options).await,
        Verb::Doctor => doctor::doctor(&context),
    }
}

/// Tells by which plan a sandbox of this shape would be launched, once it is seen that it would
/// be admitted.
fn dry_run(
    context: &Context,
    shape: &Shape,
    complete: impl FnOnce(SandboxSpec) -> SandboxSpec,
) -> Result<u8, Failure> {
    let display = Display::new(context.quiet, START_PATIENCE);
    let runtime = context
        .runtime
        .clone()
        .with_boot_console(shape.boot_console)
        .with_profile(shape.profile)
        .with_pull(shape.pull.into());
    let envelope = runtime.dry_run(&complete(spec_of(shape)), &display)?;
    plan::show(context, &envelope)?;
    Ok(0)
}

fn spec_of(shape: &Shape) -> SandboxSpec {
    SandboxSpec {
        image: shape.image.clone(),
        resources: Resources {
            vcpus: shape.cpus,
            memory_mib: shape.memory,
            disk_mib: shape.disk,
        },
        ..SandboxSpec::default()
    }
}

/// Creates a sandbox of this shape and copies in what it asks for.
async fn create_sandbox(
    context: &Context,
    shape: &Shape,
    complete: impl FnOnce(SandboxSpec) -> SandboxSpec,
) -> Result<Sandbox, Failure> {
    for CopyIn { host, .. } in &shape.cp {
        if let Err(error) = std::fs::metadata(host) {
            let doing = format!("cannot copy `{}` into the sandbox", host.display());
            return Err(Failure::host_io(doing, &error));
        }
    }
    let spec = complete(spec_of(shape));
    let display = Display::new(context.quiet, START_PATIENCE);
    let runtime = context
        .runtime
        .clone()
        .with_boot_console(shape.boot_console)
        .with_profile(shape.profile)
        .with_pull(shape.pull.into());
    doctor::announce_fallback(context);
    let sandbox = match &shape.plan {
        Some(file) => {
            let envelope = read(file)?;
            let created = runtime.create_by_plan(&envelope, spec.environment, &display);
            created.await?
        }
        None => runtime.create(&spec, &display).await?,
    };
    if shape.trace {
        trace(sandbox.start_phases());
    }
    for CopyIn { host, guest } in &shape.cp {
        copy::into_sandbox(&sandbox, host, guest, &display).await?;
    }
    Ok(sandbox)
}

/// Reads a file; `-` is standard input.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| Failure::host_io(format!("failed to read `{}`", path.display()), &error))
}

/// Prints bytes, or writes them to a file that is not there yet.
fn emit(out: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match out {
        Some(path) => trust::write_new(path, bytes),
        None => crate::output::bytes(bytes),
    }
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Tells how long each part of a start took.
fn trace(phases: &[mvm_runtime::Phase]) {
    for phase in phases {
        crate::output::talk(format_args!(
            "trace: {:>8.1} ms  {}",
            phase.milliseconds, phase.name
        ));
    }
}

/// Detaches a new sandbox and prints its identifier, or its record.
async fn report_sandbox(context: &Context, sandbox: Sandbox) -> Result<(), Failure> {
    let id = sandbox.detach().await?;
    if context.json {
        crate::output::json(context.runtime.connect(id.as_str())?.record())
    } else {
        crate::output::data(id)
    }
}

/// The command to run and what of this program joins it.
fn command(
    manner: &Manner,
    arguments: Vec<OsString>,
) -> Result<(Command, crate::streams::Joined), Failure> {
    if manner.tty && !terminal::is_interactive() {
        return Err(Failure::invalid(
            "`--tty` needs a terminal on standard input and output",
            "leave `--tty` out when input or output is a file or a pipe",
        ));
    }
    let joined = crate::streams::Joined {
        standard_input: !manner.no_stdin,
        terminal: manner.tty,
    };
    let mut command = Command::new(arguments)
        .standard_input(joined.standard_input)
        .timeout(manner.timeout);
    if let Some(grace) = manner.grace {
        command = command.grace(grace);
    }
    for (name, value) in &manner.env {
        command = command.env(name, value);
    }
    if let Some(path) = &manner.workdir {
        command = command.working_directory(path);
    }
    if let Some(user) = &manner.user {
        command = command.user(user);
    }
    if let Some(path) = &manner.receipt {
        if path.exists() {
            return Err(Failure::invalid(
                format!("`{}` is there already", path.display()),
                "name a file for the receipt that is not there yet",
            ));
        }
        command = command.receipt();
    }
    if manner.tty {
        let (columns, rows) = terminal::size();
        command = command.terminal(columns, rows);
    }
    Ok((command, joined))
}
