//! The Python SDK, in a program of its own that is asked for one command at a time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::bench::{Bench, Outcome};

const INTERPRETER: &str = "target/test-python/bin/python";
const PACKAGE: &str = "sdk/python/src";

const PROGRAM: &str = "
import sys, time, mvm
sandbox = mvm.Sandbox.connect(sys.argv[1])
for line in sys.stdin:
    begun = time.perf_counter()
    sandbox.commands.run(['true'], check=True)
    print((time.perf_counter() - begun) * 1000, flush=True)
";

/// The program; it ends with this value.
pub(crate) struct PythonSdk {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl PythonSdk {
    /// Starts it in a sandbox; nothing where the Python of the tests is not installed.
    pub(crate) fn start(bench: &Bench, sandbox: &str) -> Outcome<Option<Self>> {
        if !Path::new(INTERPRETER).exists() {
            return Ok(None);
        }
        let mut child = Command::new(INTERPRETER)
            .args(["-c", PROGRAM, sandbox])
            .env("PYTHONPATH", PACKAGE)
            .env("MVM_MVMCTL", &bench.mvmctl)
            .env("MVM_HOME", bench.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("the program has no pipes".into());
        };
        Ok(Some(Self {
            child,
            input,
            output: BufReader::new(output),
        }))
    }

    /// Runs `true`, and tells how long that took by the program's own clock, milliseconds.
    pub(crate) fn run_true(&mut self) -> Outcome<f64> {
        self.input.write_all(b"go\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for PythonSdk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
