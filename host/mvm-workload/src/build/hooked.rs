//! Hooks that change an image before it is sealed: they run in a microVM of the unfinished image,
//! and what its root filesystem then is becomes the image.
//!
//! Every file gets one time, so that hooks which do the same give the same image.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use mvm_contract::{SandboxSpec, workload::App};
use mvm_image::compose::{self, Composed, Composition, LayerContent, LayerFile, LayerTree};
use mvm_runtime::{Command, OutputStream, ProcessEvent, Runtime, Sandbox};

use super::{BuildError, BuildOptions};
use crate::hook;

/// What is mounted in a guest, and so is no part of its image; the directories stay.
const MOUNTED: [&str; 4] = ["dev", "proc", "run", "sys"];
/// The root filesystem, as an archive whose bytes follow from it alone.
const ARCHIVE: [&str; 14] = [
    "tar",
    "--create",
    "--file=-",
    "--format=gnu",
    "--sort=name",
    "--numeric-owner",
    "--mtime=@1704067200",
    "--one-file-system",
    "--warning=no-xdev",
    "--exclude=./tmp/*",
    "--exclude=./var/tmp/*",
    // What a guest is called is no part of its image.
    "--exclude=./etc/hosts",
    "--exclude=./etc/machine-id",
    "--directory=/",
];

/// Runs the hooks on what was composed, and composes what they made of it.
pub(super) async fn run(
    runtime: &Runtime,
    app: &App,
    composition: &Composition<'_>,
    unfinished: &Composed,
    options: &BuildOptions<'_>,
) -> Result<Composed, BuildError> {
    let builds = runtime.home().builds();
    let spec = SandboxSpec {
        image: unfinished.source().to_string(),
        resources: app.resources,
        environment: hook::literals(&app.environment).collect(),
        ..SandboxSpec::default()
    };
    let archive = builds.join("hooked.tar");
    let sandbox = runtime.create(&spec, options.progress).await?;
    let made = in_sandbox(&sandbox, app, &archive).await;
    let ended = sandbox.destroy().await;
    let composed = made.and_then(|()| {
        ended.map_err(BuildError::End)?;
        let directory = |name: &&str| {
            let content = LayerContent::Directory;
            (
                (*name).to_owned(),
                LayerFile {
                    content,
                    mode: 0o755,
                },
            )
        };
        let files: LayerTree = MOUNTED.iter().map(directory).collect();
        let above = Composition {
            files: &files,
            ..*composition
        };
        let source = composition.base.to_string();
        runtime.with_images(&source, options.progress, |store, images| {
            Ok(compose::compose_on_archive(
                store, &archive, &above, &builds, images,
            )?)
        })
    });
    // The layout before the hooks is no build, and the archive is in the one after them.
    for left in [
        fs::remove_file(&archive),
        fs::remove_dir_all(&unfinished.directory),
    ] {
        if let Err(error) = left
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let path = builds.clone();
            return Err(BuildError::Write {
                path,
                source: error,
            });
        }
    }
    composed
}

async fn in_sandbox(sandbox: &Sandbox, app: &App, archive: &Path) -> Result<(), BuildError> {
    hook::run(sandbox, app, "before_build", &app.hooks.before_build).await?;
    let failed = |source| BuildError::Write {
        path: archive.to_owned(),
        source,
    };
    let command = Command::new(ARCHIVE.into_iter().chain(["."])).user("0");
    let mut process = sandbox.start(&command).await.map_err(BuildError::Archive)?;
    let mut file = BufWriter::with_capacity(1 << 20, File::create(archive).map_err(failed)?);
    let mut said = Vec::new();
    while let Some(event) = process.next_event().await.map_err(BuildError::Archive)? {
        match event {
            ProcessEvent::Output {
                stream: OutputStream::Stdout,
                bytes,
                ..
            } => {
                file.write_all(bytes).map_err(failed)?;
            }
            ProcessEvent::Output { bytes, .. } => {
                said.extend_from_slice(&bytes[..bytes.len().min(4096)])
            }
            ProcessEvent::Gap { .. } => {
                return Err(BuildError::ArchiveFailed {
                    tail: String::new(),
                });
            }
            ProcessEvent::Exited(exit) if exit.exit_code() == 0 => {
                let file = file
                    .into_inner()
                    .map_err(|error| failed(error.into_error()))?;
                return file.sync_all().map_err(failed);
            }
            ProcessEvent::Exited(_) => break,
        }
    }
    let tail = hook::tail(&said);
    Err(BuildError::ArchiveFailed { tail })
}
