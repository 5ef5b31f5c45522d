//! Scenarios by the command line.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Child, ChildStdin, Stdio},
    time::Duration,
};

use mvm_vm_tests::{Bench, Run, finish};

use super::{Collected, Ended, Value, check_content, content, json};

pub(super) const LEFT_OUT: &[(&str, &str)] = &[
    (
        "network-is-refused-by-name",
        "what is not there yet has no option",
    ),
    (
        "terminal",
        "it joins the terminal it is typed in, which a test has none of",
    ),
];

/// A process that a step has started.
enum Started {
    /// Followed by this child.
    Joined(Child, Option<ChildStdin>),
    /// By its number.
    Detached,
}

struct Scenario<'a> {
    bench: &'a Bench,
    sandboxes: BTreeMap<String, String>,
    processes: BTreeMap<String, (String, u64, Started)>,
    snapshots: BTreeMap<String, String>,
    receipts: BTreeMap<String, (Value, std::path::PathBuf)>,
}

pub(super) fn run(bench: &Bench, steps: &[Value]) {
    let mut scenario = Scenario {
        bench,
        sandboxes: BTreeMap::new(),
        processes: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        receipts: BTreeMap::new(),
    };
    for step in steps {
        let ended = scenario.step(step);
        match (step["error"]["code"].as_str(), ended) {
            (None, Ok(())) => {}
            (None, Err(code)) => panic!("{step}: {code}"),
            (Some(expected), ended) => assert_eq!(ended, Err(expected.to_owned()), "{step}"),
        }
    }
    let _ = bench.run(["destroy", "--all"]);
}

/// What went well, or the code of what did not.
fn done(run: Run) -> Result<Run, String> {
    let error = serde_json::from_str::<Value>(&run.stderr).unwrap_or_default();
    match error["error"]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(run),
    }
}

fn name(step: &Value, field: &str) -> String {
    step[field]
        .as_str()
        .unwrap_or_else(|| panic!("no `{field}` in {step}"))
        .to_owned()
}

/// The options of a command, and the command.
fn manner(shape: &Value) -> (Vec<String>, Vec<String>) {
    let mut options = Vec::new();
    for (name, value) in shape["environment"].as_object().into_iter().flatten() {
        options.extend([
            "-e".to_owned(),
            format!("{name}={}", value.as_str().unwrap()),
        ]);
    }
    for (field, option) in [("working_directory", "--workdir"), ("user", "--user")] {
        if let Some(value) = shape[field].as_str() {
            options.extend([option.to_owned(), value.to_owned()]);
        }
    }
    for (field, option) in [("timeout_ms", "--timeout"), ("grace_ms", "--grace")] {
        if let Some(value) = shape[field].as_u64() {
            options.extend([option.to_owned(), format!("{value}ms")]);
        }
    }
    let command = match shape["argv"].as_array() {
        Some(argv) => argv
            .iter()
            .map(|argument| argument.as_str().unwrap().to_owned())
            .collect(),
        None => ["/bin/sh", "-c", shape["shell"].as_str().unwrap()]
            .map(str::to_owned)
            .to_vec(),
    };
    (options, command)
}

