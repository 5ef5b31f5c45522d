//! Points at which tests let a process die, to show what is left.

/// The environment variable that names the point; a debug build of `mvmctl` kills itself there.
#[cfg(debug_assertions)]
const VARIABLE: &str = "MVM_FAULT_POINT";

/// Dies here, as by `SIGKILL`, when a test wants it.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    if std::env::var_os(VARIABLE).is_some_and(|wanted| wanted == name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &str) {}
