//! From a closure to the tree of an image: the store paths where they belong, and a root above
//! them that leads into the output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::NixError;
use super::archive::{ArchiveError, Sink, archive};
use super::closure::Closure;
use super::program::physical;
use crate::image::ImageConfig;
use crate::layer::{Blob, Compression};
use crate::limits::Limits;
use crate::merge::{Merge, MergeError, Tree};
use crate::oci::Layer;
use crate::progress::Progress;
use crate::store::Store;
use crate::tar::{EntryKind, TarEntry};
use mvm_contract::Digest;

/// What the guest mounts or makes itself: an output may have these only as empty directories.
const RESERVED: [&[u8]; 6] = [b"dev", b"nix", b"proc", b"run", b"sys", b"tmp"];

/// Accounts where the output has no `etc/passwd` or `etc/group`.
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &[u8] = b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n";

/// A packed closure: what the image is written from.
pub(crate) struct Packed {
    pub tree: Tree,
    pub config: ImageConfig,
    /// The content of all files, one after another.
    pub layer: Layer,
}

/// Packs `closure`, whose files are in the store below `directory`, and checks every path against
/// its NAR hash while its bytes are taken.
///
/// The content goes to a staging file of the image store, which the returned layer reads.
pub(super) fn pack(
    closure: &Closure,
    directory: &Path,
    store: &Store,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Packed, NixError> {
    let staging = store.begin().map_err(NixError::Store)?;
    let file = staging.file().try_clone().map_err(NixError::Keep)?;
    let mut packer = Packer {
        merge: Merge::new(limits),
        content: BufWriter::with_capacity(1 << 20, staging.file()),
        position: 0,
        hash: Sha256::new(),
        prefix: Vec::new(),
        limits,
        progress,
    };
    packer.merge.begin_layer(0);
    for (path, mode) in [("/", 0o755), ("nix", 0o755), ("nix/store", 0o755)] {
        packer.add_directory(path, mode)?;
    }
    for path in &closure.paths {
        packer.prefix = path.path.trim_start_matches('/').into();
        let files = physical(directory, &path.path);
        let actual = archive(&files, limits, &mut packer).map_err(|source| NixError::Pack {
            path: path.path.clone(),
            source,
        })?;
        if actual != path.nar_hash {
            return Err(NixError::Tampered {
                path: path.path.clone(),
                expected: path.nar_hash,
                actual,
            });
        }
    }
    let config = packer.lay_root(&closure.output)?;
    let Packer {
        merge,
        mut content,
        position,
        hash,
        ..
    } = packer;
    content.flush().map_err(NixError::Keep)?;
    drop(content);
    let digest = Digest::from_bytes(hash.finalize().into());
    // `staging` goes, and its file is nameless from here on: gone with whoever reads it.
    Ok(Packed {
        tree: merge.finish(),
        config,
        layer: Layer {
            name: closure.output.clone(),
            blob: Blob {
                file: Arc::new(file),
                offset: 0,
                size: position,
            },
            compression: Compression::None,
            stored: Some(digest),
            unpacked: digest,
        },
    })
}

struct Packer<'a> {
    merge: Merge<'a>,
    content: BufWriter<&'a File>,
    position: u64,
    /// Of the content.
    hash: Sha256,
    /// The store path that is being packed, without its first slash.
    prefix: Vec<u8>,
    limits: &'a Limits,
    progress: &'a dyn Progress,
}

