//! Scenarios by the Rust SDK: by this same text in process and over HTTP. What the two do not
//! share is their `Surface`.

use std::{collections::BTreeMap, time::Duration};

use mvm::{
    Coded, Command, Error, FileKind, OutputStream, ProcessEvent, Profile, RunAccount,
    SnapshotOptions,
};

use super::{Process, ProcessInput, Sandbox, Surface};
use crate::{Collected, Ended, Value, check_content, content, json};

struct Run<'a> {
    surface: &'a Surface,
    sandboxes: BTreeMap<String, Sandbox>,
    /// Identifiers of those that were let go of, or are gone.
    known: BTreeMap<String, String>,
    processes: BTreeMap<String, (String, Process, Option<ProcessInput>)>,
    snapshots: BTreeMap<String, String>,
    accounts: BTreeMap<String, RunAccount>,
}

pub(crate) async fn run(surface: &Surface, steps: &[Value]) {
    let mut run = Run {
        surface,
        sandboxes: BTreeMap::new(),
        known: BTreeMap::new(),
        processes: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        accounts: BTreeMap::new(),
    };
    for step in steps {
        let ended = run.step(step).await;
        match (step["error"]["code"].as_str(), ended) {
            (None, Ok(())) => {}
            (None, Err(code)) => panic!("{step}: {code}"),
            (Some(expected), ended) => assert_eq!(ended, Err(expected.to_owned()), "{step}"),
        }
    }
}

fn code<T>(result: Result<T, impl Into<Error>>) -> Result<T, String> {
    result.map_err(|error| error.into().code().as_str().to_owned())
}

fn name(step: &Value, field: &str) -> String {
    step[field]
        .as_str()
        .unwrap_or_else(|| panic!("no `{field}` in {step}"))
        .to_owned()
}

fn invalid<T, E>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|_| "InvalidArgument".to_owned())
}

fn command(shape: &Value) -> Command {
    let mut command = match shape["argv"].as_array() {
        Some(argv) => Command::new(argv.iter().map(|argument| argument.as_str().unwrap())),
        None => Command::shell(shape["shell"].as_str().unwrap()),
    };
    for (name, value) in shape["environment"].as_object().into_iter().flatten() {
        command = command.env(name, value.as_str().unwrap());
    }
    if let Some(path) = shape["working_directory"].as_str() {
        command = command.working_directory(path);
    }
    if let Some(user) = shape["user"].as_str() {
        command = command.user(user);
    }
    if let Some(timeout) = shape["timeout_ms"].as_u64() {
        command = command.timeout(Duration::from_millis(timeout));
    }
    if let Some(grace) = shape["grace_ms"].as_u64() {
        command = command.grace(Duration::from_millis(grace));
    }
    if shape["detached"] == true {
        command = command.detached();
    }
    if shape["receipt"] == true {
        command = command.receipt();
    }
    if let Some(terminal) = shape["terminal"].as_object() {
        let size = |side: &str| u16::try_from(terminal[side].as_u64().unwrap()).unwrap();
        command = command.terminal(size("columns"), size("rows"));
    }
    command.standard_input(shape["stdin"] == true)
}

