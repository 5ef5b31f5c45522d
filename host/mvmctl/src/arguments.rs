//! What can be typed.

mod declaration;
mod images;
mod saved;
mod trust;
mod workload;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use mvm_contract::{
    SandboxName, duration,
    plan::Profile,
    size::{self, SizeError},
    spec::DEFAULT_IMAGE,
};

use mvm_runtime::setup::{self, Recipe};

pub(crate) use declaration::{Check, Compile, Format, SourceLanguage};
pub(crate) use images::{ExportImage, Images, Pull, PullImage, SomeImages};
pub(crate) use saved::{
    Fork, Pools, Restore, Restored, SetPool, Shaped, Snapshots, SomeTemplates, Templates,
};

pub(crate) use workload::{Build, Down, Init, Invoke, Ps, Up};

pub(crate) use trust::{Audits, CreatePlan, Keys, Plans, Policies, Receipts, Witness};

/// Run code in local microVMs.
#[derive(Debug, Parser)]
#[command(
    name = "mvmctl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(after_help = "\
Exit codes: the command's own where one ran; 124 its timeout passed; 125 mvm itself failed;
126 not executable; 127 not found in the sandbox; 128+N killed by signal N. `compile` and `check`:
0 no errors; 1 the declaration has errors; 125 it could not be looked at.

State lives in $MVM_HOME (default: $XDG_STATE_HOME/mvm, then ~/.local/state/mvm).")]
pub(crate) struct Arguments {
    /// Print results as JSON, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run one command in a sandbox of its own, gone when the command has ended.
    Run(Run),
    /// Create a sandbox that lives until it is destroyed, and print its identifier.
    Create(Create),
    /// List the sandboxes.
    #[command(visible_alias = "ls")]
    List,
    /// Show all that is recorded of a sandbox, as JSON.
    Inspect(One),
    /// Run a command in a running sandbox.
    Exec(Exec),
    /// Open an interactive shell in a running sandbox.
    Shell(Shell),
    /// List the workloads that are up, or the processes started in a sandbox.
    Ps(Ps),
    /// Signal a process of a sandbox, with its whole group.
    Kill(Kill),
    /// Copy files between the host and a sandbox (SANDBOX:PATH).
    Cp(Copy),
    /// Work on files of a sandbox.
    #[command(subcommand)]
    Files(Files),
    /// Show a sandbox's log (its guest's kernel and agent, or its hypervisor), or a workload's app's.
    Logs(Logs),
    /// Take a sandbox's processors away; its memory stays.
    Pause(One),
    /// Let a paused or cold sandbox go on.
    Resume(One),
    /// Save a sandbox to disk and free its memory; `resume` brings it back.
    Cold(One),
    /// Save sandboxes, with their processes and files.
    #[command(subcommand)]
    Snapshot(Snapshots),
    /// Make sandboxes that go on from a running sandbox or a snapshot, and print their identifiers.
    Fork(Fork),
    /// Make a sandbox that goes on from a snapshot, and print its identifier.
    Restore(Restore),
    /// Destroy a sandbox after another time than it was to be.
    Ttl(Ttl),
    /// End a sandbox in order; its disk and logs are kept.
    Stop(Stop),
    /// Destroy sandboxes with all they have.
    #[command(visible_alias = "rm")]
    Destroy(Destroy),
    /// Images: what sandboxes are made of.
    #[command(subcommand)]
    Image(Images),
    /// Templates: booted guests that sandboxes are forked from.
    #[command(subcommand)]
    Template(Templates),
    /// Spares: sandboxes that are ready before they are asked for.
    #[command(subcommand)]
    Pool(Pools),
    /// Keys: what this host signs with, and whom it believes.
    #[command(subcommand)]
    Key(Keys),
    /// Plans: what is launched, signed beforehand.
    #[command(subcommand)]
    Plan(Plans),
    /// What plans may do on this host.
    #[command(subcommand)]
    Policy(Policies),
    /// The log of what was admitted and denied.
    #[command(subcommand)]
    Audit(Audits),
    /// Receipts: what a run did, signed.
    #[command(subcommand)]
    Receipt(Receipts),
    /// Write a small project that declares a workload, to begin with.
    Init(Init),
    /// Turn declarations into Workload IR, without running them.
    Compile(Compile),
    /// Tell what is wrong with declarations, without running them.
    Check(Check),
    /// Build the images of a workload: base, source, files and hooks.
    Build(Build),
    /// Call a function of a workload in a microVM of its own, and print what it returns.
    Invoke(Invoke),
    /// Keep the commands of a workload up.
    Up(Up),
    /// End workloads that are up.
    Down(Down),
    /// Offer all of this as an HTTP API.
    Serve(Serve),
    /// Prepare this host: kernel, initramfs, the default image and its template.
    Setup(Setup),
    /// Tell what this host can do and what it lacks.
    Doctor,
}

