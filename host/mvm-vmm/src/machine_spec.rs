//! What a machine is made of.

use std::path::PathBuf;

/// A machine to boot. All paths are absolute and stay as they are while it
/// runs.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// An uncompressed Linux kernel (ELF with a PVH entry).
    pub kernel: PathBuf,
    /// Its initial file system (cpio); the agent is `/init` in it.
    pub initramfs: PathBuf,
    /// The root file system (EROFS): `/dev/vda`, read-only. Any number of
    /// machines may share it.
    pub root_image: PathBuf,
    /// A raw disk: `/dev/vdb`. At most one machine at a time may have it.
    pub disk: Option<PathBuf>,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub vcpus: u32,
    /// Words added to the kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// Where the kernel's console goes, when set (created or emptied). Slows
    /// the boot down; meant for finding out why one failed.
    pub boot_console: Option<PathBuf>,
}

/// A specification that cannot be booted.
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
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if !(MEMORY_MINIMUM..=MEMORY_MAXIMUM).contains(&self.memory_mib) {
            return Err(SpecError::Memory {
                mib: self.memory_mib,
            });
        }
        if !(1..=VCPUS_MAXIMUM).contains(&self.vcpus) {
            return Err(SpecError::Vcpus { vcpus: self.vcpus });
        }
        let paths = [&self.kernel, &self.initramfs, &self.root_image]
            .into_iter()
            .chain(&self.disk);
        for path in paths {
            if !path.is_absolute() {
                return Err(SpecError::RelativePath { path: path.clone() });
            }
            if path.to_str().is_none() {
                return Err(SpecError::PathNotUtf8 { path: path.clone() });
            }
        }
        for argument in &self.kernel_arguments {
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
