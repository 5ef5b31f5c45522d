//! From a recording to the workload that says the same.
//!
//! Each sandbox becomes an app: what was written becomes its files, the last command its
//! entrypoint, and every command before that a `before_start` hook. What a workload cannot say is
//! refused, never left out.

use std::collections::BTreeMap;

use super::{Operation, RecordedCommand, RecordedSandbox, Recording};
use crate::{
    spec::SandboxSpec,
    workload::{
        App, CommandEntrypoint, Dependencies, EmbeddedFile, Entrypoint, EnvironmentValue, Hook,
        HookCommand, Hooks, Image, LocatedFlaw, Network, Restart, WORKLOAD_VERSION, Workload,
    },
};

/// How long a recorded command may take as a hook that had no limit of its own, in seconds.
const UNLIMITED_HOOK_SECONDS: u64 = 3600;
/// The name of the only sandbox's app, and what the others' begin with.
const APP: &str = "app";
/// The name of a recorded command as an entrypoint.
const ENTRYPOINT: &str = "main";

/// Why a recording has no workload that says the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The script created no sandbox.
    #[error("the script created no sandbox")]
    NoSandbox,
    /// A sandbox ran no command.
    #[error("sandbox {sandbox} runs no command, so it has no entrypoint")]
    NoCommand {
        /// Which sandbox, from 1.
        sandbox: usize,
    },
    /// A user was named, which a workload cannot.
    #[error("sandbox {sandbox} runs something as user `{user}`, which a workload cannot say")]
    User {
        /// Which sandbox, from 1.
        sandbox: usize,
        /// The user.
        user: String,
    },
    /// A file is written after a command; a workload's files are there before every command.
    #[error("sandbox {sandbox} writes `{path}` after a command has run")]
    FileAfterCommand {
        /// Which sandbox, from 1.
        sandbox: usize,
        /// The file.
        path: String,
    },
    /// The workload breaks rules.
    #[error("the workload that says the same breaks {} rule(s)", .0.len())]
    Flaws(Vec<LocatedFlaw>),
}

impl crate::Coded for LowerError {
    fn code(&self) -> crate::ErrorCode {
        crate::ErrorCode::InvalidArgument
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSandbox => Some("create one with `Sandbox.create`".to_owned()),
            Self::NoCommand { .. } => {
                Some("run or start the command that the workload is for".to_owned())
            }
            Self::User { .. } => Some("let the image's own user run it".to_owned()),
            Self::FileAfterCommand { .. } => {
                Some("write all files before the first command".to_owned())
            }
            Self::Flaws(flaws) => flaws.first().map(|flaw| match flaw.flaw.hint() {
                Some(hint) => format!("{flaw}; {hint}"),
                None => flaw.to_string(),
            }),
        }
    }
}

impl Recording {
    /// The workload that says the same.
    ///
    /// # Errors
    ///
    /// [`LowerError`]: what a workload cannot say, or which rules it would break.
    pub fn workload(&self, id: &str) -> Result<Workload, LowerError> {
        if self.sandboxes.is_empty() {
            return Err(LowerError::NoSandbox);
        }
        let alone = self.sandboxes.len() == 1;
        let apps = self.sandboxes.iter().enumerate().map(|(index, recorded)| {
            let name = match &recorded.spec.name {
                Some(name) => name.to_string(),
                None if alone => APP.to_owned(),
                None => format!("{APP}-{}", index + 1),
            };
            app(index + 1, name, recorded)
        });
        let workload = Workload {
            version: WORKLOAD_VERSION,
            id: id.to_owned(),
            apps: apps.collect::<Result<_, _>>()?,
            volumes: Vec::new(),
        };
        let flaws = workload.validate();
        if flaws.is_empty() {
            Ok(workload)
        } else {
            Err(LowerError::Flaws(flaws))
        }
    }
}

