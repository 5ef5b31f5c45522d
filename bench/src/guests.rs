//! Sandboxes that several measurements make alike.

use mvm::{Command, ProcessEvent, SandboxSpec};
use mvm_image::Silent;
use mvm_runtime::Sandbox;

use crate::bench::{Bench, Outcome};

/// Fills 10 MB that do not compress, in place, so that no more than those are changed; says so, and
/// lives on.
const BUSY: &str = "
import time
held = bytearray(10_000_000)
noise = open('/dev/urandom', 'rb', buffering=0)
view = memoryview(held)
filled = 0
while filled < len(held):
    filled += noise.readinto(view[filled:])
print('filled', flush=True)
while True:
    time.sleep(60)
";

/// A sandbox by a fork, as the bench keeps spares or not.
pub(crate) async fn create(bench: &Bench) -> Outcome<Sandbox> {
    let spec = SandboxSpec::default();
    Ok(bench.runtime.create(&spec, &Silent).await?)
}

/// Whether it answers.
pub(crate) async fn answer(sandbox: &Sandbox) -> Outcome<()> {
    let result = sandbox.run(&Command::new(["true"])).await?;
    if result.success() {
        Ok(())
    } else {
        Err(format!("`true` exited with {}", result.exit_code()).into())
    }
}

/// Starts a Python process that holds 10 MB of noise, and leaves it running.
pub(crate) async fn hold_noise(sandbox: &Sandbox) -> Outcome<()> {
    let command = Command::new(["python3", "-c", BUSY]).detached();
    let mut process = sandbox.start(&command).await?;
    while let Some(event) = process.next_event().await? {
        match event {
            ProcessEvent::Output { bytes, .. } if bytes.starts_with(b"filled") => return Ok(()),
            ProcessEvent::Exited(exit) => return Err(format!("Python ended: {exit:?}").into()),
            _ => {}
        }
    }
    Err("Python said nothing".into())
}

/// Whether the Python process still lives.
pub(crate) async fn holds_noise(sandbox: &Sandbox) -> Outcome<()> {
    let processes = sandbox.processes().await?;
    let lives = processes
        .iter()
        .any(|process| process.exit.is_none() && process.arguments[0] == "python3");
    if lives {
        Ok(())
    } else {
        Err(format!("the Python process is gone: {processes:?}").into())
    }
}
