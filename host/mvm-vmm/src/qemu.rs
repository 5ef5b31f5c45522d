//! Finding QEMU: the program, its version and its firmware.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::boot_cache::{BootCache, CacheError};
use crate::jail::{Access, Grant};

const PROGRAM: &str = "qemu-system-x86_64";
const FIRMWARE: &str = "qboot.rom";
const INSTALL: &str = "install QEMU: `apt-get install qemu-system-x86`";
const CACHE_NAME: &str = "qemu-version";

/// A version of QEMU, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QemuVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub micro: u32,
}

/// The oldest version that is known to work.
pub const OLDEST_QEMU: QemuVersion = QemuVersion {
    major: 7,
    minor: 2,
    micro: 0,
};

impl std::fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// The first version that maps a file it may only read as a guest's memory
/// (`rom=off` of `memory-backend-file`).
const MAPS_READ_ONLY_FILES: QemuVersion = QemuVersion {
    major: 8,
    minor: 2,
    micro: 0,
};

/// An installed QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    program: PathBuf,
    version: QemuVersion,
    firmware: PathBuf,
}

/// QEMU was not found or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// No such program on `PATH`.
    #[error("`{PROGRAM}` is not on the search path")]
    NotFound,
    /// The named program is not there.
    #[error("cannot find the QEMU program `{program}`")]
    Missing {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It does not run.
    #[error("cannot run `{program} --version`")]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is something else than QEMU.
    #[error("`{program} --version` did not tell a version of QEMU")]
    NotQemu {
        /// The program.
        program: PathBuf,
    },
    /// It is too old.
    #[error("QEMU {found} is older than {OLDEST_QEMU}, the oldest that works")]
    TooOld {
        /// Its version.
        found: QemuVersion,
    },
    /// It came without the firmware that starts a kernel in a `microvm`.
    #[error("the firmware `{FIRMWARE}` is in none of QEMU's directories")]
    NoFirmware {
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// The version could not be cached.
    #[error("cannot cache the version of QEMU")]
    Cache(#[source] CacheError),
}

impl QemuError {
    /// A way out, when the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            QemuError::NotFound | QemuError::TooOld { .. } => Some(INSTALL.to_owned()),
            QemuError::NoFirmware { .. } => {
                Some("install it: `apt-get install qemu-system-data`".to_owned())
            }
            QemuError::Missing { program, .. } | QemuError::NotQemu { program } => Some(format!(
                "check the path `{}`, or {INSTALL}",
                program.display()
            )),
            QemuError::Run { .. } | QemuError::Cache(_) => None,
        }
    }
}

impl Qemu {
    /// Finds the program named, or the one on `PATH`, and asks its version
    /// (60 ms; cached as long as the program does not change).
    pub(crate) fn find(program: Option<&Path>, cache: &BootCache) -> Result<Qemu, QemuError> {
        let named = match program {
            Some(program) => program.to_owned(),
            None => on_search_path().ok_or(QemuError::NotFound)?,
        };
        let missing = |source| QemuError::Missing {
            program: named.clone(),
            source,
        };
        let program = named.canonicalize().map_err(missing)?;
        let metadata = program.metadata().map_err(missing)?;
        let key = {
            use std::os::unix::fs::MetadataExt;
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            format!(
                "{}:{}:{}:{changed:?}",
                program.display(),
                metadata.ino(),
                metadata.len()
            )
        };
        let version = match cache.read(CACHE_NAME, &key) {
            Some(version) => version,
            None => {
                let version = ask_version(&program)?;
                cache
                    .write(CACHE_NAME, &key, &version)
                    .map_err(QemuError::Cache)?;
                version
            }
        };
        if version < OLDEST_QEMU {
            return Err(QemuError::TooOld { found: version });
        }
        let searched = data_directories(&program);
        let firmware = searched
            .iter()
            .map(|directory| directory.join(FIRMWARE))
            .find(|firmware| firmware.exists())
            .ok_or(QemuError::NoFirmware { searched })?;
        Ok(Qemu {
            program,
            version,
            firmware,
        })
    }

