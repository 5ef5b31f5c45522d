//! Requests that are sent twice: `Idempotency-Key`.
//!
//! A file in the state directory, by the digest of the key, says which sandbox a key made. Its lock
//! is held while the sandbox is made, so that of two requests, also to two servers, one makes it and
//! the other gets it. A server that dies leaves a file that names a sandbox which is gone with it,
//! or none: then the next request makes one.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use axum::http::StatusCode;
use mvm_contract::{ErrorCode, SandboxId, SandboxSpec, plan::Profile};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{lease, problem::Problem, shapes::sandbox::Create, state::Api};

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_KEY: usize = 255;

/// What a key has made.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    /// Digest of the request.
    request: String,
    sandbox: SandboxId,
    /// Whether it belongs to itself already: before, it goes with its maker.
    given: bool,
}

/// Creates the sandbox of a key, or gives the one that it made.
pub(crate) async fn create(
    api: &Api,
    key: &[u8],
    request: &Create,
    spec: SandboxSpec,
    profile: Profile,
) -> Result<SandboxId, Problem> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        let detail = format!("`Idempotency-Key` is not of 1 to {LONGEST_KEY} bytes");
        return Err(Problem::invalid(detail));
    }
    let file = KeyFile {
        path: api
            .runtime
            .home()
            .root()
            .join("idempotency")
            .join(digest(key)),
        request: digest(&serde_json::to_vec(request).unwrap_or_default()),
    };
    let opening = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || file.lock().and_then(|lock| Ok((lock, file.read()?))))
    };
    let opened = opening
        .await
        .map_err(|_| Problem::invalid("the server is ending"))?;
    // Held until the sandbox is made.
    let (_lock, made) = opened.map_err(|error| failed(&error))?;
    if let Some(made) = made {
        if made.request != file.request {
            let detail = "this `Idempotency-Key` was used for another request";
            return Err(Problem::invalid(detail)
                .status(StatusCode::CONFLICT)
                .hint("use a new key"));
        }
        let is_there = api.runtime.connect(made.sandbox.as_str()).is_ok();
        match (is_there, made.given) {
            (true, _) => return Ok(made.sandbox),
            (false, true) => {
                let detail = "the sandbox that this `Idempotency-Key` made is gone";
                let problem = Problem::new(ErrorCode::SandboxUnavailable, detail);
                return Err(problem.hint("use a new key"));
            }
            (false, false) => {}
        }
    }
    let note = {
        let file = file.clone();
        move |sandbox: &mvm_runtime::Sandbox| {
            let written = file.write(sandbox.id(), false);
            written.map_err(|error| failed(&error))
        }
    };
    let id = lease::create_detached(api.clone(), spec, profile, note).await?;
    file.write(&id, true).map_err(|error| failed(&error))?;
    Ok(id)
}

fn failed(error: &io::Error) -> Problem {
    let code = ErrorCode::SandboxUnavailable;
    Problem::new(code, format!("the key's file cannot be used: {error}"))
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file of a key, and the request that it came with.
#[derive(Debug, Clone)]
struct KeyFile {
    path: PathBuf,
    request: String,
}

impl KeyFile {
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Waits until no other request has the key. Files of keys that are forgotten go.
    fn lock(&self) -> io::Result<File> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(self.folder())?;
        for entry in fs::read_dir(self.folder())?.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.map(|modified| SystemTime::now().duration_since(modified));
            if matches!(age, Ok(Ok(age)) if age > REMEMBERED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(self.path.with_extension("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    fn read(&self) -> io::Result<Option<Made>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces it, whole at any time, durably.
    fn write(&self, sandbox: &SandboxId, given: bool) -> io::Result<()> {
        let made = Made {
            request: self.request.clone(),
            sandbox: sandbox.clone(),
            given,
        };
        let mut file = tempfile::NamedTempFile::new_in(self.folder())?;
        file.write_all(&serde_json::to_vec(&made)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(self.folder())?.sync_all()
    }
}
