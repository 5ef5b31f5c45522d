//! Preparing a host: kernel, initramfs, images made from Debian's archive, an empty disk.

use std::{fs::File, io, path::PathBuf};

use mvm_contract::{Coded, ErrorCode, Resources, spec::DEFAULT_IMAGE};
pub use mvm_image::debian::{RECIPES, Recipe, recipe};
use mvm_image::{
    Progress,
    boot::{self, BootArtifactsError},
    debian::{self, BuildLayoutError, FetchKernelError},
};
use serde::Serialize;

use crate::{CreateError, DiskError, Runtime, disk, launch};

/// The recipe of [`DEFAULT_IMAGE`].
const DEFAULT_RECIPE: &str = "python";
const KERNEL_ARCHIVE: &str = "kernel.tar";

/// What a prepared host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// The guest kernel's release.
    pub kernel: String,
    /// The default image.
    pub image: String,
    /// Digest of its root filesystem.
    pub image_digest: String,
    /// All images that were asked for, the default one first.
    pub images: Vec<String>,
    /// What executes guests: `kvm` or `tcg`.
    pub accelerator: String,
    /// Why that.
    pub accelerator_reason: String,
}

/// Why a host could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Another set-up cannot be waited for.
    #[error("failed to lock `{}`", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host cannot run microVMs.
    #[error("this host cannot run a microVM")]
    Host(#[from] mvm_vmm::DetectError),
    /// The kernel package cannot be fetched.
    #[error("failed to fetch the guest's kernel")]
    FetchKernel(#[from] FetchKernelError),
    /// Kernel and initramfs cannot be made.
    #[error("failed to prepare the guest's kernel and initramfs")]
    BootArtifacts(#[from] BootArtifactsError),
    /// An image cannot be built.
    #[error(transparent)]
    Layout(#[from] BuildLayoutError),
    /// The default image cannot be made ready.
    #[error(transparent)]
    Image(#[from] CreateError),
    /// The empty disk cannot be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Coded for SetupError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Lock { .. } => ErrorCode::SandboxUnavailable,
            Self::Host(_) => ErrorCode::BackendUnsupported,
            Self::FetchKernel(_) | Self::BootArtifacts(_) | Self::Layout(_) => {
                ErrorCode::BuildFailed
            }
            Self::Image(error) => error.code(),
            Self::Disk(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lock { .. } => None,
            Self::Host(error) => error.hint(),
            Self::FetchKernel(error) => error.hint(),
            Self::BootArtifacts(error) => error.hint(),
            Self::Layout(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Disk(error) => error.hint(),
        }
    }
}

impl Runtime {
    /// Prepares this host, making only what is missing; with `force`, everything anew. Set-ups
    /// that run at the same time wait for one another.
    ///
    /// Besides the default image, those of `recipes` are made.
    pub fn set_up(
        &self,
        recipes: &[&'static Recipe],
        force: bool,
        progress: &dyn Progress,
    ) -> Result<Prepared, SetupError> {
        let path = self.home.root().join("setup.lock");
        let lock = File::create(&path).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|source| SetupError::Lock { path, source })?;

        let host = mvm_vmm::Host::detect(&self.home.cache(), None)?;
        let kernel = self.set_up_kernel(force, progress)?;
        let default = debian::recipe(DEFAULT_RECIPE);
        let mut images = Vec::new();
        for recipe in default.into_iter().chain(recipes.iter().copied()) {
            let image = format!("debian:{}", recipe.name);
            if images.contains(&image) {
                continue;
            }
            let layout = self.home.layouts().join(recipe.name);
            if force || !layout.exists() {
                debian::build_layout(recipe, &layout, progress)?;
            }
            if image != DEFAULT_IMAGE {
                launch::materialize(self, &image, progress)?;
            }
            images.push(image);
        }
        let image = launch::materialize(self, DEFAULT_IMAGE, progress)?;
        disk::empty(&self.home, Resources::default().disk_mib)?;
        progress.finish();
        Ok(Prepared {
            kernel,
            image: DEFAULT_IMAGE.to_owned(),
            image_digest: image.digest.to_string(),
            images,
            accelerator: host.accelerator().accelerator.name().to_owned(),
            accelerator_reason: host.accelerator().reason.clone(),
        })
    }

    fn set_up_kernel(&self, force: bool, progress: &dyn Progress) -> Result<String, SetupError> {
        let boot = self.home.boot();
        if !force
            && let Ok(Some(artifacts)) = boot::current(&boot)
            && artifacts.verify().is_ok()
        {
            return Ok(artifacts.kernel_version);
        }
        let archive = boot.join(KERNEL_ARCHIVE);
        debian::fetch_kernel(&archive, progress)?;
        let artifacts = boot::prepare(&archive, &boot);
        let _ = std::fs::remove_file(&archive);
        Ok(artifacts?.kernel_version)
    }
}