impl Run<'_> {
    async fn sandbox(&self, name: &str) -> Result<&Sandbox, String> {
        if let Some(found) = self.sandboxes.get(name) {
            return Ok(found);
        }
        // One that is gone is asked for as others would.
        let Some(id) = self.known.get(name) else {
            panic!("nothing is called `{name}`");
        };
        match self.surface.connect(id).await {
            Ok(_) => panic!("`{name}` is there"),
            Err(error) => Err(error.code().as_str().to_owned()),
        }
    }

    fn keep(&mut self, step: &Value, sandbox: Sandbox) {
        let name = name(step, "as");
        self.known.insert(name.clone(), sandbox.id().to_string());
        self.sandboxes.insert(name, sandbox);
    }

    async fn step(&mut self, step: &Value) -> Ended {
        match step["do"].as_str().unwrap() {
            "create" => {
                let sandbox = create(self.surface, &step["with"]).await?;
                self.keep(step, sandbox);
            }
            "connect" => {
                let id = self.known[&name(step, "of")].clone();
                let sandbox = code(self.surface.connect(&id).await)?;
                self.keep(step, sandbox);
            }
            "run" => {
                let shape = &step["command"];
                let sandbox = self.sandbox(&name(step, "in")).await?;
                let input = shape["stdin"].as_str().unwrap_or_default().as_bytes();
                let result = code(sandbox.run_with_input(&command(shape), input).await)?;
                let collected = Collected {
                    exit_code: result.exit_code().into(),
                    timed_out: Some(result.exit.timed_out),
                    truncated: Some(result.truncated),
                    stdout: result.stdout,
                    stderr: result.stderr,
                };
                collected.check(&step["expect"]);
                if step["as"].is_string() {
                    self.accounts.insert(name(step, "as"), result.run);
                }
            }
            "start" => {
                let of = name(step, "in");
                let mut process = code(
                    self.sandbox(&of)
                        .await?
                        .start(&command(&step["command"]))
                        .await,
                )?;
                let input = process.take_input();
                self.processes
                    .insert(name(step, "as"), (of, process, input));
            }
            "send" => {
                let (.., input) = self.processes.get_mut(&name(step, "to")).unwrap();
                let text = step["text"].as_str().unwrap();
                code(input.as_mut().unwrap().write(text.as_bytes()).await)?;
            }
            "close_stdin" => {
                let (.., input) = self.processes.get_mut(&name(step, "of")).unwrap();
                code(input.as_mut().unwrap().close().await)?;
            }
            "wait" => {
                let (_, process, _) = self.processes.get_mut(&name(step, "of")).unwrap();
                wait(process).await?.check(&step["expect"]);
            }
            "kill" => {
                let (of, process, _) = &self.processes[&name(step, "of")];
                let signal = u8::try_from(step["signal"].as_u64().unwrap()).unwrap();
                code(self.sandbox(of).await?.signal(process.id(), signal).await)?;
            }
            "resize" => {
                let size = |side: &str| u16::try_from(step[side].as_u64().unwrap()).unwrap();
                let (columns, rows) = (size("columns"), size("rows"));
                let (.., input) = self.processes.get_mut(&name(step, "of")).unwrap();
                code(input.as_mut().unwrap().resize(columns, rows).await)?;
            }
            "reattach" => {
                let (of, process, _) = &self.processes[&name(step, "of")];
                let again = code(self.sandbox(of).await?.attach(process.id()).await)?;
                assert_eq!(again.run_id(), process.run_id());
                let of = of.clone();
                self.processes.insert(name(step, "as"), (of, again, None));
            }
            "receipt" => {
                let account = &self.accounts[&name(step, "of")];
                let receipt = account.receipt.as_ref().unwrap();
                let run = code(self.surface.run_of_receipt(receipt).await)?.unwrap();
                assert_eq!(run, account.run_id);
                let cut = &receipt[..receipt.len() - 9];
                assert!(code(self.surface.run_of_receipt(cut).await)?.is_err());
            }
            verb => return self.files_or_life(verb, step).await,
        }
        Ok(())
    }

    async fn files_or_life(&mut self, verb: &str, step: &Value) -> Ended {
        let path = step["path"].as_str().unwrap_or_default();
        let of = || name(step, "of");
        match verb {
            "write" => {
                let sandbox = self.sandbox(&name(step, "in")).await?;
                let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
                code(
                    sandbox
                        .make_directory(if parent.is_empty() { "/" } else { parent })
                        .await,
                )?;
                code(sandbox.write_file(path, content(step)).await)?;
            }
            "read" => {
                let bytes = code(self.sandbox(&name(step, "in")).await?.read_file(path).await)?;
                check_content(&bytes, &step["expect"]);
            }
            "list" => {
                let entries = code(
                    self.sandbox(&name(step, "in"))
                        .await?
                        .list_directory(path)
                        .await,
                )?;
                let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
                if step["expect"].is_object() {
                    assert_eq!(json!(names), step["expect"]["names"]);
                }
            }
            "stat" => {
                let status = code(self.sandbox(&name(step, "in")).await?.stat(path).await)?;
                let kind = match status.kind {
                    FileKind::File => "file",
                    FileKind::Directory => "directory",
                    FileKind::Symlink => "symlink",
                    _ => "other",
                };
                let mode = format!("{:o}", status.mode);
                let found = json!({ "kind": kind, "size": status.size, "mode": mode });
                for (name, expected) in step["expect"].as_object().into_iter().flatten() {
                    assert_eq!(&found[name], expected, "{step}");
                }
            }
            "exists" => {
                let found = self.sandbox(&name(step, "in")).await?.stat(path).await;
                assert_eq!(json!(found.is_ok()), step["expect"], "{step}");
            }
            "mkdir" => code(
                self.sandbox(&name(step, "in"))
                    .await?
                    .make_directory(path)
                    .await,
            )?,
            "remove" => {
                let recursive = step["recursive"] == true;
                code(
                    self.sandbox(&name(step, "in"))
                        .await?
                        .remove(path, recursive)
                        .await,
                )?;
            }
            "rename" => {
                let (from, to) = (name(step, "from_path"), name(step, "to_path"));
                code(
                    self.sandbox(&name(step, "in"))
                        .await?
                        .rename(from, to)
                        .await,
                )?;
            }
            "pause" => code(self.sandbox(&of()).await?.pause().await)?,
            "resume" => code(self.sandbox(&of()).await?.resume().await)?,
            "cold" => code(self.sandbox(&of()).await?.cold().await)?,
            "stop" => {
                let grace = Duration::from_secs(5);
                code(self.sandbox(&of()).await?.stop(grace).await)?;
            }
            "destroy" => {
                self.sandbox(&of()).await?;
                code(self.sandboxes.remove(&of()).unwrap().destroy().await)?;
            }
            "detach" => {
                self.sandbox(&of()).await?;
                let sandbox = self.sandboxes.remove(&of()).unwrap();
                code(sandbox.set_ttl(step["ttl_seconds"].as_u64()).await)?;
                code(sandbox.detach().await)?;
                let again = code(self.surface.connect(&self.known[&of()]).await)?;
                self.sandboxes.insert(of(), again);
            }
            "set_ttl" => code(
                self.sandbox(&of())
                    .await?
                    .set_ttl(step["seconds"].as_u64())
                    .await,
            )?,
            "state" => {
                let state = match self.surface.connect(&self.known[&of()]).await {
                    Ok(sandbox) => sandbox.record().state.to_string(),
                    Err(error) if error.code().as_str() == "NotFound" => "gone".to_owned(),
                    Err(error) => return Err(error.code().as_str().to_owned()),
                };
                assert_eq!(json!(state), step["expect"], "{step}");
            }
            "snapshot" => {
                let named = step["name"].as_str().map(str::parse).transpose();
                let options = SnapshotOptions {
                    name: invalid(named)?,
                    stream: false,
                };
                let record = code(self.sandbox(&of()).await?.snapshot(&options).await)?;
                self.snapshots
                    .insert(name(step, "as"), record.id.to_string());
            }
            "restore" => {
                let snapshot = self.snapshots[&name(step, "from")].clone();
                let restored = self.surface.restore(&snapshot).await;
                let restored = code(restored)?;
                self.keep(step, restored);
            }
            "fork" => {
                let names = step["as"].as_array().unwrap();
                let count = u32::try_from(names.len()).unwrap();
                let children = code(self.sandbox(&of()).await?.fork(count).await)?;
                for (name, child) in names.iter().zip(children) {
                    let child = code(child)?;
                    let name = name.as_str().unwrap().to_owned();
                    self.known.insert(name.clone(), child.id().to_string());
                    self.sandboxes.insert(name, child);
                }
            }
            "remove_snapshot" => {
                code(self.surface.remove_snapshot(&self.snapshots[&of()]).await)?;
            }
            "sleep" => {
                let seconds = Duration::from_secs_f64(step["seconds"].as_f64().unwrap());
                tokio::time::sleep(seconds).await;
            }
            verb => panic!("no step does `{verb}`"),
        }
        Ok(())
    }
}

