//! Why a flake gives no image.

use std::io;
use std::path::PathBuf;

use super::archive::ArchiveError;
use super::lock::ReadLockError;
use super::program::RunNixError;
use crate::merge::MergeError;
use crate::store::StoreError;
use mvm_contract::Digest;

/// Why a flake gives no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NixError {
    /// There is no flake in the directory.
    #[error("there is no flake in `{}`", directory.display())]
    NoFlake {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// `nix` cannot be given the directory's path.
    #[error("`nix` takes no flake from `{}`: its path has other characters than letters, digits and `/._+-`", directory.display())]
    FlakePath {
        /// The directory.
        directory: PathBuf,
    },
    /// The flake's directory cannot be read.
    #[error("cannot read the flake `{}`", directory.display())]
    ReadFlake {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: ArchiveError,
    },
    /// The flake is not the one that was pinned.
    #[error("the flake `{}` has digest `{actual}`, the image source pins `{expected}`", directory.display())]
    Pin {
        /// The directory.
        directory: PathBuf,
        /// What the source pins.
        expected: Digest,
        /// What the directory's NAR has.
        actual: Digest,
    },
    /// A pinned flake takes in what is not pinned.
    #[error("the flake `{}` is pinned, but its `flake.lock` is not of all inputs: {}", directory.display(), inputs.join(", "))]
    UnlockedInputs {
        /// The directory.
        directory: PathBuf,
        /// Names of the inputs without a hash.
        inputs: Vec<String>,
    },
    /// The lock file cannot be read.
    #[error("failed to look at what the flake is locked to")]
    Lock(#[source] ReadLockError),
    /// The place that `nix` works in cannot be made.
    #[error("cannot create `{}`", path.display())]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The flake cannot be looked at.
    #[error("cannot evaluate `{flake}`")]
    Evaluate {
        /// The flake.
        flake: String,
        /// The cause.
        #[source]
        source: RunNixError,
    },
    /// The flake has no such output.
    #[error("flake `{flake}` has no attribute `{attribute}`")]
    NoSuchAttribute {
        /// The flake.
        flake: String,
        /// The attribute.
        attribute: String,
        /// The cause.
        #[source]
        source: RunNixError,
    },
    /// Something that the flake needs cannot be fetched.
    #[error("{} of flake `{flake}` cannot be fetched: {complaint}", input.as_ref().map_or("something".to_owned(), |input| format!("input `{input}`")))]
    Fetch {
        /// The flake.
        flake: String,
        /// The input, where `nix` names one.
        input: Option<String>,
        /// `nix`'s own words, which name the host.
        complaint: String,
    },
    /// It was not built.
    #[error("cannot build attribute `{attribute}` of flake `{flake}`")]
    Build {
        /// The flake.
        flake: String,
        /// The attribute.
        attribute: String,
        /// The cause.
        #[source]
        source: RunNixError,
    },
    /// What was built cannot be looked at.
    #[error("cannot list the closure of `{path}`")]
    ListClosure {
        /// The output.
        path: String,
        /// The cause.
        #[source]
        source: RunNixError,
    },
    /// An answer of `nix` is not of the known form.
    #[error("`nix {question}` answers in a form that is not known")]
    Answer {
        /// What was asked.
        question: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The attribute is no package with an output that is meant when none is named.
    #[error("attribute `{attribute}` does not give one package with the output `out`")]
    NoOutput {
        /// The attribute.
        attribute: String,
    },
    /// A store path is none.
    #[error("`{path}` is not a store path")]
    StorePath {
        /// What `nix` says.
        path: String,
    },
    /// The closure is too large.
    #[error("the closure has {count} paths, more than {limit}")]
    Paths {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The store does not know what a path should be.
    #[error("the NAR hash `{hash}` of `{path}` is not a SHA-256")]
    NarHash {
        /// The store path.
        path: String,
        /// What `nix` says.
        hash: String,
    },
    /// A store path cannot be taken into the image.
    #[error("cannot take `{path}` into the image")]
    Pack {
        /// The store path.
        path: String,
        /// The cause.
        #[source]
        source: ArchiveError,
    },
    /// A store path is not what was built.
    #[error(
        "store path `{path}` was changed after it was built: its NAR has digest `{actual}`, it was built with `{expected}`"
    )]
    Tampered {
        /// The store path.
        path: String,
        /// What the store recorded.
        expected: Digest,
        /// What its files give.
        actual: Digest,
    },
    /// The output is one file.
    #[error("output `{path}` is not a directory")]
    NotATree {
        /// The store path.
        path: String,
    },
    /// The output has no programs.
    #[error("output `{path}` has no directory `bin`")]
    NoPrograms {
        /// The store path.
        path: String,
    },
    /// The output has files where the guest puts its own.
    #[error("output `{path}` has files in `/{name}`, which the guest makes itself")]
    Reserved {
        /// The store path.
        path: String,
        /// `dev`, `nix`, `proc`, `run`, `sys` or `tmp`.
        name: String,
    },
    /// The tree at the image's root cannot be made.
    #[error("cannot make the image's root")]
    Root(#[source] MergeError),
    /// The content store failed.
    #[error("failed to note what the flake gave")]
    Store(#[source] StoreError),
    /// The place for the closure's content failed.
    #[error("failed to keep the closure's content")]
    Keep(#[source] io::Error),
}

impl NixError {
    /// The way out, where the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoFlake { .. } => Some("name a directory with a `flake.nix`".into()),
            Self::FlakePath { .. } => {
                Some("copy the flake to a directory with a plain path".into())
            }
            Self::ReadFlake { .. } => {
                Some("all of a flake's directory is read: keep it in one of its own".into())
            }
            Self::Pin { actual, .. } => Some(format!(
                "see what changed in it; if that is right, pin it anew: `@{actual}`"
            )),
            Self::UnlockedInputs { directory, .. } => Some(format!(
                "lock it: `nix flake lock path:{}`, and pin the digest that it then has",
                directory.display()
            )),
            Self::Evaluate { source, .. }
            | Self::Build { source, .. }
            | Self::ListClosure { source, .. } => source.hint(),
            Self::NoSuchAttribute { flake, .. } => {
                Some(format!("see what it has: `nix flake show {flake}`"))
            }
            Self::Fetch { .. } => Some(
                "give this host a network that reaches it, or lock the input to a directory: \
                 `inputs.NAME.url = \"path:/DIRECTORY\"`"
                    .into(),
            ),
            Self::NoOutput { .. } => Some("name a package with an output `out`".into()),
            Self::Tampered { .. } => Some(
                "see who writes to mvm's Nix store; remove its directory `nix` from the state \
                 directory to build anew"
                    .into(),
            ),
            Self::NotATree { .. } | Self::NoPrograms { .. } => Some(
                "name a package with programs in `bin`, or join several with `buildEnv`".into(),
            ),
            Self::Reserved { name, .. } => Some(format!("leave `{name}` out of the output")),
            Self::Store(source) => source.hint(),
            Self::Root(source) => source.hint(),
            _ => None,
        }
    }
}
