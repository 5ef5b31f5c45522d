//! Requests to one repository of a registry: authentication, redirects, and asking again.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE,
    RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use serde::Deserialize;
use tokio_rustls::rustls::ClientConfig;

use super::PullError;
use super::challenge::{self, Challenge};
use super::connection::{self, Place, Reach};
use super::credentials::{self, Credentials, Secret};
use super::options::RegistryOptions;
use super::reference::RegistryReference;

/// Redirects of one request that are followed.
const REDIRECTS: usize = 5;
/// Bytes of an answer with a token.
const MAX_TOKEN: usize = 256 * 1024;
/// The longest pause between two tries that nobody asked for.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Asks for what one repository has.
pub(super) struct Client {
    registry: String,
    repository: String,
    root: Place,
    options: RegistryOptions,
    trust: Arc<ClientConfig>,
    /// What the registry is shown, once it wanted something.
    shown: Mutex<Option<HeaderValue>>,
    /// Who can reach the registry, once it was connected to.
    reach: OnceLock<Reach>,
}

/// An answer to a request for content, and who gave it.
pub(super) struct Answer {
    pub place: Place,
    pub response: Response<Incoming>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    pub(super) fn new(
        reference: &RegistryReference,
        options: &RegistryOptions,
    ) -> Result<Self, PullError> {
        let registry = reference.registry();
        let tls = !options.insecure.contains(&registry);
        if !tls && options.refuse_insecure {
            return Err(PullError::InsecureRefused { registry });
        }
        let trust = connection::trust(&registry, &options.certificates);
        Ok(Self {
            trust: trust.map_err(|source| PullError::Connect {
                host: registry.clone(),
                source,
            })?,
            root: Place {
                tls,
                host: reference.host().to_ascii_lowercase(),
                port: reference.port().unwrap_or(if tls { 443 } else { 80 }),
                path: "/".into(),
            },
            registry,
            repository: reference.repository().into(),
            options: options.clone(),
            shown: Mutex::default(),
            reach: OnceLock::new(),
        })
    }

    /// Whether the registry is spoken to without TLS.
    pub(super) fn is_insecure(&self) -> bool {
        !self.root.tls
    }

    pub(super) fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// Does `attempt` again while it fails for reasons that pass. It is given how often it was
    /// done before, and says itself whether it got on since.
    pub(super) async fn persist<T>(
        &self,
        mut attempt: impl AsyncFnMut(&mut u32) -> Result<T, PullError>,
    ) -> Result<T, PullError> {
        let patience = &self.options.patience;
        let mut failures = 0;
        loop {
            let error = match attempt(&mut failures).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            failures += 1;
            if !error.is_passing() || failures >= patience.tries {
                return Err(error);
            }
            let pause = patience.pause.saturating_mul(1 << (failures - 1).min(16));
            let asked = match &error {
                PullError::Status {
                    retry_after: Some(wait),
                    place,
                    ..
                } if *wait > patience.retry_after => {
                    return Err(PullError::TooBusy {
                        place: place.clone(),
                        wait: *wait,
                    });
                }
                PullError::Status { retry_after, .. } => *retry_after,
                _ => None,
            };
            tokio::time::sleep(asked.unwrap_or(pause.min(MAX_PAUSE))).await;
        }
    }

