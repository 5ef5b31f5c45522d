//! Images and kernels made from Debian's signed archive by `mmdebstrap`.
//!
//! `apt` verifies every package against Debian's archive keys; no mirror is named here, so the
//! default of the host's `mmdebstrap` is used. The same package versions give the same bytes.

mod kernel;
mod layout;
mod mmdebstrap;
mod workspace;

pub use self::kernel::{FetchKernelError, fetch_kernel};
pub use self::layout::{BuildLayoutError, Layout, build_layout};
pub use self::mmdebstrap::MmdebstrapError;
pub use self::workspace::WorkspaceError;

/// Debian's release, by name.
const SUITE: &str = "bookworm";

/// The time stamp of everything that has no date of its own, and the newest that any file has
/// (2024-01-01, in seconds since 1970): what depends on the time of building could not be made
/// twice with the same bytes.
pub(crate) const SOURCE_DATE_EPOCH: u64 = 1_704_067_200;
/// The same in the form of RFC 3339.
const SOURCE_DATE: &str = "2024-01-01T00:00:00Z";

/// A root filesystem that can be made from Debian's archive.
#[derive(Debug)]
pub struct Recipe {
    /// What stands after `debian:`.
    pub name: &'static str,
    /// One line for the user.
    pub description: &'static str,
    /// Packages beside Debian's minimal system, without their recommendations.
    packages: &'static [&'static str],
    /// The image's default command.
    command: &'static [&'static str],
    /// Shell commands run on the finished tree, whose path is `$1`.
    hooks: &'static [&'static str],
}

/// All recipes.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "python",
        description: "shell, coreutils and Python 3 with pip and venv",
        packages: &[
            "ca-certificates",
            "procps",
            "python3",
            "python3-pip",
            "python3-venv",
        ],
        command: &["python3"],
        hooks: &[PRECOMPILE_PYTHON],
    },
    Recipe {
        name: "node",
        description: "shell, coreutils and Node.js",
        packages: &["ca-certificates", "nodejs", "procps"],
        command: &["node"],
        hooks: &[],
    },
];

/// Python checks byte code against its source's time stamp, and all time stamps are cut to
/// [`SOURCE_DATE_EPOCH`]: every start would compile again. Byte code that is not checked starts
/// fastest and has no time stamp in it.
const PRECOMPILE_PYTHON: &str = "chroot \"$1\" sh -c 'PYTHONHASHSEED=0 python3 -m compileall -q -f \
     --invalidation-mode unchecked-hash /usr/lib/python3 /usr/lib/python3.*'";

/// The recipe for `debian:NAME`.
pub fn recipe(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}