/// What a new sandbox is.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    /// Image: debian:NAME, oci:HOST/PATH[:TAG][@DIGEST],
    /// oci-layout:DIR[:REF], oci-archive:FILE[:REF] or nix:FLAKE#ATTR[@DIGEST].
    #[arg(long, default_value = DEFAULT_IMAGE)]
    pub(crate) image: String,
    /// When the registry of an `oci:` image is asked.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) pull: Pull,
    /// Virtual processors.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) cpus: u32,
    /// Memory (256M, 2G; without a unit, MiB).
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = mebibytes)]
    pub(crate) memory: u32,
    /// Size of its own disk (sparse on the host).
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = mebibytes)]
    pub(crate) disk: u32,
    /// Copy a file or directory of the host in before the start; may be repeated.
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) cp: Vec<CopyIn>,
    /// Keep the kernel's boot messages in the sandbox's console.log (slower).
    #[arg(long)]
    pub(crate) boot_console: bool,
    /// Tell on standard error what the start consisted of.
    #[arg(long)]
    pub(crate) trace: bool,
    /// The built-in policy it runs under.
    #[arg(long, value_name = "PROFILE", default_value = "standard", value_parser = profile)]
    pub(crate) profile: Profile,
    /// Launch by a signed plan; `-e` gives the values whose digests it holds.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "cpus", "memory", "disk", "profile", "boot_console", "dry_run"])]
    pub(crate) plan: Option<PathBuf>,
    /// Tell what would be launched and whether it would be admitted; start nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn profile(text: &str) -> Result<Profile, String> {
    let names = Profile::ALL.map(Profile::as_str).join(", ");
    let found = Profile::ALL.into_iter().find(|it| it.as_str() == text);
    found.ok_or_else(|| format!("not one of {names}"))
}