impl Packer<'_> {
    /// What stands at `/`: links into the output; directories that programs expect.
    fn lay_root(&mut self, output: &str) -> Result<ImageConfig, NixError> {
        let path = || output.to_owned();
        let inside = output.trim_start_matches('/').as_bytes();
        let names = self.merge.names_in(inside);
        let names = names.ok_or_else(|| NixError::NotATree { path: path() })?;
        let has = |name: &[u8]| names.iter().any(|known| known == name);
        for (name, mode) in [
            ("dev", 0o755),
            ("etc", 0o755),
            ("proc", 0o755),
            ("run", 0o755),
            ("sys", 0o755),
            ("tmp", 0o1777),
            ("root", 0o700),
            ("var", 0o755),
            ("var/tmp", 0o1777),
        ] {
            let first = name.split('/').next().unwrap_or(name);
            if matches!(first, "root" | "var") && has(first.as_bytes()) {
                continue;
            }
            self.add_directory(name, mode)?;
        }
        for name in &names {
            let below = [inside, b"/", name].concat();
            if RESERVED.contains(&name.as_slice()) {
                if self
                    .merge
                    .names_in(&below)
                    .is_none_or(|names| !names.is_empty())
                {
                    let name = String::from_utf8_lossy(name).into_owned();
                    return Err(NixError::Reserved { path: path(), name });
                }
            } else if name == b"etc" {
                // A directory of its own, as the guest adds to it.
                for name in self.merge.names_in(&below).unwrap_or_default() {
                    let target = [b"/", below.as_slice(), b"/", &name].concat();
                    self.add_link([b"etc/", name.as_slice()].concat(), target)?;
                }
            } else {
                self.add_link(name.clone(), [b"/", below.as_slice()].concat())?;
            }
        }
        let programs = self.merge.names_in(b"bin");
        let programs = programs.ok_or_else(|| NixError::NoPrograms { path: path() })?;
        let has_program = |name: &[u8]| programs.iter().any(|known| known == name);
        if has_program(b"env") && !has(b"usr") {
            // What scripts begin with.
            self.add_directory("usr", 0o755)?;
            self.add_directory("usr/bin", 0o755)?;
            self.add_link(b"usr/bin/env".to_vec(), b"/bin/env".to_vec())?;
        }
        let accounts = self.merge.names_in(b"etc").unwrap_or_default();
        for (name, content) in [(&b"passwd"[..], PASSWD), (b"group", GROUP)] {
            if !accounts.iter().any(|known| known == name) {
                let path = [b"etc/", name].concat();
                self.add_file(path, 0o644, content.len() as u64)
                    .map_err(NixError::Root)?;
                self.keep(content).map_err(NixError::Keep)?;
            }
        }
        let search: Vec<_> = [&b"bin"[..], b"sbin"]
            .into_iter()
            .filter(|name| has(name))
            .map(|name| format!("/{}", String::from_utf8_lossy(name)))
            .collect();
        let shell = has_program(b"sh").then(|| "/bin/sh".to_owned());
        Ok(ImageConfig {
            env: vec![format!("PATH={}", search.join(":"))],
            working_dir: Some("/root".into()),
            user: None,
            entrypoint: Vec::new(),
            command: shell.into_iter().collect(),
        })
    }

    fn add_directory(&mut self, path: &str, mode: u16) -> Result<(), NixError> {
        self.add(path.into(), EntryKind::Directory, mode, 0)
            .map_err(NixError::Root)
    }

    fn add_link(&mut self, path: Vec<u8>, target: Vec<u8>) -> Result<(), NixError> {
        self.add(path, EntryKind::Symlink { target }, 0o777, 0)
            .map_err(NixError::Root)
    }

    fn add_file(&mut self, path: Vec<u8>, mode: u16, size: u64) -> Result<(), MergeError> {
        self.add(path, EntryKind::Regular, mode, size)?;
        self.position += size;
        Ok(())
    }

    fn add(
        &mut self,
        path: Vec<u8>,
        kind: EntryKind,
        mode: u16,
        size: u64,
    ) -> Result<(), MergeError> {
        self.merge.apply(TarEntry {
            path,
            kind,
            mode,
            user: 0,
            group: 0,
            // What Nix gives all files of its store.
            modified: (1, 0),
            xattrs: Vec::new(),
            offset: self.position,
            size,
        })
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.content.write_all(bytes)
    }

    fn place(&self, path: &[u8]) -> Vec<u8> {
        if path.is_empty() {
            return self.prefix.clone();
        }
        [self.prefix.as_slice(), b"/", path].concat()
    }
}

impl Sink for Packer<'_> {
    fn directory(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        let path = self.place(path);
        self.add(path, EntryKind::Directory, 0o555, 0)
            .map_err(ArchiveError::Entry)
    }

    fn symlink(&mut self, path: &[u8], target: Vec<u8>) -> Result<(), ArchiveError> {
        let path = self.place(path);
        self.add(path, EntryKind::Symlink { target }, 0o777, 0)
            .map_err(ArchiveError::Entry)
    }

    fn file(&mut self, path: &[u8], executable: bool, size: u64) -> Result<(), ArchiveError> {
        let path = self.place(path);
        // Of the whole closure; `archive` sees one path of it.
        let limit = self.limits.unpacked_bytes;
        if self.position.saturating_add(size) > limit {
            let path = String::from_utf8_lossy(&path).into_owned().into();
            return Err(ArchiveError::Bytes { path, limit });
        }
        let mode = if executable { 0o555 } else { 0o444 };
        self.add_file(path, mode, size).map_err(ArchiveError::Entry)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.keep(bytes).map_err(ArchiveError::Keep)?;
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }
}
