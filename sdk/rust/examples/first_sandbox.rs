//! A first sandbox: run a command, move files, watch output come.

use mvm::{Check as _, Command, OutputStream, ProcessEvent, Sandbox};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sandbox = Sandbox::builder()
        .memory_mib(256)
        .env("GREETING", "hello")
        .create()
        .await?;

    let result = sandbox
        .run(&Command::new(["python3", "-c", "print(6*7)"]))
        .await?
        .check()?;
    assert_eq!(result.stdout, b"42\n");

    sandbox
        .write_file(
            "/srv/program.py",
            "import os; print(os.environ['GREETING'])",
        )
        .await?;
    let mut process = sandbox
        .start(&Command::new(["python3", "/srv/program.py"]))
        .await?;
    let mut seen = Vec::new();
    while let Some(event) = process.next_event().await? {
        match event {
            ProcessEvent::Output {
                stream: OutputStream::Stdout,
                bytes,
                ..
            } => {
                seen.extend_from_slice(bytes);
            }
            ProcessEvent::Exited(exit) => assert_eq!(exit.exit_code(), 0),
            _ => {}
        }
    }
    assert_eq!(seen, b"hello\n");

    sandbox.destroy().await?;
    Ok(())
}
