//! What a guest starts from: an uncompressed kernel and an initramfs with the agent in it.
//!
//! A directory holds them under names that carry their digests, and `boot.json` names the current
//! ones. A file, once visible, never changes, so a hypervisor that is starting is never disturbed;
//! the record is replaced in one step, so a process may die anywhere. Any number of processes may
//! use a directory at once.

mod agent;
mod initramfs;
mod kernel;
mod modules;
mod package;
mod record;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use self::agent::AGENT;
pub use self::initramfs::FileTooLarge;
pub use self::kernel::{KernelError, extract_vmlinux};
pub use self::modules::ModulesError;
use self::package::KernelPackage;
pub use self::package::KernelPackageError;
pub use self::record::RecordError;
use self::record::{Kind, Record, Stored};
use crate::Digest;
use crate::atomic_file::{self, WriteFileError};

const LOCK: &str = "boot.lock";

/// A kernel and an initramfs that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootArtifacts {
    /// The uncompressed kernel: an x86-64 ELF file with a PVH entry point.
    pub kernel: PathBuf,
    /// The uncompressed initramfs.
    pub initramfs: PathBuf,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_version: String,
    /// Digest of the kernel file.
    pub kernel_digest: Digest,
    /// Digest of the initramfs file.
    pub initramfs_digest: Digest,
    /// Digest of the agent in the initramfs.
    pub agent_digest: Digest,
}

/// Why boot artifacts could not be made or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootArtifactsError {
    /// The directory cannot be made.
    #[error("cannot create the directory `{path}`")]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The lock that writers take cannot be taken.
    #[error("cannot lock `{path}`")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The kernel package is not usable.
    #[error(transparent)]
    Package(#[from] KernelPackageError),
    /// The package's kernel cannot be started.
    #[error("cannot use kernel {version}")]
    Kernel {
        /// The kernel's release.
        version: String,
        /// The cause.
        #[source]
        source: KernelError,
    },
    /// The package's modules cannot be used.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// The initramfs cannot be made.
    #[error("cannot make the initramfs")]
    Initramfs(#[from] FileTooLarge),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteFileError),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A recorded file cannot be read.
    #[error("cannot read the boot artifact `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A recorded file is not what was recorded.
    #[error("the boot artifact `{path}` has changed since it was made")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl BootArtifactsError {
    /// The way out, where the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kernel { source, .. } => source.hint(),
            Self::Changed { .. } | Self::Record(_) | Self::Read { .. } => {
                Some("run `mvmctl setup` to make it again".into())
            }
            _ => None,
        }
    }
}

/// Makes the boot artifacts in the directory `out` from a kernel package: a tar archive with
/// `boot/vmlinuz-VERSION` and `lib/modules/VERSION`. They become the current ones, and what they
/// supersede is removed. The package is not needed afterwards.
///
/// # Errors
///
/// Names the part of the package that cannot be used, or the file that cannot be written. The
/// artifacts that were current stay so.
pub fn prepare(kernel_tar: &Path, out: &Path) -> Result<BootArtifacts, BootArtifactsError> {
    let package = KernelPackage::open(kernel_tar)?;
    let kernel =
        extract_vmlinux(&package.read_kernel()?).map_err(|source| BootArtifactsError::Kernel {
            version: package.version.clone(),
            source,
        })?;
    let modules = initramfs::modules_archive(&modules::load_order(&package)?)?;

    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(out)
        .map_err(|source| BootArtifactsError::CreateDirectory {
            path: out.into(),
            source,
        })?;
    let _lock = lock(out)?;
    let record = Record {
        kernel_version: package.version,
        kernel: Stored::write(out, Kind::Kernel, &kernel)?,
        modules: Stored::write(out, Kind::Modules, &modules)?,
        initramfs: write_initramfs(out, &modules)?,
        agent_digest: Digest::of(AGENT),
    };
    record.publish(out)?;
    record.remove_superseded(out);
    Ok(record.artifacts(out))
}

/// Returns the current boot artifacts of the directory `out`, `None` before the first
/// [`prepare`]. An initramfs made by another version of this program is replaced by one with the
/// agent of this version.
///
/// # Errors
///
/// Names the recorded file that is missing or changed. Kernel and initramfs are compared by size;
/// use [`BootArtifacts::verify`] to compare their digests.
pub fn current(out: &Path) -> Result<Option<BootArtifacts>, BootArtifactsError> {
    let Some(record) = Record::read(out)? else {
        return Ok(None);
    };
    let record = if record.agent_digest == Digest::of(AGENT) {
        record
    } else {
        replace_agent(out)?
    };
    record.kernel.check_size(out)?;
    record.initramfs.check_size(out)?;
    Ok(Some(record.artifacts(out)))
}

impl BootArtifacts {
    /// Reads both files and compares their digests with the recorded ones.
    ///
    /// # Errors
    ///
    /// Names the file that is missing or changed.
    pub fn verify(&self) -> Result<(), BootArtifactsError> {
        for (path, digest) in [
            (&self.kernel, &self.kernel_digest),
            (&self.initramfs, &self.initramfs_digest),
        ] {
            let bytes = fs::read(path).map_err(|source| BootArtifactsError::Read {
                path: path.clone(),
                source,
            })?;
            if Digest::of(&bytes) != *digest {
                return Err(BootArtifactsError::Changed { path: path.clone() });
            }
        }
        Ok(())
    }
}

/// The initramfs that was current stays on disk: another version of this program may be about to
/// start a guest from it. The next [`prepare`] removes it.
fn replace_agent(out: &Path) -> Result<Record, BootArtifactsError> {
    let _lock = lock(out)?;
    // Read again: another process may have prepared a kernel meanwhile.
    let record = Record::read(out)?.ok_or_else(|| RecordError::vanished(out))?;
    let modules = record.modules.read_verified(out)?;
    let record = Record {
        initramfs: write_initramfs(out, &modules)?,
        agent_digest: Digest::of(AGENT),
        ..record
    };
    record.publish(out)?;
    Ok(record)
}

fn write_initramfs(out: &Path, modules: &[u8]) -> Result<Stored, BootArtifactsError> {
    let mut initramfs = initramfs::agent_archive(AGENT)?;
    initramfs.extend_from_slice(modules);
    Ok(Stored::write(out, Kind::Initramfs, &initramfs)?)
}

/// Keeps other writers out until the returned file is closed, and removes what dead ones left.
fn lock(out: &Path) -> Result<File, BootArtifactsError> {
    let path = out.join(LOCK);
    let failed = |source| BootArtifactsError::Lock {
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    atomic_file::remove_abandoned(out);
    Ok(file)
}
