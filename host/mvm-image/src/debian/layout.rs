//! A recipe's root filesystem as an OCI image layout: a directory with one image, whose one layer
//! is what `mmdebstrap` made (image-spec 1.1, `image-layout.md`).

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::mmdebstrap::{self, MmdebstrapError};
use super::workspace::Workspace;
use super::{Recipe, SOURCE_DATE};
use crate::hashing::Hashing;
use crate::oci::{LAYER, write_layout};
use crate::{Digest, Progress};

/// Left out: what only documents, and translations. Notices of copyright stay.
const DPKG_OPTIONS: [&str; 7] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    // A sandbox is made to be thrown away: installing beside the distribution is meant there.
    "path-exclude=/usr/lib/python3*/EXTERNALLY-MANAGED",
];

/// Traces of the host and of this run, in files; packages expect their directories to stay.
///
/// `/tmp` is left to `mmdebstrap`, and `apt`'s lists with it: the configuration that confines its
/// `apt` to the tree lies there. Without it, `mmdebstrap` would clean the lists of the host.
const REMOVE_TRACES: &str = "cd \"$1\" && rm -f etc/hostname etc/resolv.conf && : > etc/machine-id \
     && find run var/cache var/log -type f -delete";

/// Makes `/bin`, `/lib` and `/sbin` links into `/usr` from the start. The package that would do it
/// later, `usrmerge`, brings all of Perl.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/merged-usr";

/// Why a layout could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildLayoutError {
    /// `out` has no parent directory, or it cannot be made.
    #[error("cannot create the directory of `{path}`")]
    CreateDirectory {
        /// The layout.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// `mmdebstrap` made nothing.
    #[error("cannot build `debian:{name}`")]
    Mmdebstrap {
        /// The recipe.
        name: &'static str,
        /// The cause.
        #[source]
        source: MmdebstrapError,
    },
    /// The layout cannot be written.
    #[error("cannot write the image layout `{path}`")]
    Write {
        /// The layout.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl BuildLayoutError {
    /// The way out, where the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Mmdebstrap { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// A finished layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Its directory.
    pub path: PathBuf,
    /// Digest of its one manifest; the manifest's name in the index is the recipe's.
    pub manifest_digest: Digest,
    /// Digest of its one layer, an uncompressed tar archive.
    pub layer_digest: Digest,
    /// Size of the layer, in bytes.
    pub layer_size: u64,
}

/// Builds `recipe` into the OCI layout `out`. A layout that is there is replaced in one step;
/// `mmdebstrap`'s output is beside it, with the ending `.log`.
///
/// # Errors
///
/// Says what is missing on the host, or what `mmdebstrap` complained about. `out` is then as it
/// was.
pub fn build_layout(
    recipe: &'static Recipe,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Layout, BuildLayoutError> {
    let write = |source| BuildLayoutError::Write {
        path: out.into(),
        source,
    };
    let failed = |source| BuildLayoutError::Mmdebstrap {
        name: recipe.name,
        source,
    };
    let base = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(base)
        .map_err(|source| BuildLayoutError::CreateDirectory {
            path: out.into(),
            source,
        })?;
    let workspace = Workspace::create(base).map_err(|source| failed(source.into()))?;
    let unfinished = workspace.path().join("layout");
    let blobs = unfinished.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(write)?;

    let layer = blobs.join("layer");
    let log = out.with_extension("log");
    let (layer_digest, layer_size) =
        mmdebstrap::run(&arguments(recipe), base, &log, progress, |archive| {
            store_layer(archive, &layer)
        })
        .map_err(failed)?;

    let finish = || {
        fs::rename(&layer, blobs.join(layer_digest.hex()))?;
        let layer = json!({ "mediaType": LAYER, "digest": layer_digest, "size": layer_size });
        let config = config(recipe, layer_digest);
        let manifest = write_layout(&unfinished, &config, &[layer], Some(recipe.name))?;
        put_in_place(&unfinished, out)?;
        File::open(base)?.sync_all()?;
        Ok(manifest)
    };
    let manifest_digest = finish().map_err(write)?;
    Ok(Layout {
        path: out.into(),
        manifest_digest,
        layer_digest,
        layer_size,
    })
}

fn arguments(recipe: &Recipe) -> Vec<String> {
    let mut arguments = vec![
        "--variant=minbase".to_owned(),
        // The guest makes its own device nodes.
        "--skip=output/dev".to_owned(),
        format!("--hook-dir={MERGED_USR}"),
        format!("--include=usr-is-merged,{}", recipe.packages.join(",")),
    ];
    arguments.extend(
        DPKG_OPTIONS
            .iter()
            .map(|option| format!("--dpkgopt={option}")),
    );
    let hooks = recipe.hooks.iter().copied().chain([REMOVE_TRACES]);
    arguments.extend(hooks.map(|hook| format!("--customize-hook={hook}")));
    arguments
}

/// Not compressed: the layer is read twice soon after it is written, and never travels.
fn store_layer(archive: &mut dyn Read, path: &Path) -> io::Result<(Digest, u64)> {
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut hashing = Hashing::new(file);
    io::copy(archive, &mut hashing)?;
    let (file, digest, size) = hashing.finish();
    file.into_inner()?.sync_all()?;
    Ok((digest, size))
}

fn config(recipe: &Recipe, layer_digest: Digest) -> Value {
    json!({
        "created": SOURCE_DATE,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
            ],
            "Cmd": recipe.command,
            "WorkingDir": "/root",
        },
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
        "history": [{ "created": SOURCE_DATE, "created_by": "mmdebstrap", "comment": recipe.description }],
    })
}

/// Exchanges with a layout that is there; that one is then removed with the workspace.
fn put_in_place(unfinished: &Path, out: &Path) -> io::Result<()> {
    match renameat_with(CWD, unfinished, CWD, out, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::NOENT) => fs::rename(unfinished, out),
        result => Ok(result?),
    }
}