    /// The program, without symbolic links.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its version.
    pub fn version(&self) -> QemuVersion {
        self.version
    }

    /// Whether copy-on-write memory needs no write access to the file below it.
    pub fn maps_read_only_files(&self) -> bool {
        self.version >= MAPS_READ_ONLY_FILES
    }

    /// The firmware `qboot.rom`.
    pub fn firmware(&self) -> &Path {
        &self.firmware
    }

    /// What QEMU reads in order to run at all.
    pub(crate) fn grants(&self) -> Vec<Grant> {
        let mut libraries: Vec<PathBuf> =
            ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
                .map(PathBuf::from)
                .into();
        if let Some(prefix) = prefix(&self.program) {
            libraries.push(prefix.join("lib"));
        }
        if self.program.starts_with("/nix/store") {
            libraries.push("/nix/store".into());
        }
        let mut data = data_directories(&self.program);
        data.push("/usr/share/seabios".into());
        data.push("/etc/ld.so.cache".into());
        let present = |path: &PathBuf| path.exists();
        let mut grants = vec![Grant::new(&self.program, Access::Execute)];
        grants.extend(
            libraries
                .iter()
                .filter(|path| present(path))
                .map(|p| Grant::new(p, Access::Execute)),
        );
        grants.extend(
            data.iter()
                .filter(|path| present(path))
                .map(|p| Grant::new(p, Access::Read)),
        );
        // With it QEMU finds out which kind of file locks the kernel has.
        grants.push(Grant::new("/dev/null".as_ref(), Access::Write));
        grants
    }
}

fn on_search_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(PROGRAM))
        .find(|program| rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok())
}

/// `/usr` for `/usr/bin/qemu-system-x86_64`.
fn prefix(program: &Path) -> Option<&Path> {
    program
        .parent()?
        .parent()
        .filter(|prefix| *prefix != Path::new("/"))
}

fn data_directories(program: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    if let Some(prefix) = prefix(program) {
        directories.push(prefix.join("share/qemu"));
    }
    let usual = PathBuf::from("/usr/share/qemu");
    if !directories.contains(&usual) {
        directories.push(usual);
    }
    directories
}

fn ask_version(program: &Path) -> Result<QemuVersion, QemuError> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|source| QemuError::Run {
            program: program.to_owned(),
            source,
        })?;
    parse_version(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| QemuError::NotQemu {
        program: program.to_owned(),
    })
}

fn parse_version(text: &str) -> Option<QemuVersion> {
    let rest = text.strip_prefix("QEMU emulator version ")?;
    let number = rest
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some(QemuVersion {
        major: parts.next()??,
        minor: parts.next()??,
        micro: parts.next().unwrap_or(Some(0))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_distributions_print_them() {
        let version = |major, minor, micro| {
            Some(QemuVersion {
                major,
                minor,
                micro,
            })
        };
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright";
        assert_eq!(parse_version(debian), version(7, 2, 22));
        assert_eq!(
            parse_version("QEMU emulator version 10.0.2\n"),
            version(10, 0, 2)
        );
        assert_eq!(
            parse_version("QEMU emulator version 9.1.50-dirty"),
            version(9, 1, 50)
        );
        assert_eq!(parse_version("QEMU emulator version 4294967296.0.0"), None);
        assert_eq!(parse_version("gemu 7.2"), None);
    }

    #[test]
    fn a_missing_program_says_how_to_install_it() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BootCache::open(directory.path());
        let error = Qemu::find(Some(Path::new("/nonexistent/qemu")), &cache).unwrap_err();
        assert!(
            error
                .hint()
                .unwrap()
                .contains("apt-get install qemu-system-x86")
        );
        let other = Qemu::find(Some(Path::new("/bin/true")), &cache).unwrap_err();
        assert!(matches!(other, QemuError::NotQemu { .. }));
    }
}
