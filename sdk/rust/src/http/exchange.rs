//! Requests to a server and their answers.

use std::{fmt, io, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Empty, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tokio_rustls::rustls::RootCertStore;

use super::{HttpError, address::Address, connector::Connector, error::ProblemBody};

/// The largest answer that is held in memory as a whole, bytes.
const MOST_ANSWER_BYTES: usize = 256 << 20;
/// Shorter than a server keeps an idle connection (10 s), so that none is used as it is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// What stays as it is in a path's segment and a query's value (RFC 3986, unreserved).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a request carries.
pub(super) enum Content {
    None,
    Json(Bytes),
    Bytes(Bytes),
    Stream(UnsyncBoxBody<Bytes, io::Error>),
}

impl Content {
    pub(super) fn json(value: &impl Serialize) -> Result<Self, HttpError> {
        let written = serde_json::to_vec(value).map_err(|source| HttpError::Json {
            expected: "a request that can be written",
            source,
        })?;
        Ok(Self::Json(written.into()))
    }
}

/// The way to a server.
pub(super) struct Server {
    address: Arc<Address>,
    base: String,
    token: Option<HeaderValue>,
    request_timeout: Option<Duration>,
    client: legacy::Client<Connector, UnsyncBoxBody<Bytes, io::Error>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Server")
            .field(&self.address)
            .finish()
    }
}

impl Server {
    pub(super) fn new(
        address: Address,
        token: Option<&str>,
        roots: Arc<RootCertStore>,
        request_timeout: Option<Duration>,
    ) -> Result<Self, HttpError> {
        if token.is_some() && address.is_exposed() {
            let address = address.base();
            return Err(HttpError::NotEncrypted { address });
        }
        let token = match token {
            None => None,
            Some(token) => {
                let header = HeaderValue::try_from(format!("Bearer {token}"));
                let mut header = header.map_err(|_| HttpError::Token)?;
                header.set_sensitive(true);
                Some(header)
            }
        };
        let address = Arc::new(address);
        Ok(Self {
            base: address.base(),
            client: client(&address, roots)?,
            address,
            token,
            request_timeout,
        })
    }

    pub(super) fn with_roots(&self, roots: Arc<RootCertStore>) -> Result<Self, HttpError> {
        Ok(Self {
            client: client(&self.address, roots)?,
            ..self.again()
        })
    }

    pub(super) fn with_request_timeout(&self, request_timeout: Option<Duration>) -> Self {
        Self {
            request_timeout,
            ..self.again()
        }
    }

    fn again(&self) -> Self {
        Self {
            address: Arc::clone(&self.address),
            base: self.base.clone(),
            token: self.token.clone(),
            request_timeout: self.request_timeout,
            client: self.client.clone(),
        }
    }

    /// The server, as it is shown.
    fn shown(&self) -> String {
        match &*self.address {
            Address::Unix(path) => path.display().to_string(),
            Address::Tcp { .. } => self.base.clone(),
        }
    }

    /// Sends a request; the answer is none of a failure. It takes as long as the work does.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<Response<Incoming>, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let never = |never: std::convert::Infallible| match never {};
        let (kind, body) = match content {
            Content::None => (None, Empty::new().map_err(never).boxed_unsync()),
            Content::Json(json) => {
                let body = Full::new(json).map_err(never).boxed_unsync();
                (Some("application/json"), body)
            }
            Content::Bytes(bytes) => {
                let body = Full::new(bytes).map_err(never).boxed_unsync();
                (Some("application/octet-stream"), body)
            }
            Content::Stream(body) => (Some("application/octet-stream"), body),
        };
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(body).map_err(HttpError::Request)?;
        let answered = self.client.request(request).await;
        let answer = answered.map_err(|error| HttpError::of_exchange(&self.shown(), error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let body = whole(answer).await?;
        match serde_json::from_slice::<ProblemBody>(&body) {
            Ok(problem) => Err(HttpError::Problem(problem.into())),
            Err(_) => Err(HttpError::NotOurs {
                server: self.shown(),
                status,
            }),
        }
    }

    /// Sends a request whose answer is a stream; only its beginning is waited for, and that not
    /// for long.
    pub(super) async fn open_soon(&self, path: &str) -> Result<Response<Incoming>, HttpError> {
        self.soon(self.open(Method::GET, path, Content::None)).await
    }

    /// The answer of a request that takes as long as the work does.
    pub(super) async fn work<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<T, HttpError> {
        decoded(&whole(self.open(method, path, content).await?).await?)
    }

    /// The answer of a request that is no work.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<T, HttpError> {
        self.soon(self.work(method, path, content)).await
    }

    /// A request that is no work, and whose answer says nothing.
    pub(super) async fn tell(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<(), HttpError> {
        self.soon(self.tell_work(method, path, content)).await
    }

    /// A request that takes as long as the work does, and whose answer says nothing.
    pub(super) async fn tell_work(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<(), HttpError> {
        whole(self.open(method, path, content).await?).await?;
        Ok(())
    }

    async fn soon<T>(
        &self,
        answer: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        let Some(limit) = self.request_timeout else {
            return answer.await;
        };
        let answered = tokio::time::timeout(limit, answer).await;
        answered.unwrap_or_else(|_| {
            Err(HttpError::Slow {
                server: self.shown(),
                limit,
            })
        })
    }
}

fn client(
    address: &Arc<Address>,
    roots: Arc<RootCertStore>,
) -> Result<legacy::Client<Connector, UnsyncBoxBody<Bytes, io::Error>>, HttpError> {
    let connector = Connector::new(Arc::clone(address), roots)?;
    // A Unix socket is connected to anew for each request: that costs little.
    let idle = match **address {
        Address::Unix(_) => 0,
        Address::Tcp { .. } => 16,
    };
    Ok(legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(idle)
        .build(connector))
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, HttpError> {
    let body = Limited::new(answer.into_body(), MOST_ANSWER_BYTES);
    Ok(body.collect().await.map_err(HttpError::Body)?.to_bytes())
}

pub(super) fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    serde_json::from_slice(bytes).map_err(|source| HttpError::Json {
        expected: "what was asked for",
        source,
    })
}

/// A text as the value of a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A name or identifier as a segment of a path.
pub(super) fn segment(text: &str) -> Result<String, HttpError> {
    match text {
        "" => Err(HttpError::EmptyName),
        // A path would be shortened by these.
        "." | ".." => Ok(text.replace('.', "%2E")),
        text => Ok(encoded(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_one_segment() {
        assert_eq!(segment("web-1").unwrap(), "web-1");
        assert_eq!(segment("a/b?c#ü").unwrap(), "a%2Fb%3Fc%23%C3%BC");
        assert_eq!(segment("..").unwrap(), "%2E%2E");
        assert!(segment("").is_err());
    }

    #[test]
    fn a_token_is_not_sent_in_clear_beyond_this_machine() {
        let server = |url: &str, token| {
            let roots = Arc::new(RootCertStore::empty());
            Server::new(Address::read(url).unwrap(), token, roots, None)
        };
        let error = server("http://192.0.2.1:80", Some("secret")).unwrap_err();
        assert!(matches!(error, HttpError::NotEncrypted { .. }), "{error}");
        assert!(server("http://192.0.2.1:80", None).is_ok());
        assert!(server("http://127.0.0.1:80", Some("secret")).is_ok());
        assert!(server("https://192.0.2.1", Some("secret")).is_ok());
        let error = server("http://127.0.0.1:80", Some("a\nb")).unwrap_err();
        assert!(matches!(error, HttpError::Token), "{error}");
    }
}
