//! Warm workers: the first call of a function loads it, and leaves a snapshot of the sandbox; each
//! further call goes on from there, in a sandbox of its own.
//!
//! So a worker answers one call, whatever more its declaration allows, and none sees what another
//! left. No more answer at once than its pool has places.

use std::{
    error::Error as _,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_contract::{Coded as _, Digest, ErrorCode, SandboxName, canonical, workload::WarmWorkers};
use mvm_image::Progress;
use mvm_runtime::{RestoreOptions, Runtime, SnapshotOptions};

use super::{CallError, CallOptions, Callee, worker::Worker};
use crate::Build;

/// Raised whenever a snapshot of the same build would be another one.
const WARM_VERSION: u32 = 1;
/// The folder of locks, in that of a build.
const FOLDER: &str = "warm";
/// How often a place is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How much of a name tells people which function it is, in bytes.
const TOLD_BYTES: usize = 36;

/// A worker, and the place it takes of its pool until this is dropped.
pub(super) struct WarmWorker {
    pub(super) worker: Worker,
    pub(super) place: File,
}

/// Goes on from a function's snapshot, or makes it.
pub(super) async fn worker(
    runtime: &Runtime,
    build: &Build,
    callee: &Callee<'_>,
    warm: WarmWorkers,
    options: &CallOptions<'_>,
) -> Result<WarmWorker, CallError> {
    let name = snapshot_name(build, callee)?;
    let locks = build.directory.join(FOLDER);
    fs::create_dir_all(&locks).map_err(failed(&locks))?;
    let places = (0..warm.pool_size).map(|place| locks.join(format!("{name}.{place}")));
    let waiting = "waiting for a worker that is free";
    let place = one_of(&places.collect::<Vec<_>>(), waiting, options.progress).await?;
    let worker = match go_on(runtime, &name, callee, options).await? {
        Some(worker) => worker,
        None => {
            let making = [locks.join(format!("{name}.making"))];
            let waiting = "waiting for the worker to be made";
            let _making = one_of(&making, waiting, options.progress).await?;
            // Another call may have made it meanwhile.
            match go_on(runtime, &name, callee, options).await? {
                Some(worker) => worker,
                None => make(runtime, build, &name, callee, options).await?,
            }
        }
    };
    Ok(WarmWorker { worker, place })
}

/// A worker from the snapshot, where there is one that can be used. One that cannot is removed.
async fn go_on(
    runtime: &Runtime,
    name: &SandboxName,
    callee: &Callee<'_>,
    options: &CallOptions<'_>,
) -> Result<Option<Worker>, CallError> {
    let restore = RestoreOptions::default();
    let restored = runtime.restore(name.as_str(), &restore, options.progress);
    let useless = match restored.await {
        Ok(sandbox) => match Worker::take_up(sandbox, callee, options.timeout).await {
            Ok(worker) => return Ok(Some(worker)),
            Err(error @ CallError::NoWorker) => error,
            Err(error) => return Err(error),
        },
        Err(error) => match error.code() {
            ErrorCode::NotFound => return Ok(None),
            ErrorCode::SnapshotMismatch => CallError::Warm(error),
            _ => return Err(CallError::Warm(error)),
        },
    };
    let why = useless.source().map_or(useless.to_string(), <_>::to_string);
    let note = format!("`{name}` is made again: {why}");
    options.progress.note(&note);
    match runtime.remove_snapshot(name.as_str()) {
        Ok(_) => Ok(None),
        // Another call was faster.
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(CallError::Warm(error.into())),
    }
}

/// A worker made from the image, of which a snapshot is left.
async fn make(
    runtime: &Runtime,
    build: &Build,
    name: &SandboxName,
    callee: &Callee<'_>,
    options: &CallOptions<'_>,
) -> Result<Worker, CallError> {
    let (limit, progress) = (options.timeout, options.progress);
    let mut worker = Worker::make(runtime, build, callee, limit, progress).await?;
    if worker.is_loaded() {
        let snapshot = SnapshotOptions {
            name: Some(name.clone()),
            stream: false,
        };
        let taken = worker.sandbox.snapshot(&snapshot).await;
        worker.laps.lap("leave a snapshot");
        if let Err(error) = taken {
            // The call does not need it.
            let note = format!("`{name}` is not kept warm: {error}");
            progress.note(&note);
        }
    }
    Ok(worker)
}

/// What a function's snapshot is called, by all that went into it.
fn snapshot_name(build: &Build, callee: &Callee<'_>) -> Result<SandboxName, CallError> {
    let (app, entrypoint) = (&callee.app.name, &callee.function.name);
    let inputs = (WARM_VERSION, build.manifest_digest, app, entrypoint);
    let bytes = canonical::to_bytes(&inputs).map_err(CallError::Canonical)?;
    let told: String = format!("{app}-{entrypoint}")
        .chars()
        .map(|letter| match letter.to_ascii_lowercase() {
            letter if letter.is_ascii_alphanumeric() => letter,
            _ => '-',
        })
        .take(TOLD_BYTES)
        .collect();
    let digest = Digest::of(&bytes).hex();
    let name = format!("warm-{told}-{}", &digest[..16]);
    name.parse().map_err(CallError::WarmName)
}

/// Takes one of several locks, and says so where it has to wait.
async fn one_of(
    paths: &[PathBuf],
    waiting: &str,
    progress: &(dyn Progress + Sync),
) -> Result<File, CallError> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        files.push((path, File::create(path).map_err(failed(path))?));
    }
    let mut waits = false;
    loop {
        for (path, file) in &files {
            match file.try_lock() {
                Ok(()) => {
                    if waits {
                        progress.finish();
                    }
                    return file.try_clone().map_err(failed(path));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(path)(error)),
            }
        }
        if !waits {
            progress.stage(waiting, None);
            waits = true;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> CallError + use<> {
    let path = path.to_owned();
    move |source| CallError::Lock { path, source }
}

#[cfg(test)]
mod tests {
    use mvm_image::Silent;

    use super::*;

    #[tokio::test]
    async fn no_more_places_are_taken_than_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let places = [folder.path().join("0"), folder.path().join("1")];
        let first = one_of(&places, "", &Silent).await.unwrap();
        let _second = one_of(&places, "", &Silent).await.unwrap();
        let third = tokio::time::timeout(Duration::from_millis(50), one_of(&places, "", &Silent));
        assert!(third.await.is_err(), "both are taken");
        drop(first);
        let third = tokio::time::timeout(Duration::from_secs(60), one_of(&places, "", &Silent));
        assert!(third.await.is_ok(), "one is free again");
    }
}
