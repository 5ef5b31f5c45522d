//! Which kernel modules a guest loads before it has a root filesystem, and in which order.
//!
//! The order is computed from what each module says about itself (`depends=` and `softdep=` in
//! its `.modinfo` section) and not from `modules.dep`: that file is made by `depmod` when a
//! package is installed, and here the package is only unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};

use super::package::{KernelPackage, KernelPackageError};

/// What the guest cannot start without: its bus, its disks, its channel, its filesystems.
const REQUIRED: [&str; 6] = [
    "virtio_mmio",
    "virtio_blk",
    "virtio_console",
    "erofs",
    "overlay",
    "ext4",
];

/// What the modules above ask the kernel for by an alias, which needs `modprobe` to resolve and
/// is not there so early. Loaded first where the kernel has it as a module.
const FIRST_IF_PRESENT: [&str; 1] = ["crc32c_generic"];

/// Largest decompressed module, in bytes.
const MAX_MODULE: u64 = 64 << 20;
/// Longest chain of dependencies that is followed.
const MAX_DEPTH: usize = 32;

/// Why the modules of a kernel package cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModulesError {
    /// A file of the package cannot be read.
    #[error("cannot read the modules of the kernel package")]
    Package(#[from] KernelPackageError),
    /// The guest needs a module which the kernel has neither built in nor beside it.
    #[error("kernel {version} has no module `{module}`{}", because_of(.needed_by))]
    Missing {
        /// The kernel's release.
        version: String,
        /// The module.
        module: String,
        /// The module that depends on it; `None` when the guest itself does.
        needed_by: Option<String>,
    },
    /// Modules depend on each other in a circle or too deeply to be true.
    #[error("the dependencies of module `{module}` have no end")]
    EndlessDependencies {
        /// The module where following them stopped.
        module: String,
    },
    /// A compressed module does not decompress.
    #[error("cannot decompress module `{file}`")]
    Decompress {
        /// Path below `lib/modules/VERSION`.
        file: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A module decompresses to more than a module can be.
    #[error("module `{file}` exceeds {limit} bytes")]
    TooLarge {
        /// Path below `lib/modules/VERSION`.
        file: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file is not an ELF object with module information.
    #[error("`{file}` is not a kernel module")]
    NotAModule {
        /// Path below `lib/modules/VERSION`.
        file: String,
        /// What the reader said.
        #[source]
        source: object::read::Error,
    },
    /// The module was built for another kernel, which would refuse it.
    #[error("module `{file}` is for kernel `{found}`, not `{version}`")]
    OtherKernel {
        /// Path below `lib/modules/VERSION`.
        file: String,
        /// The release in the module.
        found: String,
        /// The release of the package's kernel.
        version: String,
    },
}

fn because_of(module: &Option<String>) -> String {
    module
        .as_ref()
        .map(|module| format!(", needed by `{module}`"))
        .unwrap_or_default()
}

/// One module, ready for `finit_module`.
#[derive(Debug)]
pub(crate) struct Module {
    /// Name as the kernel spells it, with underscores.
    pub(crate) name: String,
    /// The uncompressed ELF object.
    pub(crate) bytes: Vec<u8>,
}

/// Returns the modules the guest loads, each after everything it depends on. Modules that are
/// built into the kernel are left out. The order depends on nothing but the package.
pub(crate) fn load_order(package: &KernelPackage) -> Result<Vec<Module>, ModulesError> {
    let mut files = BTreeMap::new();
    for file in package.module_files() {
        if let Some(name) = module_name(file) {
            files.insert(name, file);
        }
    }
    let builtin = package
        .read_module_file("modules.builtin")?
        .unwrap_or_default();
    let builtin = String::from_utf8_lossy(&builtin)
        .lines()
        .filter_map(module_name)
        .collect();
    let mut order = LoadOrder {
        package,
        files,
        builtin,
        seen: BTreeSet::new(),
        modules: Vec::new(),
    };
    for name in FIRST_IF_PRESENT {
        order.add_if_present(name, 0)?;
    }
    for name in REQUIRED {
        order.add(name, None, 0)?;
    }
    Ok(order.modules)
}

struct LoadOrder<'a> {
    package: &'a KernelPackage,
    files: BTreeMap<String, &'a str>,
    builtin: BTreeSet<String>,
    seen: BTreeSet<String>,
    modules: Vec<Module>,
}

impl LoadOrder<'_> {
    fn add_if_present(&mut self, name: &str, depth: usize) -> Result<(), ModulesError> {
        if self.files.contains_key(name) {
            self.add(name, None, depth)
        } else {
            Ok(())
        }
    }

    fn add(
        &mut self,
        name: &str,
        needed_by: Option<&str>,
        depth: usize,
    ) -> Result<(), ModulesError> {
        if self.builtin.contains(name) || self.modules.iter().any(|module| module.name == name) {
            return Ok(());
        }
        // Seen but not yet in the list: one of its own dependencies leads back to it.
        if depth > MAX_DEPTH || !self.seen.insert(name.to_owned()) {
            return Err(ModulesError::EndlessDependencies {
                module: name.into(),
            });
        }
        let missing = || ModulesError::Missing {
            version: self.package.version.clone(),
            module: name.into(),
            needed_by: needed_by.map(str::to_owned),
        };
        let file = *self.files.get(name).ok_or_else(missing)?;
        let packed = self.package.read_module_file(file)?.ok_or_else(missing)?;
        let bytes = decompress(file, packed)?;
        let about = ModuleInfo::read(file, &bytes, &self.package.version)?;
        for dependency in &about.soft_dependencies {
            self.add_if_present(dependency, depth + 1)?;
        }
        for dependency in &about.dependencies {
            self.add(dependency, Some(name), depth + 1)?;
        }
        self.modules.push(Module {
            name: name.into(),
            bytes,
        });
        Ok(())
    }
}