fn words<'a>(parts: &[&'a [String]], head: &[&'a str]) -> Vec<&'a str> {
    let rest = parts
        .iter()
        .flat_map(|part| part.iter().map(String::as_str));
    head.iter().copied().chain(rest).collect()
}

impl Scenario<'_> {
    fn id(&self, step: &Value, field: &str) -> &str {
        &self.sandboxes[&name(step, field)]
    }

    /// Runs a verb, with errors as JSON.
    fn verb(&self, arguments: &[&str]) -> Result<Run, String> {
        let run = self.bench.run(["--json"].iter().chain(arguments));
        done(run)
    }

    fn step(&mut self, step: &Value) -> Ended {
        match step["do"].as_str().unwrap() {
            "create" => {
                let id = self.create(&step["with"])?;
                self.sandboxes.insert(name(step, "as"), id);
            }
            "connect" => {
                let id = self.id(step, "of").to_owned();
                self.sandboxes.insert(name(step, "as"), id);
            }
            "run" => self.run(step)?,
            "start" => self.start(step)?,
            "send" => {
                let (.., started) = self.processes.get_mut(&name(step, "to")).unwrap();
                let Started::Joined(_, Some(input)) = started else {
                    panic!("{step}")
                };
                input
                    .write_all(step["text"].as_str().unwrap().as_bytes())
                    .unwrap();
                input.flush().unwrap();
            }
            "close_stdin" => {
                let (.., started) = self.processes.get_mut(&name(step, "of")).unwrap();
                let Started::Joined(_, input) = started else {
                    panic!("{step}")
                };
                drop(input.take());
            }
            "wait" => {
                let of = name(step, "of");
                let (sandbox, id, started) = self.processes.remove(&of).unwrap();
                // It can be attached to again.
                let ended = (sandbox.clone(), id, Started::Detached);
                self.processes.insert(of, ended);
                let run = match started {
                    Started::Joined(child, input) => {
                        drop(input);
                        finish(child)
                    }
                    Started::Detached => {
                        self.bench
                            .run(["exec", &sandbox, "--attach", &id.to_string()])
                    }
                };
                collected(run).check(&step["expect"]);
            }
            "kill" => {
                let (sandbox, id, _) = &self.processes[&name(step, "of")];
                let signal = step["signal"].to_string();
                self.verb(&["kill", sandbox, &id.to_string(), "--signal", &signal])?;
            }
            "reattach" => {
                let (sandbox, id, _) = &self.processes[&name(step, "of")];
                let started = (sandbox.clone(), *id, Started::Detached);
                self.processes.insert(name(step, "as"), started);
            }
            "receipt" => {
                let (result, path) = &self.receipts[&name(step, "of")];
                let path = path.to_str().unwrap();
                let verified = self.verb(&["receipt", "verify", path])?.json();
                assert_eq!(verified["run_id"], result["run_id"]);
                let bytes = std::fs::read(path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() - 9]).unwrap();
                assert!(self.verb(&["receipt", "verify", path]).is_err());
            }
            verb => return self.files_or_life(verb, step),
        }
        Ok(())
    }

    fn create(&self, with: &Value) -> Result<String, String> {
        let mut arguments = vec!["create".to_owned()];
        for (option, value) in with.as_object().into_iter().flatten() {
            let text = value.as_str().map(str::to_owned);
            match option.as_str() {
                "environment" => {
                    for (name, value) in value.as_object().unwrap() {
                        let value = value.as_str().unwrap();
                        arguments.extend(["-e".to_owned(), format!("{name}={value}")]);
                    }
                }
                "resources" => {
                    for (resource, value) in value.as_object().unwrap() {
                        let option = match resource.as_str() {
                            "vcpus" => "--cpus",
                            "memory_mib" => "--memory",
                            _ => "--disk",
                        };
                        arguments.extend([option.to_owned(), value.to_string()]);
                    }
                }
                "ttl_seconds" => arguments.extend(["--ttl".to_owned(), format!("{value}s")]),
                "working_directory" => arguments.extend(["--workdir".to_owned(), text.unwrap()]),
                option => arguments.extend([format!("--{option}"), text.unwrap()]),
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let created = self.verb(&arguments)?.json();
        Ok(created["id"].as_str().unwrap().to_owned())
    }

    fn run(&mut self, step: &Value) -> Ended {
        let shape = &step["command"];
        let (mut options, command) = manner(shape);
        let receipt = self
            .bench
            .path()
            .join(format!("receipt-{}", self.receipts.len()));
        if shape["receipt"] == true {
            options.extend(["--receipt".to_owned(), receipt.to_str().unwrap().to_owned()]);
        }
        let id = self.id(step, "in");
        let arguments = words(
            &[&options, &[id.to_owned(), "--".to_owned()], &command],
            &["--json", "exec"],
        )
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
        let run = match shape["stdin"].as_str() {
            Some(input) => self.bench.run_with_input(&arguments, input.as_bytes()),
            None => self.bench.run(&arguments),
        };
        let result = done(run)?.json();
        let bytes = |stream: &str| {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            match result[stream].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => {
                    let encoded = result[format!("{stream}_base64").as_str()]
                        .as_str()
                        .unwrap();
                    STANDARD.decode(encoded).unwrap()
                }
            }
        };
        let collected = Collected {
            exit_code: result["exit_code"].as_u64().unwrap(),
            stdout: bytes("stdout"),
            stderr: bytes("stderr"),
            timed_out: result["timed_out"].as_bool(),
            truncated: result["truncated"].as_bool(),
        };
        collected.check(&step["expect"]);
        if step["as"].is_string() {
            self.receipts.insert(name(step, "as"), (result, receipt));
        }
        Ok(())
    }

    fn start(&mut self, step: &Value) -> Ended {
        let shape = &step["command"];
        let (options, command) = manner(shape);
        let sandbox = self.id(step, "in").to_owned();
        let separator = ["--".to_owned()];
        let place = [sandbox.clone()];
        if shape["detached"] == true {
            let parts = [&options[..], &place, &separator, &command];
            let started = self.verb(&words(&parts, &["exec", "-d"]))?.json();
            let id = started["id"].as_u64().unwrap();
            self.processes
                .insert(name(step, "as"), (sandbox, id, Started::Detached));
            return Ok(());
        }
        let known = self.newest(&sandbox)?;
        let parts = [&options[..], &place, &separator, &command];
        let mut joined = self.bench.command(words(&parts, &["exec"]));
        if shape["stdin"] == true {
            joined.stdin(Stdio::piped());
        }
        let mut child = joined.spawn().unwrap();
        let input = child.stdin.take();
        let mut id = known;
        self.bench.eventually("the process has started", || {
            id = self.newest(&sandbox).unwrap();
            id > known
        });
        self.processes.insert(
            name(step, "as"),
            (sandbox, id, Started::Joined(child, input)),
        );
        Ok(())
    }

    /// The number of the process that was started last.
    fn newest(&self, sandbox: &str) -> Result<u64, String> {
        let processes = self.verb(&["ps", sandbox])?.json();
        let numbers = processes.as_array().unwrap().iter();
        Ok(numbers
            .filter_map(|process| process["id"].as_u64())
            .max()
            .unwrap_or(0))
    }

    fn files_or_life(&mut self, verb: &str, step: &Value) -> Ended {
        let path = step["path"].as_str().unwrap_or_default().to_owned();
        match verb {
            "write" => {
                let id = self.id(step, "in");
                let write = ["--json", "files", "write", "--parents", id, &path];
                done(self.bench.run_with_input(write, &content(step)))?;
            }
            "read" => {
                let read = self.verb(&["files", "cat", self.id(step, "in"), &path])?;
                check_content(&read.stdout, &step["expect"]);
            }
            "list" => {
                let listed = self
                    .verb(&["files", "ls", self.id(step, "in"), &path])?
                    .json();
                let names = listed
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|entry| entry["name"].clone());
                if step["expect"].is_object() {
                    assert_eq!(Value::Array(names.collect()), step["expect"]["names"]);
                }
            }
            "stat" => {
                let status = self
                    .verb(&["files", "stat", self.id(step, "in"), &path])?
                    .json();
                let mode = format!("{:o}", status["mode"].as_u64().unwrap());
                let found = json!({ "kind": status["kind"], "size": status["size"], "mode": mode });
                for (name, expected) in step["expect"].as_object().into_iter().flatten() {
                    assert_eq!(&found[name], expected, "{step}");
                }
            }
            "exists" => {
                let found = self.verb(&["files", "stat", self.id(step, "in"), &path]);
                assert_eq!(json!(found.is_ok()), step["expect"], "{step}");
            }
            "mkdir" => {
                self.verb(&["files", "mkdir", "--parents", self.id(step, "in"), &path])?;
            }
            "remove" => {
                let mut arguments = vec!["files", "rm", self.id(step, "in"), &path];
                if step["recursive"] == true {
                    arguments.push("--recursive");
                }
                self.verb(&arguments)?;
            }
            "rename" => {
                let (from, to) = (name(step, "from_path"), name(step, "to_path"));
                self.verb(&["files", "mv", self.id(step, "in"), &from, &to])?;
            }
            "pause" | "resume" | "cold" | "stop" | "destroy" => {
                self.verb(&[verb, self.id(step, "of")])?;
            }
            // What the command line creates belongs to itself already.
            "detach" => {
                let ttl = format!("{}s", step["ttl_seconds"]);
                self.verb(&["ttl", self.id(step, "of"), &ttl])?;
            }
            "set_ttl" => {
                let ttl = match step["seconds"].as_u64() {
                    Some(seconds) => format!("{seconds}s"),
                    None => "none".to_owned(),
                };
                self.verb(&["ttl", self.id(step, "of"), &ttl])?;
            }
            "state" => {
                let state = match self.verb(&["inspect", self.id(step, "of")]) {
                    Ok(run) => run.json()["state"].clone(),
                    Err(code) if code == "NotFound" => json!("gone"),
                    Err(code) => return Err(code),
                };
                assert_eq!(state, step["expect"], "{step}");
            }
            "snapshot" => {
                let mut arguments = vec!["snapshot", "create", self.id(step, "of")];
                if let Some(named) = step["name"].as_str() {
                    arguments.extend(["--name", named]);
                }
                let record = self.verb(&arguments)?.json();
                let id = record["id"].as_str().unwrap().to_owned();
                self.snapshots.insert(name(step, "as"), id);
            }
            "restore" => {
                let restored = self.verb(&["restore", &self.snapshots[&name(step, "from")]])?;
                let id = restored.json()["id"].as_str().unwrap().to_owned();
                self.sandboxes.insert(name(step, "as"), id);
            }
            "fork" => {
                let names = step["as"].as_array().unwrap();
                let children = self.bench.fork(self.id(step, "of"), names.len() as u32);
                for (name, child) in names.iter().zip(children) {
                    self.sandboxes
                        .insert(name.as_str().unwrap().to_owned(), child);
                }
            }
            "remove_snapshot" => {
                self.verb(&["snapshot", "remove", &self.snapshots[&name(step, "of")]])?;
            }
            "sleep" => {
                let seconds = step["seconds"].as_f64().unwrap();
                std::thread::sleep(Duration::from_secs_f64(seconds));
            }
            verb => panic!("no step does `{verb}`"),
        }
        Ok(())
    }
}

fn collected(run: Run) -> Collected {
    Collected {
        exit_code: u64::try_from(run.code).unwrap(),
        stdout: run.stdout,
        stderr: run.stderr.into_bytes(),
        timed_out: None,
        truncated: None,
    }
}
