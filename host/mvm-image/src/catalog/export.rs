//! Images as files for others: the root filesystem itself, or what was pulled, as an OCI archive.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CatalogImage, blobs_of, document};
use crate::oci;
use crate::registry;
use crate::store::{Store, StoreError};
use mvm_contract::Digest;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// The EROFS file that sandboxes mount.
    Erofs,
    /// A tar of an OCI image layout, with the layers as its registry has them; `oci-archive:FILE`
    /// reads it.
    OciArchive,
}

/// Why an image could not be exported. No file is left.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The content in the store cannot be read, or is not what it was.
    #[error("failed to read what is to be exported")]
    Store(#[from] StoreError),
    /// It was not pulled, or what was pulled is not here any more.
    #[error("image `{image}` has no layers here")]
    NotPulled {
        /// The image.
        image: Digest,
    },
    /// The file is there already.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ExportError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::NotPulled { .. } => Some(
                "only what was pulled has its layers here: remove the image and pull it anew, or \
                 write its root filesystem with `--format erofs`"
                    .into(),
            ),
            Self::Exists { .. } => Some("name a file that is not there yet".into()),
            Self::Write { .. } => None,
        }
    }
}

/// Writes an image to a file that is not there yet; every byte is compared with its digest before.
pub fn export(
    store: &Store,
    image: &CatalogImage,
    format: ExportFormat,
    file: &Path,
) -> Result<(), ExportError> {
    let failed = |source: io::Error| ExportError::Write {
        path: file.into(),
        source,
    };
    if file.symlink_metadata().is_ok() {
        return Err(ExportError::Exists { path: file.into() });
    }
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut staged = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    match format {
        ExportFormat::Erofs => {
            let entry = store.verify(&image.digest)?;
            let mut content = File::open(&entry.path).map_err(failed)?;
            io::copy(&mut content, staged.as_file_mut()).map_err(failed)?;
        }
        ExportFormat::OciArchive => write_archive(store, image, staged.as_file_mut(), &failed)?,
    }
    staged.as_file().sync_all().map_err(failed)?;
    staged
        .persist_noclobber(file)
        .map_err(|error| match error.error {
            source if source.kind() == io::ErrorKind::AlreadyExists => {
                ExportError::Exists { path: file.into() }
            }
            source => failed(source),
        })?;
    Ok(())
}

fn write_archive(
    store: &Store,
    image: &CatalogImage,
    file: &mut File,
    failed: &dyn Fn(io::Error) -> ExportError,
) -> Result<(), ExportError> {
    let pulled = registry::pulled(store)?;
    let not_pulled = || ExportError::NotPulled {
        image: image.digest,
    };
    for manifest in &image.manifests {
        let Some(bytes) = document(&pulled, *manifest)? else {
            continue;
        };
        let mut entries = Vec::new();
        for digest in blobs_of(&pulled, *manifest)? {
            match pulled.verify(&digest) {
                Ok(entry) => entries.push(entry),
                Err(StoreError::Missing { .. }) => return Err(not_pulled()),
                Err(error) => return Err(error.into()),
            }
        }
        let media_type = oci::type_of(&bytes, &manifest.to_string()).map_err(|_| not_pulled())?;
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{"mediaType": media_type, "digest": manifest, "size": bytes.len()}],
        });
        let mut archive = tar::Builder::new(BufWriter::new(file));
        append(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .map_err(failed)?;
        append(&mut archive, "index.json", index.to_string().as_bytes()).map_err(failed)?;
        entries.sort_by_key(|entry| entry.digest);
        entries.dedup_by_key(|entry| entry.digest);
        for entry in entries {
            let name = format!("blobs/sha256/{}", entry.digest.hex());
            let content = File::open(&entry.path).map_err(failed)?;
            let mut header = header(entry.size);
            let appended = archive.append_data(&mut header, name, content);
            appended.map_err(failed)?;
        }
        let written = archive.into_inner().and_then(|mut writer| writer.flush());
        return written.map_err(failed);
    }
    Err(not_pulled())
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(content.len() as u64), name, content)
}

/// The same for everybody and at any time.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}