fn app(sandbox: usize, name: String, recorded: &RecordedSandbox) -> Result<App, LowerError> {
    let SandboxSpec {
        image,
        name: _,
        resources,
        environment,
        working_directory,
        user,
        // How long something lives is said when it is started.
        ttl_seconds: _,
    } = &recorded.spec;
    let refused = |user: &String| LowerError::User {
        sandbox,
        user: user.clone(),
    };
    if let Some(user) = user {
        return Err(refused(user));
    }
    let mut steps = Steps::default();
    for operation in &recorded.operations {
        steps.take(sandbox, operation)?;
    }
    let place = |command: &RecordedCommand| {
        let own = command.working_directory.as_ref();
        own.or(working_directory.as_ref()).cloned()
    };
    let entrypoint = steps
        .commands
        .pop()
        .ok_or(LowerError::NoCommand { sandbox })?;
    let Step::Command(entrypoint) = entrypoint else {
        return Err(LowerError::NoCommand { sandbox });
    };
    let hooks = steps.commands.into_iter().map(|step| {
        let command = match step {
            Step::Command(command) => command,
            Step::Plain(arguments) => RecordedCommand {
                arguments,
                ..RecordedCommand::default()
            },
        };
        Hook {
            working_directory: place(&command),
            environment: literals(&command.environment),
            timeout_seconds: command
                .timeout_ms
                .map_or(UNLIMITED_HOOK_SECONDS, |limit| limit.div_ceil(1000)),
            run: HookCommand::Command {
                command: command.arguments,
            },
        }
    });
    Ok(App {
        name,
        source: None,
        image: Image::Source {
            reference: image.clone(),
        },
        resources: *resources,
        environment: literals(environment),
        hooks: Hooks {
            before_start: hooks.collect(),
            ..Hooks::default()
        },
        entrypoints: vec![Entrypoint::Command(CommandEntrypoint {
            name: ENTRYPOINT.to_owned(),
            working_directory: place(&entrypoint),
            environment: literals(&entrypoint.environment),
            command: entrypoint.arguments,
            primary: true,
        })],
        mounts: Vec::new(),
        network: Network::NONE,
        dependencies: Dependencies::None,
        health_check: None,
        restart: Restart::Never,
        files: steps.files,
        depends_on: Vec::new(),
    })
}

/// What runs in a sandbox, one after the other.
enum Step {
    /// A command of the script.
    Command(RecordedCommand),
    /// A change of files, as the program that makes it.
    Plain(Vec<String>),
}

#[derive(Default)]
struct Steps {
    files: Vec<EmbeddedFile>,
    commands: Vec<Step>,
    /// Whether something ran that may see which files are there.
    has_run: bool,
}

impl Steps {
    fn take(&mut self, sandbox: usize, operation: &Operation) -> Result<(), LowerError> {
        match operation {
            Operation::Run { command } => {
                if let Some(user) = &command.user {
                    return Err(LowerError::User {
                        sandbox,
                        user: user.clone(),
                    });
                }
                self.has_run = true;
                self.commands.push(Step::Command(command.clone()));
            }
            Operation::WriteFile {
                path,
                content_base64,
                mode,
            } => self.write(sandbox, path, content_base64, *mode)?,
            // A directory that is made later than a file in it is there already, and stays.
            Operation::MakeDirectory {
                path,
                mode,
                parents,
            } => {
                let mut arguments = vec!["mkdir".to_owned()];
                if *parents {
                    arguments.push("-p".to_owned());
                }
                if let Some(mode) = mode {
                    arguments.extend(["-m".to_owned(), format!("{mode:o}")]);
                }
                self.plain(arguments, &[path]);
            }
            Operation::Remove { path, recursive } => {
                self.has_run = true;
                let flags = if *recursive { "-r" } else { "-d" };
                self.plain(vec!["rm".to_owned(), flags.to_owned()], &[path]);
            }
            Operation::Rename { from, to } => {
                self.has_run = true;
                self.plain(vec!["mv".to_owned(), "-T".to_owned()], &[from, to]);
            }
        }
        Ok(())
    }

    fn plain(&mut self, mut arguments: Vec<String>, paths: &[&String]) {
        arguments.push("--".to_owned());
        arguments.extend(paths.iter().map(|path| (*path).clone()));
        self.commands.push(Step::Plain(arguments));
    }

    fn write(
        &mut self,
        sandbox: usize,
        path: &str,
        content_base64: &str,
        mode: Option<u32>,
    ) -> Result<(), LowerError> {
        if self.has_run {
            return Err(LowerError::FileAfterCommand {
                sandbox,
                path: path.to_owned(),
            });
        }
        // What is written twice before anything ran is what was written last.
        let before = self.files.iter().position(|file| file.path == path);
        let kept = before.map(|index| self.files.remove(index).mode);
        self.files.push(EmbeddedFile {
            path: path.to_owned(),
            content_base64: content_base64.to_owned(),
            mode: mode.or(kept).unwrap_or(EmbeddedFile::DEFAULT_MODE),
        });
        Ok(())
    }
}

fn literals(variables: &BTreeMap<String, String>) -> BTreeMap<String, EnvironmentValue> {
    let literal = |(name, value): (&String, &String)| {
        let value = value.clone();
        (name.clone(), EnvironmentValue::Literal { value })
    };
    variables.iter().map(literal).collect()
}
