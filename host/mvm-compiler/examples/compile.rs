//! Compiles the files it is given and prints what came of it.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use mvm_compiler::{SourceFile, compile, render};

fn main() -> Result<(), std::io::Error> {
    let mut files = Vec::new();
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        files.push(SourceFile { path, text });
    }
    let compiled = compile(&files);
    print!("{}", render::text(&files, &compiled.diagnostics, false));
    if let Some(workload) = compiled.workload {
        println!("{}", serde_json::to_string_pretty(&workload)?);
    }
    Ok(())
}
