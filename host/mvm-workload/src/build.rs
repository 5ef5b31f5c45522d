//! Building: base image, source, files and hooks to a pinned image with its provenance.
//!
//! What is built is an OCI layout below `$MVM_HOME/builds`, named after its manifest. The same
//! workload, source and base give the same manifest in every directory and on every host; what was
//! built of the same inputs before is found again by a key over them.

mod error;
mod hooked;
mod javascript;
mod layer;
mod provenance;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use mvm_contract::{
    Digest, SandboxSpec, canonical,
    workload::{App, Entrypoint, Image, SOURCE_DIRECTORY, Workload},
};
use mvm_image::{
    ImageSource, Progress,
    compose::{self, Composition, LayerContent, LayerTree},
    logical::{self, Catalog},
    nix::{Flake, NixReference},
};
use mvm_runtime::{Runtime, durable};
use serde::{Deserialize, Serialize};

pub use error::BuildError;

use crate::{enforced, hook};

/// Raised whenever the same inputs would give another image than before.
const BUILD_VERSION: u32 = 1;
/// Keys of what was built, each a file that names a manifest.
const KEYS: &str = "keys";
const LOCK: &str = "lock";
const WORKLOAD: &str = "workload.json";
const PROVENANCE: &str = "provenance.json";
const PLAN_TEMPLATE: &str = "plan-template.json";

/// What a build needs besides a workload.
#[derive(Clone, Copy)]
pub struct BuildOptions<'a> {
    /// The directory of the declaration: sources and relative image paths lie below it.
    pub declared_in: &'a Path,
    /// Who is told how far the build is.
    pub progress: &'a (dyn Progress + Sync),
}

/// An app's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The app.
    pub app: String,
    /// Digest of the workload's canonical bytes.
    pub workload_digest: Digest,
    /// The image, pinned: what a sandbox is created from.
    pub image: String,
    /// Digest of its manifest.
    pub manifest_digest: Digest,
    /// Digest of its root filesystem.
    pub image_digest: Digest,
    /// Where the layout, the plan template and the provenance are.
    pub directory: PathBuf,
    /// Whether the same had been built before.
    pub reused: bool,
}

/// What every launch of an entrypoint uses, without what makes a plan one of a time and a host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanTemplate {
    workload_digest: Digest,
    image_digest: Digest,
    entrypoint: String,
    spec: SandboxSpec,
}

/// Builds the image of an app, or finds it built.
///
/// # Errors
///
/// [`BuildError`] names the step and the file; nothing unfinished stays.
pub async fn build(
    runtime: &Runtime,
    workload: &Workload,
    app: &App,
    options: &BuildOptions<'_>,
) -> Result<Build, BuildError> {
    enforced::check(workload, app)?;
    let workload_digest = workload.digest().map_err(BuildError::Canonical)?;
    let base = base_image(runtime, &app.image, options.declared_in)?;
    let named = base.to_string();
    let progress = options.progress;
    let base_manifest = runtime.with_images(&named, progress, |store, images| {
        Ok::<_, BuildError>(compose::manifest_of(store, &base, images)?)
    })?;
    let files = layer::of(workload, app, options.declared_in)?;
    let key = key(workload_digest, &app.name, base_manifest, &files)?;

    let builds = runtime.home().builds();
    let _building = lock(&builds)?;
    let known = builds.join(KEYS).join(key.hex());
    let found = read_key(&known)?.filter(|manifest| {
        let layout = builds.join(manifest.hex());
        layout.join(PROVENANCE).is_file()
    });
    let (manifest, layer) = match found {
        Some(manifest) => (manifest, None),
        None => {
            let composition = composition(&base, &files, app);
            let mut composed = runtime.with_images(&named, progress, |store, images| {
                Ok::<_, BuildError>(compose::compose(store, &composition, &builds, images)?)
            })?;
            let layer = composed.layer;
            if !app.hooks.before_build.is_empty() {
                composed = hooked::run(runtime, app, &composition, &composed, options).await?;
            }
            (composed.manifest, Some(layer))
        }
    };
    let directory = builds.join(manifest.hex());
    let source = ImageSource::OciLayout {
        directory: directory.clone(),
        reference: Some(format!("@{manifest}")),
    };
    let image = source.to_string();
    let materialized = runtime.prepare_image(&image, options.progress)?;
    let built = Build {
        app: app.name.clone(),
        workload_digest,
        image,
        manifest_digest: manifest,
        image_digest: materialized.digest,
        directory,
        reused: layer.is_none(),
    };
    if let Some(layer) = layer {
        let inputs = provenance::Inputs {
            app: &app.name,
            workload: workload_digest,
            base: (&base.to_string(), base_manifest),
            layer,
        };
        keep(runtime, workload, app, &built, &inputs)?;
        let path = known;
        durable::replace(&path, manifest.hex().as_bytes())
            .map_err(|source| BuildError::Write { path, source })?;
    }
    Ok(built)
}

