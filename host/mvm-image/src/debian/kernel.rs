//! Debian's kernel for virtual machines, as an archive for [`crate::boot::prepare`].

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::mmdebstrap::{self, MmdebstrapError};
use super::workspace::Workspace;
use crate::progress::Progress;

/// Debian's kernel with the drivers of virtual machines only.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Why the kernel could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchKernelError {
    /// The directory of the archive cannot be made, or `out` names none.
    #[error("cannot create the directory of `{path}`")]
    CreateDirectory {
        /// The archive.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// `mmdebstrap` made nothing.
    #[error("cannot fetch Debian's kernel package")]
    Mmdebstrap(#[from] MmdebstrapError),
    /// The archive cannot be put in its place.
    #[error("cannot publish the kernel package `{path}`")]
    Publish {
        /// The archive.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl FetchKernelError {
    /// The way out, where the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Mmdebstrap(error) => error.hint(),
            _ => None,
        }
    }
}

/// Fetches the kernel package into the tar archive `out`, with the kernel, its modules and its
/// copyright notice. `out` is replaced in one step; `mmdebstrap`'s output is beside it, with the
/// ending `.log`.
///
/// # Errors
///
/// Says what is missing on the host, or what `mmdebstrap` complained about.
pub fn fetch_kernel(out: &Path, progress: &dyn Progress) -> Result<(), FetchKernelError> {
    let directory = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| FetchKernelError::CreateDirectory {
            path: out.into(),
            source,
        })?;
    let arguments = [
        "--variant=extract".to_owned(),
        format!("--include={PACKAGE}"),
    ];
    let log = out.with_extension("log");
    let workspace = Workspace::create(directory).map_err(MmdebstrapError::from)?;
    let unfinished = workspace.path().join("kernel.tar");
    mmdebstrap::run(&arguments, directory, &log, progress, |archive| {
        let mut kept = File::create(&unfinished)?;
        keep_kernel(archive, &mut kept)?;
        kept.sync_all()
    })?;
    let publish = || {
        fs::rename(&unfinished, out)?;
        File::open(directory)?.sync_all()
    };
    publish().map_err(|source| FetchKernelError::Publish {
        path: out.into(),
        source,
    })
}

/// Copies what belongs to the kernel; the package also pulls in the tools that would install it.
fn keep_kernel(archive: &mut dyn Read, kept: &mut File) -> io::Result<()> {
    let mut output = tar::Builder::new(BufWriter::new(kept));
    for entry in tar::Archive::new(BufReader::with_capacity(1 << 17, archive)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.strip_prefix("./").unwrap_or(&path);
        let name = name.strip_prefix("usr").unwrap_or(name);
        let belongs = name.starts_with("lib/modules")
            || name.starts_with("boot")
            || (name.starts_with("share/doc")
                && name.ends_with("copyright")
                && name.to_string_lossy().contains("linux-image"));
        if belongs && entry.header().entry_type().is_file() {
            let mut header = entry.header().clone();
            output.append_data(&mut header, path, &mut entry)?;
        }
    }
    output.into_inner()?.flush()
}
