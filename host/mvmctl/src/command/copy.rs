//! `mvmctl cp`, and `--cp` of `run` and `create`.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use mvm_runtime::{
    ClientError, FileKind, Progress as _, Sandbox, TransferProgress, TransferSummary,
};

use super::Context;
use crate::{
    arguments::Copy,
    failure::Failure,
    output,
    progress::{Display, WORK_PATIENCE},
};

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Host(&'a Path),
    Guest { sandbox: &'a str, path: &'a str },
}

impl<'a> Place<'a> {
    /// `SANDBOX:/PATH` is in a sandbox, anything else on the host; a host path that looks like
    /// it is written `./SANDBOX:/PATH`.
    fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            Some((sandbox, path)) if !sandbox.contains('/') && path.starts_with('/') => {
                Self::Guest { sandbox, path }
            }
            _ => Self::Host(Path::new(text)),
        }
    }
}

pub(super) async fn copy(context: &Context, options: &Copy) -> Result<u8, Failure> {
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let summary = match (Place::parse(&options.from), Place::parse(&options.to)) {
        (Place::Host(from), Place::Guest { sandbox, path }) => {
            let sandbox = context.runtime.connect(sandbox)?;
            into_sandbox(&sandbox, from, path, &display).await?
        }
        (Place::Guest { sandbox, path }, Place::Host(to)) => {
            let sandbox = context.runtime.connect(sandbox)?;
            out_of_sandbox(&sandbox, path, to, &display).await?
        }
        _ => {
            return Err(Failure::invalid(
                "`cp` copies between the host and a sandbox",
                "write one of the two as SANDBOX:/PATH",
            ));
        }
    };
    if context.json {
        output::json(&summary)?;
    }
    Ok(0)
}

/// Copies a host path to a guest path; one that is a directory takes it into itself.
pub(super) async fn into_sandbox(
    sandbox: &Sandbox,
    from: &Path,
    to: &str,
    display: &Display,
) -> Result<TransferSummary, Failure> {
    let into_directory = match sandbox.stat(to, true).await {
        Ok(status) => status.kind == FileKind::Directory,
        Err(ClientError::Agent(failure)) if failure.exit_code() == NOT_FOUND => to.ends_with('/'),
        Err(error) => return Err(error.into()),
    };
    let name = from
        .canonicalize()
        .ok()
        .and_then(|path| path.file_name().map(OsStr::to_owned));
    let target = match name {
        Some(name) if into_directory => Path::new(to).join(name),
        _ => PathBuf::from(to.trim_end_matches('/')),
    };
    display.stage(
        &format!("copying {} into the sandbox", from.display()),
        None,
    );
    let summary = sandbox
        .upload(from, target.as_os_str(), &mut Advance(display))
        .await?;
    display.finish();
    Ok(summary)
}

const NOT_FOUND: u8 = mvm_contract::exit_status::NOT_FOUND;

async fn out_of_sandbox(
    sandbox: &Sandbox,
    from: &str,
    to: &Path,
    display: &Display,
) -> Result<TransferSummary, Failure> {
    let name = Path::new(from).file_name();
    let target = match name {
        Some(name) if to.is_dir() => to.join(name),
        None if to.is_dir() => {
            return Err(Failure::invalid(
                format!("`{from}` has no name to copy it under"),
                "name a directory of the host that does not exist yet",
            ));
        }
        _ if to.as_os_str().as_bytes().ends_with(b"/") => {
            return Err(Failure::invalid(
                format!("directory `{}` does not exist", to.display()),
                "create it first, or leave the `/` at the end out",
            ));
        }
        _ => to.to_owned(),
    };
    display.stage(&format!("copying {from} out of the sandbox"), None);
    let summary = sandbox
        .download(from, &target, &mut Advance(display))
        .await?;
    display.finish();
    Ok(summary)
}

struct Advance<'a>(&'a Display);

impl TransferProgress for Advance<'_> {
    fn advance(&mut self, bytes: u64) {
        self.0.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sandbox_and_an_absolute_path_are_in_a_sandbox() {
        assert_eq!(
            Place::parse("web:/srv"),
            Place::Guest {
                sandbox: "web",
                path: "/srv"
            }
        );
        for host in ["./web:/srv", "srv", "C:srv", "/a:/b", "web:srv"] {
            assert_eq!(Place::parse(host), Place::Host(Path::new(host)));
        }
    }
}
