//! What goes wrong between this program and a server, and what a server says of itself.

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_contract::{Coded, ErrorCode};
use serde::Deserialize;
use tokio_rustls::rustls;

/// Why something asked of a server did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The server says so.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// No server is named.
    #[error("no server is named: `MVM_URL` is not set")]
    NoServer,
    /// What is named is no server.
    #[error("`{address}` is no address of a server")]
    Address {
        /// What was given.
        address: String,
    },
    /// The token would be sent for everybody to read.
    #[error(
        "the token is not sent to `{address}`: it is not an address of this machine alone, and there is no TLS"
    )]
    NotEncrypted {
        /// The address.
        address: String,
    },
    /// The token cannot be one.
    #[error("the token holds characters that no header may have")]
    Token,
    /// A file of certificates cannot be read.
    #[error("`{}` does not hold certificates as PEM", path.display())]
    CertificateAuthority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate to trust cannot be used.
    #[error("a certificate in `{}` cannot be used", path.display())]
    UnusableAuthority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// TLS cannot be used.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The server's certificate is not believed.
    #[error("the certificate of `{server}` is not trusted")]
    Certificate {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The server cannot be reached.
    #[error("failed to reach the server `{server}`")]
    Connect {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The request broke off before it was answered.
    #[error("the connection to the server `{server}` broke")]
    Exchange {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The answer broke off.
    #[error("the answer of the server broke off")]
    Body(#[source] Box<dyn StdError + Send + Sync>),
    /// The request cannot be made of what was given.
    #[error("the request cannot be written")]
    Request(#[source] hyper::http::Error),
    /// The server took too long.
    #[error("the server `{server}` did not answer within {limit:?}")]
    Slow {
        /// The server.
        server: String,
        /// How long it had.
        limit: Duration,
    },
    /// A stream that says every few seconds that it is there does not.
    #[error("nothing came from the server for {limit:?}")]
    Silent {
        /// How long that was.
        limit: Duration,
    },
    /// The answer is not what it should be.
    #[error("the server's answer is not {expected}")]
    Answer {
        /// What it should be.
        expected: &'static str,
    },
    /// The answer is not the JSON that it should be.
    #[error("the server's answer is not {expected}")]
    Json {
        /// What it should be.
        expected: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The server answered with a failure that is no problem of ours.
    #[error("`{server}` answered with status {status} and no problem document")]
    NotOurs {
        /// The server.
        server: String,
        /// The status.
        status: u16,
    },
    /// A text has to be UTF-8 to be sent.
    #[error("{what} `{text}` is not UTF-8, which the HTTP API takes alone")]
    NotUtf8 {
        /// What it is.
        what: &'static str,
        /// It, with what is no UTF-8 replaced.
        text: String,
    },
    /// A name is empty.
    #[error("a sandbox or snapshot is named by no text at all")]
    EmptyName,
    /// The HTTP API has no such thing.
    #[error("{what} over HTTP is not supported by this version")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// A file of this host cannot be sent.
    #[error("cannot copy `{}` over HTTP: it is {kind}", path.display())]
    HostFileKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file of the guest cannot be received.
    #[error("cannot copy `{path}` of the sandbox: it is neither a file, a directory nor a symlink")]
    GuestFileKind {
        /// The file.
        path: String,
    },
    /// The guest tells of directories in directories without an end.
    #[error("`{path}` of the sandbox is more than {limit} directories deep")]
    Depth {
        /// The directory.
        path: String,
        /// How many are followed.
        limit: usize,
    },
    /// A file of this host failed while it was copied.
    #[error("failed to read `{}`", path.display())]
    HostFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was to be written broke off.
    #[error("failed to read what was to be written")]
    Content(#[source] io::Error),
}

impl HttpError {
    /// Whether the same request may succeed later without any change.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.retryable,
            Self::Certificate { .. } | Self::NotOurs { .. } => false,
            other => other.code().retryable(),
        }
    }

    pub(super) fn host_file(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::HostFile {
            path: path.clone(),
            source,
        }
    }

    /// The failure of a request to `server` that was not answered.
    pub(super) fn of_exchange(server: &str, source: hyper_util::client::legacy::Error) -> Self {
        let server = server.to_owned();
        if !source.is_connect() {
            return Self::Exchange { server, source };
        }
        if is_about_certificate(&source) {
            return Self::Certificate { server, source };
        }
        Self::Connect { server, source }
    }
}

/// Whether a certificate was refused, anywhere among the causes.
fn is_about_certificate(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let refused = error.downcast_ref::<rustls::Error>().or(wrapped);
        if matches!(refused, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Coded for HttpError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Problem(problem) => problem.code,
            Self::NoServer
            | Self::Address { .. }
            | Self::Token
            | Self::CertificateAuthority { .. }
            | Self::UnusableAuthority { .. }
            | Self::Tls(_)
            | Self::Request(_)
            | Self::NotUtf8 { .. }
            | Self::EmptyName
            | Self::HostFileKind { .. }
            | Self::Content(_) => ErrorCode::InvalidArgument,
            Self::HostFile { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            Self::HostFile { .. } => ErrorCode::InvalidArgument,
            Self::NotEncrypted { .. } => ErrorCode::PolicyDenied,
            Self::Unsupported { .. } | Self::GuestFileKind { .. } | Self::Depth { .. } => {
                ErrorCode::BackendUnsupported
            }
            Self::Slow { .. } => ErrorCode::Timeout,
            Self::Certificate { .. }
            | Self::Connect { .. }
            | Self::Exchange { .. }
            | Self::Body(_)
            | Self::Silent { .. }
            | Self::Answer { .. }
            | Self::Json { .. }
            | Self::NotOurs { .. } => ErrorCode::TransportError,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Problem(problem) => return problem.hint.clone(),
            Self::NoServer => {
                "set it to the address of `mvmctl serve`, or use `mvm::Sandbox`, which needs no server"
            }
            Self::Address { .. } => {
                "use unix:///path/of/the/socket, http://HOST:PORT or https://HOST:PORT"
            }
            Self::NotEncrypted { .. } => "use https",
            Self::Certificate { .. } => {
                "name who signed it by `Client::with_certificate_authority` or `SSL_CERT_FILE`"
            }
            Self::Connect { .. } => "check the address, and that `mvmctl serve` runs",
            Self::NotOurs { .. } => "check that the address is that of a server of mvm",
            Self::Slow { .. } => "give a longer time by `Client::with_request_timeout`",
            Self::HostFileKind { .. } => {
                "only regular files and directories are copied over HTTP; pack others with `tar`"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// A failure as a server tells it (RFC 9457, `application/problem+json`). Its causes are its
/// sources.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// The stable code; `TransportError` for one that this version does not know.
    pub code: ErrorCode,
    /// What failed.
    pub detail: String,
    /// The way out.
    pub hint: Option<String>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    #[source]
    cause: Option<Box<Cause>>,
}

/// A cause that a server told.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Cause {
    text: String,
    #[source]
    source: Option<Box<Cause>>,
}

/// A problem, as it is sent.
#[derive(Debug, Deserialize)]
pub(super) struct ProblemBody {
    code: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    causes: Vec<String>,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    retryable: bool,
}

impl From<ProblemBody> for Problem {
    fn from(body: ProblemBody) -> Self {
        let known = ErrorCode::ALL
            .into_iter()
            .find(|code| code.as_str() == body.code);
        let cause = body
            .causes
            .into_iter()
            .rev()
            .fold(None, |source, text| Some(Box::new(Cause { text, source })));
        let detail = match body.detail {
            detail if detail.is_empty() => format!("the server tells no more than `{}`", body.code),
            detail => detail,
        };
        Self {
            status: body.status,
            code: known.unwrap_or(ErrorCode::TransportError),
            detail,
            hint: body.hint,
            retryable: body.retryable,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Problem {
        serde_json::from_str::<ProblemBody>(text).unwrap().into()
    }

    #[test]
    fn a_problem_is_an_error_with_its_causes_code_and_hint() {
        let problem = problem(
            r#"{"type":"urn:mvm:error:SandboxUnavailable","status":409,"code":"SandboxUnavailable",
                "detail":"it is paused","causes":["one","two"],"hint":"resume it","retryable":true}"#,
        );
        let first = problem.source().unwrap();
        assert_eq!(first.to_string(), "one");
        assert_eq!(first.source().unwrap().to_string(), "two");
        assert!(first.source().unwrap().source().is_none());
        let error = HttpError::from(problem);
        assert_eq!(error.code(), ErrorCode::SandboxUnavailable);
        assert_eq!(error.hint().unwrap(), "resume it");
        assert_eq!(error.to_string(), "it is paused");
        assert!(error.retryable());
    }

    #[test]
    fn a_code_of_another_version_is_kept_apart_from_its_advice() {
        let problem = problem(r#"{"code":"NewOne","retryable":false}"#);
        assert_eq!(problem.code, ErrorCode::TransportError);
        assert!(!HttpError::from(problem).retryable());
    }
}
