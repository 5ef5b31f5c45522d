//! The state directory: where everything mvm keeps on a host lives.
//!
//! ```text
//! $MVM_HOME            (default: $XDG_STATE_HOME/mvm, then ~/.local/state/mvm)
//!   sandboxes/ID/      one folder per sandbox; `lock` is held by its supervisor
//!   names/NAME         symlink to the identifier of the sandbox of that name
//!   templates/KEY/     booted, saved guests that sandboxes are forked from
//!   spares/KEY/ID/     sandboxes of a template that wait for somebody to claim them
//!   pools/             how many spares are kept of what
//!   snapshots/ID/      saved sandboxes
//!   keys/              what this host signs and authenticates with, and whom it believes
//!   audit/             the audit log of this host
//!   policy.json        what plans may do on this host
//!   store/             content-addressed images
//!   builds/            OCI layouts of what was built of workloads
//!   layouts/           OCI layouts of the `debian:` images
//!   nix/               the store that `nix:` images are built in; made on first use
//!   boot/              kernel and initramfs
//!   disks/             empty file systems that sandbox disks are copied from
//!   cache/             facts about the host that are dear to find out
//!   staging/           what is being made or removed
//! ```
//!
//! The directory is the truth: there is no daemon, and liveness is a held lock.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use mvm_contract::{Coded, ErrorCode, SandboxId, SnapshotId};

/// The environment variable that names the state directory.
pub const MVM_HOME: &str = "MVM_HOME";

/// The state directory.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

/// Why there is no usable state directory.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither `MVM_HOME` nor `XDG_STATE_HOME` nor `HOME` says where it is.
    #[error("no state directory: `MVM_HOME`, `XDG_STATE_HOME` and `HOME` are all unset")]
    Unknown,
    /// The path is not absolute.
    #[error("state directory `{}` is not an absolute path", path.display())]
    Relative {
        /// The path given.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("failed to create directory `{}`", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written to.
    #[error("state directory `{}` cannot be written to", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Coded for HomeError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn hint(&self) -> Option<String> {
        Some("set `MVM_HOME` to an absolute path of a directory you can write to".to_owned())
    }
}

impl Home {
    /// The state directory that the environment names.
    pub fn locate() -> Result<PathBuf, HomeError> {
        let variable = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        variable(MVM_HOME)
            .or_else(|| variable("XDG_STATE_HOME").map(|state| state.join("mvm")))
            .or_else(|| variable("HOME").map(|home| home.join(".local/state/mvm")))
            .ok_or(HomeError::Unknown)
    }

    /// Opens the state directory, making what is missing of it (mode 0700).
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, HomeError> {
        let root = root.into();
        if !root.is_absolute() {
            return Err(HomeError::Relative { path: root });
        }
        let home = Self { root };
        for directory in [
            home.root.clone(),
            home.sandboxes(),
            home.names(),
            home.templates(),
            home.spares(),
            home.pools(),
            home.snapshots(),
            home.keys(),
            home.audit(),
            home.store(),
            home.layouts(),
            home.builds(),
            home.boot(),
            home.disks(),
            home.cache(),
            home.staging(),
        ] {
            make_private_directory(&directory, &home.root)?;
        }
        if let Err(error) = rustix::fs::access(&home.root, rustix::fs::Access::WRITE_OK) {
            return Err(HomeError::NotWritable {
                path: home.root,
                source: error.into(),
            });
        }
        Ok(home)
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `nix` works.
    #[must_use]
    pub fn nix(&self) -> PathBuf {
        self.root.join("nix")
    }

    /// One folder per sandbox.
    #[must_use]
    pub fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// The folder of one sandbox.
    #[must_use]
    pub fn sandbox(&self, id: &SandboxId) -> PathBuf {
        self.sandboxes().join(id.as_str())
    }

    /// Names in use.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// OCI layouts of what was built of workloads.
    #[must_use]
    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// Booted, saved guests.
    #[must_use]
    pub fn templates(&self) -> PathBuf {
        self.root.join("templates")
    }

    /// Sandboxes that wait to be claimed.
    #[must_use]
    pub fn spares(&self) -> PathBuf {
        self.root.join("spares")
    }

    /// How many spares are kept of what.
    #[must_use]
    pub fn pools(&self) -> PathBuf {
        self.root.join("pools")
    }

    /// Saved sandboxes.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The folder of one snapshot.
    #[must_use]
    pub fn snapshot(&self, id: &SnapshotId) -> PathBuf {
        self.snapshots().join(id.as_str())
    }

    /// Keys of this host.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The audit log of this host.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// What plans may do on this host.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.root.join("policy.json")
    }

    /// The content store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// OCI layouts of the `debian:` images.
    #[must_use]
    pub fn layouts(&self) -> PathBuf {
        self.root.join("layouts")
    }

    /// Kernel and initramfs.
    #[must_use]
    pub fn boot(&self) -> PathBuf {
        self.root.join("boot")
    }

    /// Empty file systems.
    #[must_use]
    pub fn disks(&self) -> PathBuf {
        self.root.join("disks")
    }

    /// Facts about the host.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// What is being made or removed; on the same file system as all else here.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }
}

/// Makes a directory that no other user can enter. The root itself may be the user's own, made
/// otherwise: it is left as it is, and what is in it is closed.
fn make_private_directory(path: &Path, root: &Path) -> Result<(), HomeError> {
    let failed = |source| HomeError::Create {
        path: path.to_owned(),
        source,
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let open = metadata.permissions().mode() & 0o077 != 0;
            if open && path != root {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
            }
            Ok(())
        }
        _ => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_the_user_is_left_as_it_is_and_what_is_in_it_is_closed() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.path().join("sandboxes")).unwrap();
        let home = Home::open(root.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(root.path()), 0o755);
        assert_eq!(
            (mode(&home.sandboxes()), mode(&home.store())),
            (0o700, 0o700)
        );
    }

    #[test]
    fn a_relative_path_and_a_file_are_refused() {
        assert!(matches!(
            Home::open("here"),
            Err(HomeError::Relative { .. })
        ));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(
            Home::open(file.path()),
            Err(HomeError::Create { .. })
        ));
    }
}