/// What is put together of an app.
fn composition<'a>(base: &'a ImageSource, files: &'a LayerTree, app: &'a App) -> Composition<'a> {
    Composition {
        base,
        files,
        working_directory: app.source.is_some().then_some(SOURCE_DIRECTORY),
        command: app.primary().and_then(|primary| match primary {
            Entrypoint::Command(command) => Some(command.command.as_slice()),
            Entrypoint::Function(_) => None,
        }),
    }
}

/// What a launch of an entrypoint asks of the runtime.
pub(crate) fn spec(build: &Build, app: &App, entrypoint: &Entrypoint) -> SandboxSpec {
    let environments = [&app.environment, entrypoint.environment()];
    let directory = hook::directory(app, entrypoint.working_directory());
    SandboxSpec {
        image: build.image.clone(),
        resources: app.resources,
        environment: environments.into_iter().flat_map(hook::literals).collect(),
        working_directory: directory.map(str::to_owned),
        ..SandboxSpec::default()
    }
}

/// Puts the documents beside the layout; the provenance last, which says that all is there.
fn keep(
    runtime: &Runtime,
    workload: &Workload,
    app: &App,
    built: &Build,
    inputs: &provenance::Inputs<'_>,
) -> Result<(), BuildError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = built.directory.join(name);
        durable::replace(&path, bytes).map_err(|source| BuildError::Write { path, source })
    };
    write(WORKLOAD, &workload.write().map_err(BuildError::Canonical)?)?;
    if let Some(primary) = app.primary() {
        let template = PlanTemplate {
            workload_digest: built.workload_digest,
            image_digest: built.image_digest,
            entrypoint: primary.name().to_owned(),
            spec: spec(built, app, primary),
        };
        let bytes = canonical::to_bytes(&template).map_err(BuildError::Canonical)?;
        write(PLAN_TEMPLATE, &bytes)?;
    }
    let signer = mvm_runtime::keys::host_signer(runtime.home())?;
    let sealed = provenance::seal(inputs, built, &signer).map_err(BuildError::Canonical)?;
    write(PROVENANCE, &sealed)
}

/// The image that is meant, by the catalog where it is a logical one; a relative path is one below
/// the declaration's directory.
fn base_image(
    runtime: &Runtime,
    image: &Image,
    declared_in: &Path,
) -> Result<ImageSource, BuildError> {
    let catalog = Catalog::load(runtime.home().root(), Some(declared_in))?;
    let mut source = logical::resolve(&catalog, image)?;
    match &mut source {
        ImageSource::OciLayout {
            directory: path, ..
        }
        | ImageSource::OciArchive { file: path, .. } => {
            *path = declared_in.join(&*path);
        }
        ImageSource::Nix(NixReference {
            flake: Flake::Directory(path),
            ..
        }) => *path = declared_in.join(&*path),
        ImageSource::Debian { .. } | ImageSource::Registry(_) | ImageSource::Nix(_) => {}
    }
    Ok(source)
}

/// Names what is built by all that goes into it.
fn key(workload: Digest, app: &str, base: Digest, files: &LayerTree) -> Result<Digest, BuildError> {
    let files: Vec<(&str, u32, String)> = files
        .iter()
        .map(|(path, file)| {
            let content = match &file.content {
                LayerContent::Bytes(bytes) => Digest::of(bytes).to_string(),
                LayerContent::Host { digest, .. } => digest.to_string(),
                LayerContent::Symlink(target) => format!("link:{target}"),
                LayerContent::Directory => "directory".to_owned(),
            };
            (path.as_str(), file.mode, content)
        })
        .collect();
    let inputs = (BUILD_VERSION, workload, app, base, files);
    let bytes = canonical::to_bytes(&inputs).map_err(BuildError::Canonical)?;
    Ok(Digest::of(&bytes))
}

fn read_key(path: &Path) -> Result<Option<Digest>, BuildError> {
    match fs::read_to_string(path) {
        // What cannot be one is built again.
        Ok(text) => Ok(format!("sha256:{}", text.trim()).parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BuildError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// One build at a time; what builds that died left is removed.
fn lock(builds: &Path) -> Result<File, BuildError> {
    let failed = |source| BuildError::Write {
        path: builds.to_owned(),
        source,
    };
    fs::create_dir_all(builds.join(KEYS)).map_err(failed)?;
    let lock = File::create(builds.join(LOCK)).map_err(failed)?;
    lock.lock().map_err(failed)?;
    compose::remove_unfinished(builds);
    Ok(lock)
}
