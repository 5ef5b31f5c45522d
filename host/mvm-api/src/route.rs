//! The routes: what is asked, of which function of the runtime, and what is answered.

pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod invocations;
pub(crate) mod processes;
pub(crate) mod sandboxes;
pub(crate) mod snapshots;
pub(crate) mod trust;

use mvm_runtime::Sandbox;

use crate::{problem::Problem, state::Api};

/// The sandbox that a path names.
pub(crate) fn connect(api: &Api, sandbox: &str) -> Result<Sandbox, Problem> {
    Ok(api.runtime.connect(sandbox)?)
}
