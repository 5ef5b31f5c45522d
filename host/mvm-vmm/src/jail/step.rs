//! The steps of a new process on its way into the jail, as errors name them.

use std::io;

/// One thing the child does on its way to `execve`; named in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum JailStep {
    /// Creating the process with its namespaces.
    Create = 0,
    /// Mapping the user into the user namespace.
    MapUser = 1,
    /// Making it the preferred victim when memory runs out.
    OomScore = 2,
    /// Building the private root directory from the granted paths.
    PrivateRoot = 3,
    /// Closing and passing file descriptors.
    Descriptors = 4,
    /// Setting resource limits.
    ResourceLimits = 5,
    /// Emptying the capability bounding set.
    Capabilities = 6,
    /// Setting `no_new_privs`.
    NoNewPrivileges = 7,
    /// Entering the Landlock domain.
    Landlock = 8,
    /// Putting the files it opens before the supervisor.
    FilterOpens = 9,
    /// Tying its life to the supervisor's.
    ParentDeath = 10,
    /// Executing the program.
    Execute = 11,
}

impl JailStep {
    pub(super) fn from_byte(byte: u8) -> JailStep {
        use JailStep::*;
        [
            Create,
            MapUser,
            OomScore,
            PrivateRoot,
            Descriptors,
            ResourceLimits,
            Capabilities,
            NoNewPrivileges,
            Landlock,
            FilterOpens,
            ParentDeath,
        ]
        .into_iter()
        .find(|step| *step as u8 == byte)
        .unwrap_or(Execute)
    }
}

impl std::fmt::Display for JailStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            JailStep::Create => "create the process in its namespaces",
            JailStep::MapUser => "map the user into the user namespace",
            JailStep::OomScore => "set `oom_score_adj`",
            JailStep::PrivateRoot => "build the private root directory",
            JailStep::Descriptors => "pass the file descriptors",
            JailStep::ResourceLimits => "set the resource limits",
            JailStep::Capabilities => "empty the capability bounding set",
            JailStep::NoNewPrivileges => "set `no_new_privs`",
            JailStep::Landlock => "enter the Landlock domain",
            JailStep::FilterOpens => "put the files it opens before the supervisor",
            JailStep::ParentDeath => "tie its life to the supervisor",
            JailStep::Execute => "execute the program",
        })
    }
}

/// A step of the child that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
pub struct ChildError {
    /// The step.
    pub step: JailStep,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}
