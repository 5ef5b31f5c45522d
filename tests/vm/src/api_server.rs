//! `mvmctl serve` over a bench.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use serde_json::Value;

use crate::Bench;

/// A server; it is killed when it is dropped.
pub struct ApiServer {
    child: Child,
    url: String,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ApiServer {
    /// A server that listens on a Unix socket of the bench.
    pub fn on_socket(bench: &Bench) -> Self {
        let path = bench.path().join("api.sock");
        let path = path.to_str().unwrap();
        let (child, _) = start(bench, &["--socket", path]);
        let url = format!("unix://{path}");
        Self { child, url }
    }

    /// A server that listens on a port of this machine, with TLS.
    pub fn with_tls(bench: &Bench, token: &Path, certificate: &Path, key: &Path) -> Self {
        let mut arguments = vec!["--listen", "127.0.0.1:0"];
        let files = [
            ("--token-file", token),
            ("--certificate", certificate),
            ("--key", key),
        ];
        for (option, path) in files {
            arguments.extend([option, path.to_str().unwrap()]);
        }
        let (child, told) = start(bench, &arguments);
        let url = format!("https://{}", told["address"].as_str().unwrap());
        Self { child, url }
    }

    /// What clients know it by.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Starts a server and gives what it says when it listens.
fn start(bench: &Bench, arguments: &[&str]) -> (Child, Value) {
    let mut command = bench.command(["serve"].iter().chain(arguments));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    told.read_line(&mut line).unwrap();
    let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    (child, told)
}
