//! What a machine is made of.

use std::path::{Path, PathBuf};

/// What a machine has, however it starts. All paths are absolute and stay as
/// they are while it runs.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// The root file system (EROFS): `/dev/vda`, read-only. Any number of
    /// machines may share it.
    pub root_image: PathBuf,
    /// A raw disk: `/dev/vdb`. At most one machine at a time may have it.
    pub disk: Option<PathBuf>,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub vcpus: u32,
}

/// Where a machine keeps its guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestMemory<'a> {
    /// Memory of QEMU's own. Such a machine can be saved as a stream only.
    Anonymous,
    /// A file that the guest writes through to: what forks are made over. It
    /// has the memory's size and is 0600.
    Shared(&'a Path),
    /// Copy-on-write over the file of a [`Shared`](GuestMemory::Shared) machine
    /// that has ended. What the guest changes is QEMU's own; where QEMU can (8.2
    /// and later), it opens the file for reading only.
    Private(&'a Path),
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn file(self) -> Option<&'a Path> {
        match self {
            GuestMemory::Anonymous => None,
            GuestMemory::Shared(path) | GuestMemory::Private(path) => Some(path),
        }
    }
}

/// What a machine boots.
#[derive(Debug, Clone)]
pub struct KernelSpec {
    /// An uncompressed Linux kernel (ELF with a PVH entry).
    pub kernel: PathBuf,
    /// Its initial file system (cpio); the agent is `/init` in it.
    pub initramfs: PathBuf,
    /// Words added to the kernel's command line.
    pub arguments: Vec<String>,
    /// Where the kernel's console goes, when set (created or emptied). Slows
    /// the boot down; meant for finding out why one failed.
    pub boot_console: Option<PathBuf>,
}

/// A specification of a machine that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Too little or too much memory.
    #[error("{mib} MiB of memory is not between {MEMORY_MINIMUM} and {MEMORY_MAXIMUM}")]
    Memory {
        /// What was asked for.
        mib: u32,
    },
    /// No or too many processors.
    #[error("{vcpus} virtual processors is not between 1 and {VCPUS_MAXIMUM}")]
    Vcpus {
        /// What was asked for.
        vcpus: u32,
    },
    /// A path is relative.
    #[error("`{path}` is not an absolute path")]
    RelativePath {
        /// The path.
        path: PathBuf,
    },
    /// QEMU takes its arguments as UTF-8.
    #[error("`{path}` is not valid UTF-8")]
    PathNotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A word for the kernel has a space, a quote or no printable character.
    #[error("kernel argument `{argument}` is not one plain word")]
    KernelArgument {
        /// The word, escaped.
        argument: String,
    },
    /// The kernel would cut the command line off.
    #[error("the kernel's command line has {length} bytes, more than {COMMAND_LINE_MAXIMUM}")]
    KernelCommandLine {
        /// Its length.
        length: usize,
    },
}

/// Smallest guest memory in MiB.
pub const MEMORY_MINIMUM: u32 = 64;
/// Largest guest memory in MiB.
pub const MEMORY_MAXIMUM: u32 = 1 << 20;
/// Most virtual processors.
pub const VCPUS_MAXIMUM: u32 = 64;
/// Longest kernel command line in bytes (x86: 2048 with the final zero).
pub const COMMAND_LINE_MAXIMUM: usize = 2047;

impl MachineSpec {
    /// Checks everything that can be told without opening a file.
    pub(crate) fn check(&self, memory: GuestMemory<'_>) -> Result<(), SpecError> {
        if !(MEMORY_MINIMUM..=MEMORY_MAXIMUM).contains(&self.memory_mib) {
            return Err(SpecError::Memory {
                mib: self.memory_mib,
            });
        }
        if !(1..=VCPUS_MAXIMUM).contains(&self.vcpus) {
            return Err(SpecError::Vcpus { vcpus: self.vcpus });
        }
        check_path(&self.root_image)?;
        self.disk.as_deref().map_or(Ok(()), check_path)?;
        memory.file().map_or(Ok(()), check_path)
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        u64::from(self.memory_mib) << 20
    }
}

impl KernelSpec {
    /// Checks everything that can be told without opening a file.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        check_path(&self.kernel)?;
        check_path(&self.initramfs)?;
        for argument in &self.arguments {
            let plain = !argument.is_empty()
                && argument
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'"');
            if !plain {
                let argument = argument.escape_debug().to_string();
                return Err(SpecError::KernelArgument { argument });
            }
        }
        Ok(())
    }
}

fn check_path(path: &Path) -> Result<(), SpecError> {
    let path = path.to_owned();
    if !path.is_absolute() {
        return Err(SpecError::RelativePath { path });
    }
    if path.to_str().is_none() {
        return Err(SpecError::PathNotUtf8 { path });
    }
    Ok(())
}
