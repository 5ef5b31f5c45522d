//! Granted paths, as mounts in the private root and as Landlock rules.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use landlock::{
    Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};

use super::private_root::{Bind, Create};
use super::{JailError, above_standard_streams};

/// What may be done with a granted path and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Execute,
    Write,
}

/// A path the jailed process may use, under the name it has on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    path: PathBuf,
    access: Access,
}

impl Grant {
    pub(crate) fn new(path: &Path, access: Access) -> Grant {
        Grant {
            path: path.to_owned(),
            access,
        }
    }
}

/// A granted path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// It is relative, or goes through `..`.
    #[error("`{path}` is not an absolute path without `..`")]
    NotPlain {
        /// The path.
        path: PathBuf,
    },
    /// It does not exist or cannot be reached.
    #[error("cannot open `{path}`")]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its name contains a zero byte.
    #[error("`{path}` contains a zero byte")]
    ZeroByte {
        /// The path.
        path: PathBuf,
        /// Where.
        #[source]
        source: NulError,
    },
}

/// The mounts that make the granted paths appear in an empty root. Parents come
/// before what lies below them, and nothing is created inside a granted
/// directory: that would be created on the host.
pub(super) fn binds(grants: &[Grant]) -> Result<Vec<Bind>, GrantError> {
    let mut wanted: BTreeMap<&Path, Access> = BTreeMap::new();
    for grant in grants {
        let plain = grant.path.is_absolute()
            && grant
                .path
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !plain {
            return Err(GrantError::NotPlain {
                path: grant.path.clone(),
            });
        }
        let access = wanted.entry(&grant.path).or_insert(grant.access);
        *access = (*access).max(grant.access);
    }
    let mut binds = Vec::with_capacity(wanted.len());
    for (path, access) in &wanted {
        let open = |source| GrantError::Open {
            path: path.to_path_buf(),
            source,
        };
        let real = path.canonicalize().map_err(open)?;
        let kind = real.metadata().map_err(open)?.file_type();
        let above = path.ancestors().skip(1).find_map(|above| wanted.get(above));
        let create = match above {
            Some(_) => Create::Nothing,
            None if kind.is_dir() => Create::Directory,
            None => Create::File,
        };
        let mut parents = Vec::new();
        if above.is_none() {
            for parent in path
                .ancestors()
                .skip(1)
                .filter(|parent| *parent != Path::new("/"))
            {
                parents.insert(0, c_path(parent)?);
            }
        }
        let mut source = PathBuf::from("/.old");
        source.push(real.strip_prefix("/").unwrap_or(&real));
        binds.push(Bind {
            source: c_path(&source)?,
            target: c_path(path)?,
            parents,
            create,
            writable: *access == Access::Write,
            device: kind.is_char_device(),
        });
    }
    Ok(binds)
}

fn c_path(path: &Path) -> Result<CString, GrantError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|source| GrantError::ZeroByte {
        path: path.to_owned(),
        source,
    })
}

/// A Landlock ruleset that handles everything this kernel's version can handle
/// and allows the grants alone: no TCP port, no signal and no abstract socket
/// outside.
pub(super) fn landlock_rules(grants: &[Grant], abi: i32) -> Result<Option<OwnedFd>, JailError> {
    let abi = landlock::ABI::from(abi);
    let all = AccessFs::from_all(abi);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(all)
        .map_err(JailError::Landlock)?;
    let network = AccessNet::from_all(abi);
    if !network.is_empty() {
        ruleset = ruleset
            .handle_access(network)
            .map_err(JailError::Landlock)?;
    }
    let scopes = Scope::from_all(abi);
    if !scopes.is_empty() {
        ruleset = ruleset.scope(scopes).map_err(JailError::Landlock)?;
    }
    let mut ruleset = ruleset.create().map_err(JailError::Landlock)?;
    for grant in grants {
        let open = |source| {
            JailError::Grant(GrantError::Open {
                path: grant.path.clone(),
                source,
            })
        };
        let is_directory = grant.path.metadata().map_err(open)?.is_dir();
        let file = rustix::fs::open(
            &grant.path,
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(|errno| open(errno.into()))?;
        let mut rights = rights(grant.access, abi);
        if !is_directory {
            rights &= AccessFs::from_file(abi);
        }
        ruleset = ruleset
            .add_rule(PathBeneath::new(file, rights))
            .map_err(JailError::Landlock)?;
    }
    let ruleset: Option<OwnedFd> = ruleset.into();
    let ruleset = ruleset.map(above_standard_streams).transpose();
    ruleset.map_err(JailError::Descriptor)
}

/// Writing means the content of files; making device nodes or sockets is never
/// granted, nor is executing what can be written.
fn rights(access: Access, abi: landlock::ABI) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let wanted = match access {
        Access::Read => read,
        Access::Execute => read | AccessFs::Execute,
        Access::Write => {
            read | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::RemoveFile
                | AccessFs::IoctlDev
        }
    };
    wanted & AccessFs::from_all(abi)
}
