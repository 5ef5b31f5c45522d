//! Why an image could not be pulled.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mvm_contract::Digest;

use super::connection::ConnectError;
use super::credentials::CredentialError;
use crate::oci::SourceError;
use crate::store::StoreError;

/// A pull that did not happen. What is wrong with it stays neither in the store nor in its cache.
///
/// Places are told as `HOST/PATH`: what follows a path, such as the signature of a redirect, is
/// nobody's to see.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// It is not here, and the registry is not to be asked.
    #[error("image `{reference}` was not pulled before")]
    NotPulled {
        /// The reference.
        reference: String,
    },
    /// A registry without TLS that is to be refused.
    #[error("registry `{registry}` is spoken to without TLS, which is refused here")]
    InsecureRefused {
        /// The registry.
        registry: String,
    },
    /// The cache of what was pulled failed.
    #[error("failed to keep what was pulled")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// What was received cannot be written.
    #[error("failed to write what was pulled to `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no thread or timer to pull with.
    #[error("failed to begin pulling")]
    Begin {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No connection.
    #[error("failed to connect to `{host}`")]
    Connect {
        /// The host and port.
        host: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// The credentials cannot be had.
    #[error("failed to look up the credentials for `{registry}`")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: CredentialError,
    },
    /// The registry wants credentials and there are none.
    #[error("registry `{registry}` wants credentials, and none are known")]
    NoCredentials {
        /// The registry.
        registry: String,
    },
    /// The registry or who gives its tokens refuses the credentials.
    #[error("registry `{registry}` does not accept the credentials for it")]
    Unauthorized {
        /// The registry.
        registry: String,
    },
    /// Whoever these credentials are of may not pull it.
    #[error("registry `{registry}` does not let these credentials pull `{repository}`")]
    Forbidden {
        /// The registry.
        registry: String,
        /// The image's path.
        repository: String,
    },
    /// The registry demands what is not known here.
    #[error("registry `{registry}` demands neither a password nor a token")]
    Challenge {
        /// The registry.
        registry: String,
    },
    /// Where tokens come from does not answer with one.
    #[error("`{place}` did not answer with a token")]
    Token {
        /// The place.
        place: String,
    },
    /// There is no such thing.
    #[error("the registry has no `{place}`")]
    NotFound {
        /// The place.
        place: String,
    },
    /// An answer that is no success.
    #[error("`{place}` answered with status {status}")]
    Status {
        /// The place.
        place: String,
        /// The HTTP status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It asks for a longer wait than anybody has patience for.
    #[error("`{place}` asks to be left alone for {} s", wait.as_secs())]
    TooBusy {
        /// The place.
        place: String,
        /// How long.
        wait: Duration,
    },
    /// A request or its answer that is no HTTP, or a connection that broke.
    #[error("the connection to `{place}` broke")]
    Broken {
        /// The place.
        place: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The answer did not begin.
    #[error("`{place}` did not answer in {} s", limit.as_secs_f32())]
    NoAnswer {
        /// The place.
        place: String,
        /// The time limit.
        limit: Duration,
    },
    /// The answer began and did not go on.
    #[error("`{place}` sent less than 1 KiB in {} s", limit.as_secs_f32())]
    Stalled {
        /// The place.
        place: String,
        /// The time limit.
        limit: Duration,
    },
    /// A redirect too many.
    #[error("`{place}` redirects more than {limit} times")]
    Redirects {
        /// Where it began.
        place: String,
        /// How many are followed.
        limit: usize,
    },
    /// A redirect to what is no place.
    #[error("`{place}` redirects to nowhere")]
    RedirectNowhere {
        /// The place.
        place: String,
    },
    /// A redirect or a source of tokens without TLS.
    #[error("`{place}` sends to `{to}`, which is without TLS")]
    Downgrade {
        /// The place.
        place: String,
        /// Where it sends.
        to: String,
    },
    /// An answer that states another length than the content has.
    #[error("`{place}` states a length of {stated} bytes, the content has {expected}")]
    ContentLength {
        /// The place.
        place: String,
        /// What the answer states.
        stated: u64,
        /// What is right.
        expected: u64,
    },
    /// An answer that goes on after the end of the content.
    #[error("`{place}` sends more than the {expected} bytes that the content has")]
    TooLong {
        /// The place.
        place: String,
        /// What is right.
        expected: u64,
    },
    /// An answer that ends before the content.
    #[error("`{place}` sent {received} of {expected} bytes")]
    Truncated {
        /// The place.
        place: String,
        /// What came.
        received: u64,
        /// What is right.
        expected: u64,
    },
    /// A document larger than allowed.
    #[error("`{place}` is a document of more than {limit} bytes")]
    DocumentSize {
        /// The place.
        place: String,
        /// `Limits::document_bytes`.
        limit: u64,
    },
    /// Another document or blob than was asked for.
    #[error("`{place}` gave content with digest `{actual}`, asked for was `{expected}`")]
    Digest {
        /// The place.
        place: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The registry says another digest than the content has.
    #[error("`{place}` gave content with digest `{actual}` and calls it `{stated}`")]
    StatedDigest {
        /// The place.
        place: String,
        /// What its header says.
        stated: Digest,
        /// What came.
        actual: Digest,
    },
    /// The registry says the content is of another type than the content says.
    #[error("`{place}` gave a document of type `{actual}` and calls it `{stated}`")]
    StatedType {
        /// The place.
        place: String,
        /// What its header says.
        stated: String,
        /// What the document says.
        actual: String,
    },
    /// More bytes than an image may have.
    #[error("the layers of image `{reference}` have {size} bytes, the limit is {limit}")]
    LayerBytes {
        /// The reference.
        reference: String,
        /// What its manifest says.
        size: u64,
        /// `Limits::unpacked_bytes`.
        limit: u64,
    },
    /// A document that was pulled does not give an image.
    #[error("the registry's image `{reference}` cannot be used")]
    Image {
        /// The reference.
        reference: String,
        /// Why.
        #[source]
        source: SourceError,
    },
}

impl PullError {
    /// Whether it may be otherwise the next time.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.is_passing(),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Broken { source, .. } => !source.is_user() && !source.is_parse(),
            Self::NoAnswer { .. } | Self::Stalled { .. } | Self::Truncated { .. } => true,
            _ => false,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotPulled { .. } => {
                "pull it first with `mvmctl image pull`, or allow it with `--pull missing`".into()
            }
            Self::InsecureRefused { .. } => "give the registry a certificate".into(),
            Self::NoCredentials { registry } => {
                format!("log in with `docker login {registry}` or `skopeo login {registry}`")
            }
            Self::Unauthorized { registry } => format!(
                "log in anew with `docker login {registry}`; the image may also not exist"
            ),
            Self::NotFound { .. } => "check the image's path and tag".into(),
            Self::Connect { source, .. } => return source.hint(),
            Self::Credentials { source, .. } => return source.hint(),
            Self::Digest { .. } | Self::StatedDigest { .. } => {
                "the registry, or who stands before it, gives other content than it was asked for: do not trust it".into()
            }
            Self::Image { source, .. } => return source.hint(),
            Self::Store { source } => return source.hint(),
            error if error.is_passing() => "try again later".into(),
            Self::TooBusy { .. } => "try again later".into(),
            _ => return None,
        })
    }
}

impl From<StoreError> for PullError {
    fn from(source: StoreError) -> Self {
        Self::Store { source }
    }
}
