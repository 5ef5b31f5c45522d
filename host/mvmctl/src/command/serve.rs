//! `mvmctl serve`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_api::{Place, Server, Tls, Token};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};

use super::Context;
use crate::{arguments::Serve, failure::Failure, output};

pub(super) const SOCKET: &str = "api.sock";
/// What directories of private servers begin with.
const PREFIX: &str = "mvm-api-";
const YOUNG: Duration = Duration::from_secs(60);

pub(super) async fn serve(context: Context, options: Serve) -> Result<u8, Failure> {
    log(context.quiet || options.private);
    // A directory of its own goes with the server.
    let own = options.private.then(directory).transpose()?;
    let place = match (&own, options.listen, options.token_file) {
        (Some(folder), ..) => Place::Unix(folder.path().join(SOCKET)),
        (None, Some(address), Some(token)) => Place::Tcp {
            address,
            token: Token::read(&token)?,
            tls: match (options.certificate, options.key) {
                (Some(certificate), Some(key)) => Some(Tls::read(&certificate, &key)?),
                _ => None,
            },
        },
        _ => {
            let usual = || context.runtime.home().root().join(SOCKET);
            Place::Unix(options.socket.unwrap_or_else(usual))
        }
    };
    let told = match &place {
        Place::Unix(path) => serde_json::json!({ "socket": path }),
        Place::Tcp { .. } => serde_json::Value::Null,
    };
    let server = Server::bind(context.runtime, place).await?;
    let mut told = told;
    if let Some(address) = server.address() {
        told = serde_json::json!({ "address": address.to_string() });
    }
    told["version"] = env!("CARGO_PKG_VERSION").into();
    // Whoever is told may end it at once.
    let end = end(options.private);
    output::data(told)?;
    server.serve(end).await;
    Ok(0)
}

/// Returns when the server is to end: by a signal, or with the program that it is private to.
/// Signals are listened to from here on.
fn end(with_standard_input: bool) -> impl Future<Output = ()> {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            return;
        };
        let input = async {
            if !with_standard_input {
                return std::future::pending().await;
            }
            let mut input = tokio::io::stdin();
            let mut nothing = [0; 256];
            while matches!(input.read(&mut nothing).await, Ok(count) if count > 0) {}
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = input => {}
        }
    }
}

/// A directory that nobody else enters, removed with what it is told by.
pub(super) fn directory() -> Result<tempfile::TempDir, Failure> {
    let parent = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parent = parent.filter(|parent| parent.is_dir());
    let parent = parent.unwrap_or_else(std::env::temp_dir);
    clear_abandoned(&parent);
    let mut builder = tempfile::Builder::new();
    let made = builder.prefix(PREFIX).tempdir_in(&parent);
    made.map_err(|error| {
        let doing = format!("failed to make a directory in `{}`", parent.display());
        Failure::host_io(doing, &error)
    })
}

/// Removes the directories of servers that were killed.
fn clear_abandoned(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes());
        let age = entry.metadata().and_then(|metadata| metadata.modified());
        let age = age.map(|modified| modified.elapsed().unwrap_or_default());
        // A younger one may not listen yet.
        if is_ours && age.is_ok_and(|age| age > YOUNG) {
            let path = entry.path();
            let socket = path.join(SOCKET);
            if std::os::unix::net::UnixStream::connect(socket).is_err() {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

/// JSON lines on standard error: which route was asked, and how it ended.
fn log(only_warnings: bool) {
    let level = if only_warnings {
        tracing::Level::WARN
    } else {
        tracing::Level::INFO
    };
    tracing_subscriber::fmt()
        .json()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .init();
}
