//! What this version cannot do of a workload. A field that would not be enforced is refused.

use mvm_contract::{
    Coded, ErrorCode,
    workload::{App, Dependencies, Entrypoint, EnvironmentValue, Hook, Language, Workload},
};

/// Something a workload asks for that this version does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} of app `{app}` is not supported by this version")]
pub struct Unsupported {
    /// The app.
    pub app: String,
    /// What, by its name in the document.
    pub what: &'static str,
}

impl Coded for Unsupported {
    fn code(&self) -> ErrorCode {
        ErrorCode::BackendUnsupported
    }

    fn hint(&self) -> Option<String> {
        Some(match self.what {
            "`dependencies`" => {
                "bring the packages as source, or in the image; installing them needs granted egress"
                    .to_owned()
            }
            "the language `rust`" => "build it elsewhere, and run it as a command".to_owned(),
            what => format!("leave {what} out"),
        })
    }
}

/// Refuses what this version does not do of an app.
///
/// # Errors
///
/// The first such thing, in the order of the document.
pub fn check(workload: &Workload, app: &App) -> Result<(), Unsupported> {
    let refuse = |is_asked: bool, what| {
        if is_asked {
            let app = app.name.clone();
            return Err(Unsupported { app, what });
        }
        Ok(())
    };
    let is_secret = |value: &EnvironmentValue| matches!(value, EnvironmentValue::Secret { .. });
    let functions = || {
        app.entrypoints
            .iter()
            .filter_map(|entrypoint| match entrypoint {
                Entrypoint::Function(function) => Some(function),
                Entrypoint::Command(_) => None,
            })
    };
    refuse(
        functions().any(|it| it.language == Language::Rust),
        "the language `rust`",
    )?;
    let environments = std::iter::once(&app.environment)
        .chain(app.entrypoints.iter().map(Entrypoint::environment))
        .chain(hooks(app).map(|hook| &hook.environment));
    let mut values = environments.flat_map(|environment| environment.values());
    refuse(values.any(is_secret), "a secret in `environment`")?;
    refuse(!app.mounts.is_empty(), "`mounts`")?;
    refuse(!app.network.is_none(), "`network`")?;
    refuse(app.dependencies != Dependencies::None, "`dependencies`")?;
    refuse(!workload.volumes.is_empty(), "`volumes` of the workload")
}

fn hooks(app: &App) -> impl Iterator<Item = &Hook> {
    let lists = app.hooks.lists();
    lists.into_iter().flat_map(|(_, list)| list)
}