/// How a command runs.
#[derive(Debug, Args)]
pub(crate) struct Manner {
    /// Set a variable of its environment; may be repeated.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Its working directory in the sandbox.
    #[arg(long, short, value_name = "PATH")]
    pub(crate) workdir: Option<String>,
    /// Its user in the sandbox (name, uid, name:group, uid:gid).
    #[arg(long, short, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// End it, with every process it started, after so long (500ms, 2s, 1.5m, 1h).
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL when its timeout passes.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// Run it on a terminal.
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Give it no standard input.
    #[arg(long, short = 'n')]
    pub(crate) no_stdin: bool,
    /// Write a signed receipt of the run to a file that is not there yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) manner: Manner,
    /// A program of this host that uses an SDK (.py, .js, .mjs, .ts), run here in a mode.
    #[arg(value_name = "SCRIPT", conflicts_with_all = NOT_OF_SCRIPTS)]
    pub(crate) script: Option<PathBuf>,
    /// What becomes of the sandboxes that the script asks for.
    #[arg(long, value_enum, default_value_t, requires = "script")]
    pub(crate) mode: Mode,
    /// Write what the script asked for to a file that is not there yet.
    #[arg(long, value_name = "FILE", requires = "script")]
    pub(crate) recording: Option<PathBuf>,
    /// The command and its arguments; none means the image's own. After a script, its arguments.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

/// What is said of a sandbox of the command line's own, which a script has not.
const NOT_OF_SCRIPTS: [&str; 19] = [
    "image",
    "pull",
    "cpus",
    "memory",
    "disk",
    "cp",
    "boot_console",
    "profile",
    "plan",
    "dry_run",
    "trace",
    "env",
    "workdir",
    "user",
    "timeout",
    "tty",
    "no_stdin",
    "receipt",
    "grace",
];

/// What becomes of the sandboxes that a script asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// They run.
    #[default]
    Live,
    /// Nothing runs; what the script asked for is printed as Workload IR.
    Record,
    /// Nothing runs; by which plans they would be admitted is printed.
    Plan,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// A name to find it by.
    #[arg(long, conflicts_with = "plan")]
    pub(crate) name: Option<SandboxName>,
    /// Set a variable for all its commands; may be repeated.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Working directory of commands that name none.
    #[arg(long, short, value_name = "PATH", conflicts_with = "plan")]
    pub(crate) workdir: Option<String>,
    /// User of commands that name none.
    #[arg(long, short, value_name = "USER", conflicts_with = "plan")]
    pub(crate) user: Option<String>,
    /// Destroy it after so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_duration, conflicts_with = "plan")]
    pub(crate) ttl: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its name or identifier.
    pub(crate) sandbox: String,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Its name or identifier.
    pub(crate) sandbox: String,
    #[command(flatten)]
    pub(crate) manner: Manner,
    /// Leave it running and print its process number.
    #[arg(long, short, conflicts_with_all = ["tty", "attach"])]
    pub(crate) detach: bool,
    /// Attach to a process by its number instead of starting one.
    #[arg(long, value_name = "PROCESS", conflicts_with = "command")]
    pub(crate) attach: Option<u64>,
    /// The command and its arguments.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// Its name or identifier.
    pub(crate) sandbox: String,
    /// Its user in the sandbox.
    #[arg(long, short, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Its working directory in the sandbox.
    #[arg(long, short, value_name = "PATH")]
    pub(crate) workdir: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// A path of the host, or SANDBOX:PATH.
    pub(crate) from: String,
    /// A path of the host, or SANDBOX:PATH; a directory takes the source into itself.
    pub(crate) to: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Files {
    /// List a directory.
    Ls(At),
    /// Print a file.
    Cat(At),
    /// Write standard input to a file.
    Write(Write),
    /// Remove a file or directory.
    Rm(Remove),
    /// Make a directory.
    Mkdir(MakeDirectory),
    /// Rename a file or directory.
    Mv(Move),
    /// Show what a path is.
    Stat(At),
}

#[derive(Debug, Args)]
pub(crate) struct At {
    /// Name or identifier of the sandbox.
    pub(crate) sandbox: String,
    /// Absolute path in the sandbox.
    pub(crate) path: OsString,
}

#[derive(Debug, Args)]
pub(crate) struct Write {
    #[command(flatten)]
    pub(crate) at: At,
    /// Permission bits, octal.
    #[arg(long, value_parser = mode)]
    pub(crate) mode: Option<u32>,
    /// Make missing parent directories.
    #[arg(long, short)]
    pub(crate) parents: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    pub(crate) at: At,
    /// Remove a directory with all that is in it.
    #[arg(long, short)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MakeDirectory {
    #[command(flatten)]
    pub(crate) at: At,
    /// Permission bits, octal.
    #[arg(long, value_parser = mode)]
    pub(crate) mode: Option<u32>,
    /// Make missing parents, and accept a directory that is there.
    #[arg(long, short)]
    pub(crate) parents: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Move {
    #[command(flatten)]
    pub(crate) at: At,
    /// Its new absolute path.
    pub(crate) to: OsString,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Its name or identifier; or WORKLOAD.APP.
    pub(crate) sandbox: String,
    /// Go on with new lines until the sandbox ends; those of an app, until interrupted.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// The hypervisor's log instead of the guest's.
    #[arg(long)]
    pub(crate) machine: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Its name or identifier.
    pub(crate) sandbox: String,
    /// How long its processes have to end by themselves.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse_duration)]
    pub(crate) grace: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Listen on this Unix socket, for this user alone; `api.sock` in the state directory without
    /// any other place.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["listen", "private"])]
    pub(crate) socket: Option<PathBuf>,
    /// Listen on this address, for whoever has the token.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        requires = "token_file",
        conflicts_with = "private"
    )]
    pub(crate) listen: Option<SocketAddr>,
    /// The file with the token.
    #[arg(long, value_name = "FILE", requires = "listen")]
    pub(crate) token_file: Option<PathBuf>,
    /// A chain of certificates, PEM.
    #[arg(long, value_name = "FILE", requires = "key", requires = "listen")]
    pub(crate) certificate: Option<PathBuf>,
    /// The key of the first certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// Listen for the program that started this one: it is told where on standard output, and this
    /// ends when standard input does.
    #[arg(long)]
    pub(crate) private: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Its name or identifier.
    pub(crate) sandbox: String,
    /// The process's number, as `ps` and `exec --detach` tell it.
    pub(crate) process: u64,
    /// The signal's number, 1 to 64.
    #[arg(long, short, default_value_t = 15, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) signal: u8,
    /// The process alone.
    #[arg(long)]
    pub(crate) alone: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ttl {
    /// Its name or identifier.
    pub(crate) sandbox: String,
    /// From now (30s, 5m, 1h), or `none`.
    #[arg(value_parser = time_to_live)]
    pub(crate) ttl: TimeToLive,
}

/// A time to live, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeToLive(pub(crate) Option<Duration>);

fn time_to_live(text: &str) -> Result<TimeToLive, String> {
    if text == "none" {
        return Ok(TimeToLive(None));
    }
    let parsed = duration::parse_duration(text);
    parsed
        .map(|duration| TimeToLive(Some(duration)))
        .map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct Destroy {
    /// Their names or identifiers.
    #[arg(required_unless_present = "all")]
    pub(crate) sandboxes: Vec<String>,
    /// Every sandbox there is.
    #[arg(long, conflicts_with = "sandboxes")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Make everything anew, even what is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// Images made from Debian's archive beside `debian:python`, by name: python, node.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = recipe)]
    pub(crate) images: Vec<&'static Recipe>,
}

fn recipe(name: &str) -> Result<&'static Recipe, String> {
    setup::recipe(name).ok_or_else(|| {
        let known: Vec<_> = setup::RECIPES.iter().map(|recipe| recipe.name).collect();
        format!("no such image; there are {}", known.join(", "))
    })
}

/// A `--cp HOST:GUEST`.
#[derive(Debug, Clone)]
pub(crate) struct CopyIn {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
}

impl std::str::FromStr for CopyIn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The guest's path is absolute, so the last `:/` divides, whatever the host's path holds.
        match text.rfind(":/") {
            Some(at) if at > 0 => Ok(Self {
                host: PathBuf::from(&text[..at]),
                guest: text[at + 1..].to_owned(),
            }),
            _ => Err(
                "expected HOST:GUEST with an absolute path of the guest, as in `./src:/work/src`"
                    .to_owned(),
            ),
        }
    }
}

fn mebibytes(text: &str) -> Result<u32, SizeError> {
    size::parse_mebibytes(text)
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE; variables of the host are not passed on by name".to_owned()),
    }
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("expected permission bits in octal, as in `755`".to_owned()),
    }
}