    /// Asks for `kind` (`manifests` or `blobs`) of a name, from byte `from` on.
    ///
    /// The registry alone is shown credentials; whoever it redirects to is not.
    pub(super) async fn get(
        &self,
        kind: &str,
        name: &str,
        accept: &'static str,
        from: u64,
    ) -> Result<Answer, PullError> {
        let mut place = Place {
            path: format!("/v2/{}/{kind}/{name}", self.repository),
            ..self.root.clone()
        };
        let begin = place.to_string();
        let mut authorized = false;
        let mut redirects = 0;
        loop {
            let is_registry = place.same_server(&self.root);
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            if from > 0 {
                headers.insert(RANGE, header(&format!("bytes={from}-"), &place)?);
            }
            if let Some(shown) = self.shown().filter(|_| is_registry) {
                headers.insert(AUTHORIZATION, shown);
            }
            let response = self
                .send(Method::GET, &place, headers, Bytes::new())
                .await?;
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                    return Ok(Answer { place, response });
                }
                StatusCode::UNAUTHORIZED if is_registry && !authorized => {
                    self.authorize(response.headers()).await?;
                    authorized = true;
                }
                StatusCode::UNAUTHORIZED if is_registry => {
                    return Err(PullError::Unauthorized {
                        registry: self.registry.clone(),
                    });
                }
                StatusCode::FORBIDDEN if is_registry => {
                    return Err(PullError::Forbidden {
                        registry: self.registry.clone(),
                        repository: self.repository.clone(),
                    });
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    redirects += 1;
                    if redirects > REDIRECTS {
                        return Err(PullError::Redirects {
                            place: begin,
                            limit: REDIRECTS,
                        });
                    }
                    place = self.follow(&place, response.headers())?;
                }
                StatusCode::NOT_FOUND => {
                    return Err(PullError::NotFound {
                        place: place.to_string(),
                    });
                }
                _ => return Err(status_error(&place, &response)),
            }
        }
    }

    fn follow(&self, place: &Place, headers: &HeaderMap) -> Result<Place, PullError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let next = location.and_then(|location| place.join(location));
        let next = next.ok_or_else(|| PullError::RedirectNowhere {
            place: place.to_string(),
        })?;
        self.check_tls(place, &next)?;
        Ok(next)
    }

    /// Nothing that was asked for over TLS is got without it.
    fn check_tls(&self, from: &Place, to: &Place) -> Result<(), PullError> {
        if self.root.tls && !to.tls {
            return Err(PullError::Downgrade {
                place: from.to_string(),
                to: to.to_string(),
            });
        }
        Ok(())
    }

    fn shown(&self) -> Option<HeaderValue> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Gets what the registry demands to be shown.
    async fn authorize(&self, headers: &HeaderMap) -> Result<(), PullError> {
        let challenges = headers.get_all(WWW_AUTHENTICATE);
        let challenge = challenge::choose(challenges.iter().filter_map(|it| it.to_str().ok()));
        let registry = || self.registry.clone();
        let challenge = challenge.ok_or_else(|| PullError::Challenge {
            registry: registry(),
        })?;
        let limit = self.options.patience.credential_helper;
        let credentials = match &self.options.docker_config {
            Some(directory) => credentials::look_up(directory, &self.registry, limit)
                .await
                .map_err(|source| PullError::Credentials {
                    registry: registry(),
                    source,
                })?,
            None => None,
        };
        let shown = match (challenge, credentials) {
            (Challenge::Bearer { .. }, Some(Credentials::Token(token))) => bearer(token.reveal()),
            (Challenge::Bearer { realm, service }, credentials) => {
                let token = self.token(&realm, service.as_deref(), credentials).await?;
                bearer(token.reveal())
            }
            (Challenge::Basic, Some(Credentials::Password { name, password })) => {
                basic(&name, &password)
            }
            (Challenge::Basic, _) => {
                return Err(PullError::NoCredentials {
                    registry: registry(),
                });
            }
        };
        let shown = shown.ok_or_else(|| PullError::Unauthorized {
            registry: registry(),
        })?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(())
    }

    /// Asks `realm` for a token with which this repository, and nothing else, can be pulled.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        credentials: Option<Credentials>,
    ) -> Result<Secret, PullError> {
        let mut place = Place::parse(realm).ok_or_else(|| PullError::Challenge {
            registry: self.registry.clone(),
        })?;
        self.check_tls(&self.root, &place)?;
        let had_credentials = credentials.is_some();
        let scope = format!("repository:{}:pull", self.repository);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("scope", &scope);
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        let mut headers = HeaderMap::new();
        let (method, body) = match credentials {
            Some(Credentials::Identity(token)) => {
                // OAuth 2, as the distribution's token scheme has it.
                query.append_pair("grant_type", "refresh_token");
                query.append_pair("client_id", "mvm");
                query.append_pair("refresh_token", token.reveal());
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, form);
                (Method::POST, Bytes::from(query.finish()))
            }
            other => {
                if let Some(Credentials::Password { name, password }) = other
                    && let Some(shown) = basic(&name, &password)
                {
                    headers.insert(AUTHORIZATION, shown);
                }
                let joint = if place.path.contains('?') { '&' } else { '?' };
                place.path = format!("{}{joint}{}", place.path, query.finish());
                (Method::GET, Bytes::new())
            }
        };
        let response = self
            .persist(async |_| {
                let (method, headers, body) = (method.clone(), headers.clone(), body.clone());
                let response = self.send(method, &place, headers, body).await?;
                match response.status() {
                    status if status.is_server_error() || status.as_u16() == 429 => {
                        Err(status_error(&place, &response))
                    }
                    _ => Ok(response),
                }
            })
            .await?;
        let registry = self.registry.clone();
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if had_credentials => {
                return Err(PullError::Unauthorized { registry });
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(PullError::NoCredentials { registry });
            }
            // A redirect too: who has the credentials is not sent elsewhere with them.
            _ => return Err(status_error(&place, &response)),
        }
        let malformed = || PullError::Token {
            place: place.to_string(),
        };
        let body = http_body_util::Limited::new(response.into_body(), MAX_TOKEN).collect();
        let limit = self.options.patience.stall;
        let body = tokio::time::timeout(limit, body).await;
        let body = body.map_err(|_| PullError::Stalled {
            place: place.to_string(),
            limit,
        })?;
        let body = body.map_err(|_| malformed())?.to_bytes();
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| malformed())?;
        let token = answer.token.or(answer.access_token);
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or_else(malformed)?;
        Ok(Secret::new(token))
    }

    /// One request over a connection of its own.
    async fn send(
        &self,
        method: Method,
        place: &Place,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, PullError> {
        let patience = &self.options.patience;
        let from = match place.same_server(&self.root) {
            true => None,
            false => self.reach.get().copied(),
        };
        let connected = connection::connect(place, from, &self.trust, patience.connect).await;
        let mut connection = connected.map_err(|source| PullError::Connect {
            host: place.authority(),
            source,
        })?;
        if place.same_server(&self.root) {
            let _ = self.reach.set(connection.reach);
        }
        headers.insert(HOST, header(&place.authority(), place)?);
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("mvm/", env!("CARGO_PKG_VERSION"))),
        );
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = place.path.parse().map_err(|_| PullError::RedirectNowhere {
            place: place.to_string(),
        })?;
        *request.headers_mut() = headers;
        let answer = connection.requests.send_request(request);
        let answer = tokio::time::timeout(patience.answer, answer).await;
        let answer = answer.map_err(|_| PullError::NoAnswer {
            place: place.to_string(),
            limit: patience.answer,
        })?;
        answer.map_err(|source| PullError::Broken {
            place: place.to_string(),
            source,
        })
    }
}

fn header(text: &str, place: &Place) -> Result<HeaderValue, PullError> {
    HeaderValue::from_str(text).map_err(|_| PullError::RedirectNowhere {
        place: place.to_string(),
    })
}

fn bearer(token: &str) -> Option<HeaderValue> {
    secret_header(&format!("Bearer {token}"))
}

fn basic(name: &str, password: &Secret) -> Option<HeaderValue> {
    let both = format!("{name}:{}", password.reveal());
    secret_header(&format!("Basic {}", STANDARD.encode(both)))
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn status_error(place: &Place, response: &Response<Incoming>) -> PullError {
    PullError::Status {
        place: place.to_string(),
        status: response.status().as_u16(),
        retry_after: retry_after(response.headers()),
    }
}

/// How long an answer asks to be left alone (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text_of(headers, &RETRY_AFTER)?;
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let until = httpdate::parse_http_date(text.trim()).ok()?;
            // A time that has passed is no wait.
            Some(until.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

/// A header's value, if it is there once.
pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
