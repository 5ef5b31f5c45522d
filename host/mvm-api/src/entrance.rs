//! Who is let in over TCP: whoever has the token, and with TLS, over a connection nobody else reads.

use std::{fs, io, path::Path, path::PathBuf, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use mvm_contract::ErrorCode;
use sha2::{Digest as _, Sha256};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::problem::Problem;

/// The shortest token, bytes: one that is guessed is no token.
const SHORTEST_TOKEN: usize = 16;

/// Why nobody could be let in.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token is too short.
    #[error("the token in `{}` is shorter than {SHORTEST_TOKEN} bytes", path.display())]
    ShortToken {
        /// The file.
        path: PathBuf,
    },
    /// A file is not PEM of what it should be.
    #[error("`{}` does not hold {what} as PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("certificate and key cannot be used")]
    Tls(#[source] rustls::Error),
}

impl mvm_contract::Coded for EntranceError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::ShortToken { path } => {
                let path = path.display();
                Some(format!("make one: `openssl rand -hex 32 > {path}`"))
            }
            _ => None,
        }
    }
}

/// What a client must show. Only its digest is kept: comparing that tells nothing of the token by
/// the time it takes.
#[derive(Clone)]
pub struct Token(Arc<[u8; 32]>);

impl Token {
    /// Reads the token in a file; white space around it does not count.
    pub fn read(path: &Path) -> Result<Self, EntranceError> {
        let text = fs::read_to_string(path).map_err(|source| EntranceError::Read {
            path: path.to_owned(),
            source,
        })?;
        let text = text.trim();
        if text.len() < SHORTEST_TOKEN {
            let path = path.to_owned();
            return Err(EntranceError::ShortToken { path });
        }
        Ok(Self(Arc::new(Sha256::digest(text).into())))
    }

    fn is(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        shown == *self.0
    }
}

/// Lets a request through that shows the token, or asks for no more than health.
pub(crate) async fn require_token(
    State(token): State<Token>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if request.uri().path() == "/healthz" || shown.is_some_and(|shown| token.is(shown.trim())) {
        return next.run(request).await;
    }
    Problem::new(
        ErrorCode::PolicyDenied,
        "the request does not show this server's token",
    )
    .status(StatusCode::UNAUTHORIZED)
    .hint("send `Authorization: Bearer TOKEN`")
    .into_response()
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

impl Tls {
    /// Reads a chain of certificates and the private key of the first, both PEM.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, EntranceError> {
        let pem = |path: &Path, what| {
            let path = path.to_owned();
            move |source| EntranceError::Pem { path, what, source }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
            .map_err(pem(certificate, "certificates"))?
            .collect();
        let chain = chain.map_err(pem(certificate, "certificates"))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key, "a private key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(EntranceError::Tls)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(EntranceError::Tls)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}
