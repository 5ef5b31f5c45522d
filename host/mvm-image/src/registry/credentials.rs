//! Names, passwords and tokens from Docker's configuration.
//!
//! `config.json` has them (`auths`), or names a program that does (`credHelpers` for one registry,
//! `credsStore` for all): `docker-credential-NAME get`, which is given the registry on its standard
//! input. Nothing of them is ever shown.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Bytes of `config.json`, and of what a program answers.
const MAX_BYTES: u64 = 1 << 20;

/// What must not be seen: neither in a message nor in a log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// For what goes to where it belongs.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What is shown to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Password {
        name: String,
        password: Secret,
    },
    /// Shown to who gives tokens (OAuth 2 refresh token).
    Identity(Secret),
    /// Shown to the registry as it is.
    Token(Secret),
}

/// Why credentials could not be looked up. None of them is in it.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Docker's configuration cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Docker's configuration is larger than it can be.
    #[error("`{}` has more than {MAX_BYTES} bytes", path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
    /// Docker's configuration is not the JSON it should be. Where is said, and nothing of it.
    #[error("`{}` is not Docker's configuration (line {line}, column {column})", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// What it has for the registry is not a name and a password.
    #[error("`{}` has malformed credentials for the registry", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The name of a program is not a word.
    #[error("`{}` names a credential helper `{name}`, which is no word", path.display())]
    HelperName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The program cannot be run.
    #[error("failed to run `{program}`")]
    Helper {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program took too long.
    #[error("`{program}` did not answer in {} s", limit.as_secs_f32())]
    HelperTime {
        /// The program.
        program: String,
        /// The time limit.
        limit: Duration,
    },
    /// The program failed, for another reason than that it has none.
    #[error("`{program}` failed with {status}")]
    HelperStatus {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The program's answer is not what such programs answer.
    #[error("`{program}` did not answer with credentials")]
    HelperAnswer {
        /// The program.
        program: String,
    },
}

impl CredentialError {
    /// What the user can do about it.
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { path, .. } | Self::Size { path } | Self::Parse { path, .. } => {
                format!(
                    "mend `{}`, or name another directory with `DOCKER_CONFIG`",
                    path.display()
                )
            }
            Self::Malformed { .. } => "log in to the registry anew".into(),
            Self::HelperName { path, .. } => format!("mend `{}`", path.display()),
            Self::Helper { program, .. } => {
                format!("install `{program}` on the `PATH`, or log in without it")
            }
            Self::HelperTime { program, .. }
            | Self::HelperStatus { program, .. }
            | Self::HelperAnswer { program } => {
                format!("see what `{program} get` says, given the registry on standard input")
            }
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Configuration {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The credentials for a registry (`HOST[:PORT]`), if there are any.
pub(super) async fn look_up(
    docker_config: &Path,
    registry: &str,
    limit: Duration,
) -> Result<Option<Credentials>, CredentialError> {
    let path = docker_config.join("config.json");
    let Some(configuration) = read(&path)? else {
        return Ok(None);
    };
    let own = configuration
        .helpers
        .iter()
        .find(|(key, _)| registry_of(key) == registry)
        .map(|(_, name)| name);
    if let Some(name) = own
        .or(configuration.store.as_ref())
        .filter(|name| !name.is_empty())
    {
        let is_word = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_word {
            return Err(CredentialError::HelperName {
                path,
                name: name.clone(),
            });
        }
        let found = ask(&format!("docker-credential-{name}"), registry, limit).await?;
        if found.is_some() || own.is_some() {
            return Ok(found);
        }
    }
    let entry = configuration
        .auths
        .into_iter()
        .find(|(key, _)| registry_of(key) == registry);
    let Some((_, entry)) = entry else {
        return Ok(None);
    };
    entry
        .credentials()
        .map_err(|()| CredentialError::Malformed { path })
}

fn read(path: &Path) -> Result<Option<Configuration>, CredentialError> {
    let failed = |source| CredentialError::Read {
        path: path.into(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES + 1), &mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CredentialError::Size { path: path.into() });
    }
    // The error of the parser could quote what it stumbled over.
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|error| CredentialError::Parse {
        path: path.into(),
        line: error.line(),
        column: error.column(),
    })
}

/// The registry that a key means; older ones are addresses with scheme and path.
fn registry_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").unwrap_or(key);
    let key = key.strip_prefix("http://").unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

impl Entry {
    fn credentials(self) -> Result<Option<Credentials>, ()> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Credentials::Token(Secret(token))));
        }
        if let Some(token) = filled(self.identitytoken) {
            return Ok(Some(Credentials::Identity(Secret(token))));
        }
        let (name, password) = match filled(self.auth) {
            Some(auth) => {
                let decoded = STANDARD.decode(auth.trim()).map_err(|_| ())?;
                let decoded = String::from_utf8(decoded).map_err(|_| ())?;
                let (name, password) = decoded.split_once(':').ok_or(())?;
                // Some writers pad with zeros.
                (name.to_owned(), password.trim_end_matches('\0').to_owned())
            }
            None => match (filled(self.username), self.password) {
                (Some(name), Some(password)) => (name, password),
                _ => return Ok(None),
            },
        };
        let password = Secret(password);
        Ok(Some(Credentials::Password { name, password }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Asks a program for the credentials of a registry.
async fn ask(
    program: &str,
    registry: &str,
    limit: Duration,
) -> Result<Option<Credentials>, CredentialError> {
    let failed = |source| CredentialError::Helper {
        program: program.into(),
        source,
    };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let exchange = async {
        if let Some(mut input) = input {
            // One that does not read it still may answer.
            let _ = input.write_all(registry.as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(output) = output {
            output.take(MAX_BYTES).read_to_end(&mut answer).await?;
        }
        Ok((answer, child.wait().await?))
    };
    let (answer, status) = tokio::time::timeout(limit, exchange)
        .await
        .map_err(|_| CredentialError::HelperTime {
            program: program.into(),
            limit,
        })?
        .map_err(failed)?;
    if !status.success() {
        // How these programs say that they have none.
        let said = String::from_utf8_lossy(&answer);
        return match said.contains("credentials not found") {
            true => Ok(None),
            false => Err(CredentialError::HelperStatus {
                program: program.into(),
                status,
            }),
        };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&answer).map_err(|_| CredentialError::HelperAnswer {
            program: program.into(),
        })?;
    let secret = Secret(answer.secret);
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credentials::Identity(secret),
        _ => Credentials::Password {
            name: answer.username,
            password: secret,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up_in(text: &str, registry: &str) -> Result<Option<Credentials>, CredentialError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), text).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(look_up(directory.path(), registry, Duration::from_secs(1)))
    }

    #[test]
    fn each_registry_gets_its_own_and_no_others() {
        let encoded = STANDARD.encode("user:pass:word");
        let text = format!(
            r#"{{"auths": {{
                "https://one.example/v1/": {{"auth": "{encoded}"}},
                "two.example:5000": {{"username": "u", "password": "p"}},
                "three.example": {{"identitytoken": "i"}},
                "four.example": {{"auth": "!"}},
                "five.example": {{}}
            }}, "other": 1}}"#
        );
        let password = |name: &str, password: &str| {
            Some(Credentials::Password {
                name: name.into(),
                password: Secret(password.into()),
            })
        };
        for (registry, expected) in [
            ("one.example", password("user", "pass:word")),
            ("two.example:5000", password("u", "p")),
            ("two.example", None),
            (
                "three.example",
                Some(Credentials::Identity(Secret("i".into()))),
            ),
            ("five.example", None),
            ("one.example.evil.example", None),
        ] {
            assert_eq!(look_up_in(&text, registry).unwrap(), expected, "{registry}");
        }
        assert!(matches!(
            look_up_in(&text, "four.example"),
            Err(CredentialError::Malformed { .. })
        ));
    }

    #[test]
    fn nothing_of_them_is_shown() {
        let error = look_up_in(r#"{"auths": {"a": {"auth": ["hunter2"]}}}"#, "a").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(matches!(error, CredentialError::Parse { .. }));
        assert!(!shown.contains("hunter2"), "{shown}");
        let found = look_up_in(
            r#"{"auths": {"a": {"username": "u", "password": "hunter2"}}}"#,
            "a",
        );
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn a_program_that_is_not_there_or_no_word_is_named() {
        let missing = r#"{"credsStore": "mvm-test-missing"}"#;
        assert!(matches!(
            look_up_in(missing, "a"),
            Err(CredentialError::Helper { program, .. }) if program == "docker-credential-mvm-test-missing"
        ));
        assert!(matches!(
            look_up_in(r#"{"credHelpers": {"a": "../x"}}"#, "a"),
            Err(CredentialError::HelperName { .. })
        ));
    }
}
