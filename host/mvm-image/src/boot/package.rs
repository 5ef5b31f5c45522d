//! The content of a Linux kernel package, read in place from a tar archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::kernel::MAX_BOOT_IMAGE;

/// Most files a kernel package may have; Debian's cloud kernel has 1,200.
const MAX_FILES: usize = 50_000;
/// Largest single file besides the kernel, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// Why a tar archive is not a usable kernel package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelPackageError {
    /// The archive cannot be opened.
    #[error("cannot open the kernel package `{path}`")]
    Open {
        /// The archive.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be read.
    #[error("cannot read the kernel package `{path}`")]
    Read {
        /// The archive.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The archive has more files than a kernel package.
    #[error("the kernel package `{path}` has more than {limit} files")]
    TooManyFiles {
        /// The archive.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A file in the archive is too large.
    #[error("`{file}` in the kernel package has {size} bytes, more than {limit}")]
    FileTooLarge {
        /// The file in the archive.
        file: String,
        /// Its size, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// No `boot/vmlinuz-VERSION`.
    #[error("the kernel package `{path}` has no `boot/vmlinuz-VERSION`")]
    NoKernel {
        /// The archive.
        path: PathBuf,
    },
    /// More than one kernel, so that choosing would be guessing.
    #[error("the kernel package `{path}` has two kernels, `{first}` and `{second}`")]
    SeveralKernels {
        /// The archive.
        path: PathBuf,
        /// One version.
        first: String,
        /// The other.
        second: String,
    },
}

/// Where a file's bytes are in the archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    offset: u64,
    size: u64,
}

/// An opened kernel package: the names and places of what matters, no content.
#[derive(Debug)]
pub(crate) struct KernelPackage {
    path: PathBuf,
    archive: File,
    /// The kernel's release, as `uname -r` prints it.
    pub(crate) version: String,
    kernel: Extent,
    /// Files below `lib/modules/VERSION`, by path relative to it.
    modules: BTreeMap<String, Extent>,
}

impl KernelPackage {
    /// Indexes the tar archive at `path`. Directories in it may be given with or without a
    /// leading `./` and `usr/`.
    pub(crate) fn open(path: &Path) -> Result<Self, KernelPackageError> {
        let archive = File::open(path).map_err(|source| KernelPackageError::Open {
            path: path.into(),
            source,
        })?;
        let read = |source| KernelPackageError::Read {
            path: path.into(),
            source,
        };
        let mut kernels = BTreeMap::new();
        let mut files = BTreeMap::new();
        let mut reader = tar::Archive::new(&archive);
        for entry in reader.entries_with_seek().map_err(read)? {
            let entry = entry.map_err(read)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let extent = Extent {
                offset: entry.raw_file_position(),
                size: entry.size(),
            };
            // A name that is not UTF-8 is none of the names looked for.
            let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
                continue;
            };
            let name = name.strip_prefix("./").unwrap_or(&name);
            let name = name.strip_prefix("usr/").unwrap_or(name);
            if let Some(version) = name.strip_prefix("boot/vmlinuz-") {
                kernels.insert(version.to_owned(), extent);
            } else if let Some(module) = name.strip_prefix("lib/modules/") {
                files.insert(module.to_owned(), extent);
            }
            if files.len() > MAX_FILES {
                return Err(KernelPackageError::TooManyFiles {
                    path: path.into(),
                    limit: MAX_FILES,
                });
            }
        }

        let mut kernels = kernels.into_iter();
        let (version, kernel) = kernels
            .next()
            .ok_or_else(|| KernelPackageError::NoKernel { path: path.into() })?;
        if let Some((second, _)) = kernels.next() {
            return Err(KernelPackageError::SeveralKernels {
                path: path.into(),
                first: version,
                second,
            });
        }
        let directory = format!("{version}/");
        let modules = files
            .into_iter()
            .filter_map(|(name, extent)| Some((name.strip_prefix(&directory)?.to_owned(), extent)))
            .collect();
        Ok(Self {
            path: path.into(),
            archive,
            version,
            kernel,
            modules,
        })
    }

    /// The boot image.
    pub(crate) fn read_kernel(&self) -> Result<Vec<u8>, KernelPackageError> {
        self.read(
            &format!("boot/vmlinuz-{}", self.version),
            self.kernel,
            MAX_BOOT_IMAGE,
        )
    }

    /// The paths below `lib/modules/VERSION`, sorted.
    pub(crate) fn module_files(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// The bytes of one file below `lib/modules/VERSION`, `None` when there is no such file.
    pub(crate) fn read_module_file(
        &self,
        name: &str,
    ) -> Result<Option<Vec<u8>>, KernelPackageError> {
        match self.modules.get(name) {
            Some(extent) => self.read(name, *extent, MAX_FILE).map(Some),
            None => Ok(None),
        }
    }

    fn read(&self, file: &str, extent: Extent, limit: u64) -> Result<Vec<u8>, KernelPackageError> {
        let Extent { offset, size } = extent;
        if size > limit {
            return Err(KernelPackageError::FileTooLarge {
                file: file.into(),
                size,
                limit,
            });
        }
        let read = |source| KernelPackageError::Read {
            path: self.path.clone(),
            source,
        };
        let mut bytes = Vec::new();
        let mut content = AtOffset {
            file: &self.archive,
            offset,
        }
        .take(size);
        content.read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() as u64 != size {
            return Err(read(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

/// Reads from a place of its own, so that reads do not move each other.
struct AtOffset<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for AtOffset<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}