/// What a module says about itself.
#[derive(Debug, Default)]
struct ModuleInfo {
    dependencies: Vec<String>,
    /// Wanted before this one, when they exist.
    soft_dependencies: Vec<String>,
}

impl ModuleInfo {
    fn read(file: &str, bytes: &[u8], version: &str) -> Result<Self, ModulesError> {
        let not_a_module = |source| ModulesError::NotAModule {
            file: file.into(),
            source,
        };
        let elf = ElfFile64::<Endianness>::parse(bytes).map_err(not_a_module)?;
        let section = match elf.section_by_name(".modinfo") {
            Some(section) => section.data().map_err(not_a_module)?,
            None => &[],
        };
        let mut about = Self::default();
        for field in section.split(|byte| *byte == 0) {
            let field = String::from_utf8_lossy(field);
            match field.split_once('=') {
                Some(("depends", names)) => {
                    about.dependencies.extend(
                        names
                            .split(',')
                            .filter(|name| !name.is_empty())
                            .map(kernel_spelling),
                    );
                }
                Some(("softdep", rule)) => {
                    let before = rule.split_once("pre:").map_or("", |(_, names)| names);
                    let before = before.split("post:").next().unwrap_or_default();
                    about
                        .soft_dependencies
                        .extend(before.split_whitespace().map(kernel_spelling));
                }
                Some(("vermagic", magic)) => {
                    let found = magic.split(' ').next().unwrap_or_default();
                    if found != version {
                        return Err(ModulesError::OtherKernel {
                            file: file.into(),
                            found: found.into(),
                            version: version.into(),
                        });
                    }
                }
                _ => {}
            }
        }
        Ok(about)
    }
}

/// The kernel writes underscores where file names may have dashes.
fn kernel_spelling(name: &str) -> String {
    name.replace('-', "_")
}

/// The module's name, when `path` is that of a module.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, suffix) = file.split_once(".ko")?;
    matches!(suffix, "" | ".gz" | ".xz" | ".zst").then(|| kernel_spelling(name))
}

fn decompress(file: &str, packed: Vec<u8>) -> Result<Vec<u8>, ModulesError> {
    let failed = |source| ModulesError::Decompress {
        file: file.into(),
        source,
    };
    let packed_bytes = packed.as_slice();
    let decoder: Box<dyn Read + '_> = match file.rsplit('.').next() {
        Some("gz") => Box::new(flate2::read::GzDecoder::new(packed_bytes)),
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(packed_bytes)),
        Some("zst") => {
            Box::new(zstd::stream::read::Decoder::with_buffer(packed_bytes).map_err(failed)?)
        }
        _ => return Ok(packed),
    };
    let mut bytes = Vec::new();
    decoder
        .take(MAX_MODULE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_MODULE {
        return Err(ModulesError::TooLarge {
            file: file.into(),
            limit: MAX_MODULE,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_the_kernel_does() {
        assert_eq!(
            module_name("kernel/arch/x86/crc32c-intel.ko.xz").as_deref(),
            Some("crc32c_intel")
        );
        assert_eq!(
            module_name("kernel/fs/erofs/erofs.ko").as_deref(),
            Some("erofs")
        );
        assert_eq!(module_name("kernel/fs/erofs.ko.lz4"), None);
        assert_eq!(module_name("modules.order"), None);
    }

    #[test]
    fn a_file_that_is_no_module_is_refused() {
        let error = ModuleInfo::read("kernel/x.ko", b"not elf", "6.1").unwrap_err();
        assert!(matches!(error, ModulesError::NotAModule { .. }));
    }
}
