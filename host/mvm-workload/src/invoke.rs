//! From a file to what its function gave: the one way of the command line and the API.

use std::path::Path;

use mvm_contract::{Coded, ErrorCode};
use mvm_runtime::Runtime;

use crate::{
    Arguments, BuildError, BuildOptions, CallError, CallOptions, Called, DeclarationError, build,
    call, find, load,
};

/// Why a function of a file could not be called.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The file declares no workload.
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    /// Its app cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The function cannot be called.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for InvokeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Declaration(error) => error.code(),
            Self::Build(error) => error.code(),
            Self::Call(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Declaration(error) => error.hint(),
            Self::Build(error) => error.hint(),
            Self::Call(error) => error.hint(),
        }
    }
}

/// Calls a function that a file declares, whose app is built first where it is not built yet. What
/// may be left out, [`find`] says.
///
/// # Errors
///
/// [`InvokeError`]. An exception of the function is an [`Outcome`](crate::Outcome).
pub async fn invoke(
    runtime: &Runtime,
    file: &Path,
    app: Option<&str>,
    function: Option<&str>,
    arguments: Arguments,
    options: &CallOptions<'_>,
) -> Result<Called, InvokeError> {
    let declaration = load(file)?;
    let callee = find(&declaration.workload, app, function)?;
    let building = BuildOptions {
        declared_in: &declaration.declared_in,
        progress: options.progress,
    };
    let built = build(runtime, &declaration.workload, callee.app, &building).await?;
    Ok(call(runtime, &built, &callee, arguments, options).await?)
}