async fn create(surface: &Surface, with: &Value) -> Result<Sandbox, String> {
    let mut builder = surface.builder();
    for (option, value) in with.as_object().into_iter().flatten() {
        let text = || value.as_str().unwrap().to_owned();
        builder = match option.as_str() {
            "image" => builder.image(text()),
            "name" => builder.name(invalid(text().parse())?),
            "user" => builder.user(text()),
            "working_directory" => builder.working_directory(text()),
            "ttl_seconds" => builder.ttl(Duration::from_secs(value.as_u64().unwrap())),
            "profile" => {
                let found = Profile::ALL
                    .into_iter()
                    .find(|profile| profile.as_str() == value);
                builder.profile(invalid(found.ok_or(()))?)
            }
            "environment" => {
                let variables = value.as_object().unwrap();
                variables.iter().fold(builder, |builder, (name, value)| {
                    builder.env(name, value.as_str().unwrap())
                })
            }
            "resources" => {
                let mut builder = builder;
                for (resource, value) in value.as_object().unwrap() {
                    let number = u32::try_from(value.as_u64().unwrap()).unwrap();
                    builder = match resource.as_str() {
                        "vcpus" => builder.vcpus(number),
                        "memory_mib" => builder.memory_mib(number),
                        "disk_mib" => builder.disk_mib(number),
                        resource => panic!("no resource is called `{resource}`"),
                    };
                }
                builder
            }
            option => panic!("no option is called `{option}`"),
        };
    }
    code(builder.create().await)
}

async fn wait(process: &mut Process) -> Result<Collected, String> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(event) = code(process.next_event().await)? {
        match event {
            ProcessEvent::Output { stream, bytes, .. } => match stream {
                OutputStream::Stdout => stdout.extend_from_slice(bytes),
                OutputStream::Stderr => stderr.extend_from_slice(bytes),
            },
            ProcessEvent::Gap { .. } => panic!("output was lost"),
            ProcessEvent::Exited(exit) => {
                return Ok(Collected {
                    exit_code: exit.exit_code().into(),
                    stdout,
                    stderr,
                    timed_out: Some(exit.timed_out),
                    truncated: Some(false),
                });
            }
        }
    }
    panic!("the end was not told")
}
