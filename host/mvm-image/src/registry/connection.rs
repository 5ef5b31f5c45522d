//! One HTTP/1.1 connection: which addresses may be connected to, and TLS.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Bytes of the head of an answer.
const MAX_HEAD: usize = 64 * 1024;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub tls: bool,
    /// In brackets where it is an IPv6 address.
    pub host: String,
    pub port: u16,
    /// With the query.
    pub path: String,
}

impl Place {
    /// An absolute address, `http` or `https`, without a name or password in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Self {
            tls,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: if path.starts_with('/') {
                path.into()
            } else {
                format!("/{path}")
            },
        })
    }

    /// Where `location` leads from here (RFC 9110 section 10.2.2): an absolute address, or a path
    /// from the root.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            let path: http::uri::PathAndQuery = location.parse().ok()?;
            return Some(Self {
                path: path.as_str().into(),
                ..self.clone()
            });
        }
        Self::parse(location)
    }

    /// Whether both are the same server, which may see what the other is shown.
    pub(super) fn same_server(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }

    /// Host and port as the `Host` header has them.
    pub(super) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// Without the query, which may be a secret.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}{path}", self.authority())
    }
}

/// Who can reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Loopback,
    /// Some network that is not everybody's.
    Private,
    Public,
}

impl Reach {
    pub(super) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Self::Loopback;
        }
        let private = match address {
            IpAddr::V4(address) => {
                let [first, second, ..] = address.octets();
                address.is_private()
                    || address.is_link_local()
                    || address.is_multicast()
                    || address.is_broadcast()
                    || first == 0
                    // Shared between a provider and its customers (RFC 6598), and reserved.
                    || (first == 100 && (64..128).contains(&second))
                    || first >= 240
            }
            IpAddr::V6(address) => {
                address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
                    // A way to IPv4 addresses of any kind (RFC 6052, RFC 3056).
                    || matches!(address.segments(), [0x64, 0xff9b, ..] | [0x2002, ..])
            }
        };
        if private { Self::Private } else { Self::Public }
    }

    /// Whether a registry of this reach may send to an address of the other: a public one knows no
    /// business of a network that it cannot reach itself.
    pub(super) fn may_send_to(self, other: Self) -> bool {
        self != Self::Public || other == Self::Public
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name cannot be resolved")]
    Resolve(#[source] io::Error),
    /// The name has no address that may be connected to.
    #[error("a public registry sends to `{address}`, which is not public")]
    NotPublic {
        /// An address of the name.
        address: IpAddr,
    },
    /// The name has no address that may be spoken to without TLS.
    #[error("without TLS only loopback addresses are spoken to, not `{address}`")]
    NotLoopback {
        /// An address of the name.
        address: IpAddr,
    },
    /// Nobody listens there.
    #[error("nothing accepts the connection")]
    Tcp(#[source] io::Error),
    /// It took too long.
    #[error("there was no connection in {} s", limit.as_secs_f32())]
    Time {
        /// The time limit.
        limit: Duration,
    },
    /// The host is nothing that a certificate could name.
    #[error("no certificate can name the host")]
    ServerName,
    /// TLS failed: most often the certificate is not trusted.
    #[error("no trusted TLS connection came about")]
    Tls(#[source] io::Error),
    /// HTTP failed before the request.
    #[error("the connection is no HTTP")]
    Http(#[source] hyper::Error),
    /// A certificate that was put there for the registry cannot be read.
    #[error("failed to read certificate `{}`", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate that was put there for the registry cannot be used.
    #[error("certificate `{}` cannot be trusted", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: tokio_rustls::rustls::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Configure(#[source] tokio_rustls::rustls::Error),
    /// Nobody is trusted.
    #[error("this host trusts no certificates at all")]
    NoRoots,
}

impl ConnectError {
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Resolve(_) | Self::Tcp(_) | Self::Time { .. } | Self::Http(_) => true,
            // A peer that is not trusted will not be the next time; one that hung up may.
            Self::Tls(error) => error.kind() != io::ErrorKind::InvalidData,
            _ => false,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Resolve(_) => "check the registry's name, and that there is a network".into(),
            Self::Tcp(_) | Self::Time { .. } => "check the registry's host and port".into(),
            Self::Tls(error) if error.kind() == io::ErrorKind::InvalidData => {
                "put the certificate of who signed the registry's into \
                 `/etc/docker/certs.d/HOST[:PORT]/ca.crt`"
                    .into()
            }
            Self::NotLoopback { .. } => "give the registry a certificate".into(),
            Self::NoRoots => "install the package `ca-certificates`".into(),
            Self::Certificate { path, .. } | Self::BadCertificate { path, .. } => {
                format!(
                    "put a certificate in PEM there, or remove `{}`",
                    path.display()
                )
            }
            _ => return None,
        })
    }
}

/// A connection for one request.
pub(super) struct Connection {
    pub requests: SendRequest<Full<Bytes>>,
    pub reach: Reach,
}

/// The certificates that are trusted for a registry: the system's, and `*.crt` in the registry's
/// directory in one of `directories`.
pub(super) fn trust(
    registry: &str,
    directories: &[PathBuf],
) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut roots = RootCertStore::empty();
    // What cannot be read of the system's is left out, as other programs do; who trusts nobody is
    // told so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for directory in directories {
        add_certificates(&directory.join(registry), &mut roots)?;
    }
    if roots.is_empty() {
        return Err(ConnectError::NoRoots);
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConnectError::Configure)?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_certificates(directory: &Path, roots: &mut RootCertStore) -> Result<(), ConnectError> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect();
    paths.sort();
    for path in paths {
        let read = |source| ConnectError::Certificate {
            path: path.clone(),
            source,
        };
        for certificate in CertificateDer::pem_file_iter(&path).map_err(read)? {
            let added = roots.add(certificate.map_err(read)?);
            added.map_err(|source| ConnectError::BadCertificate {
                path: path.clone(),
                source,
            })?;
        }
    }
    Ok(())
}

/// Connects to a place; `from` is the reach of the registry that sends there, if another did.
pub(super) async fn connect(
    place: &Place,
    from: Option<Reach>,
    trust: &Arc<ClientConfig>,
    limit: Duration,
) -> Result<Connection, ConnectError> {
    let connecting = async {
        let addresses = resolve(place, from).await?;
        let stream = dial(&addresses).await.map_err(ConnectError::Tcp)?;
        let reach = Reach::of(stream.peer_addr().map_err(ConnectError::Tcp)?.ip());
        let _ = stream.set_nodelay(true);
        let requests = if place.tls {
            let name = place.host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|_| ConnectError::ServerName)?;
            let connector = TlsConnector::from(Arc::clone(trust));
            let stream = connector
                .connect(name, stream)
                .await
                .map_err(ConnectError::Tls)?;
            speak(stream).await?
        } else {
            speak(stream).await?
        };
        Ok(Connection { requests, reach })
    };
    let timed = tokio::time::timeout(limit, connecting).await;
    timed.map_err(|_| ConnectError::Time { limit })?
}

/// The addresses of a place that may be connected to. They are what is connected to: a name that
/// means something else a moment later changes nothing.
async fn resolve(place: &Place, from: Option<Reach>) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = place.host.trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, place.port)).await;
    let found: Vec<SocketAddr> = found.map_err(ConnectError::Resolve)?.collect();
    let first = found
        .first()
        .map(SocketAddr::ip)
        .ok_or_else(|| ConnectError::Resolve(io::Error::from(io::ErrorKind::NotFound)))?;
    let mut allowed = found;
    if !place.tls {
        allowed.retain(|address| Reach::of(address.ip()) == Reach::Loopback);
        if allowed.is_empty() {
            return Err(ConnectError::NotLoopback { address: first });
        }
    }
    if let Some(from) = from {
        allowed.retain(|address| from.may_send_to(Reach::of(address.ip())));
        if allowed.is_empty() {
            return Err(ConnectError::NotPublic { address: first });
        }
    }
    Ok(allowed)
}

async fn dial(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, ConnectError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (requests, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ConnectError::Http)?;
    // It ends with the connection; how it ends is told to the request.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_registry_sends_to_public_addresses_only() {
        for address in [
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "fd00::1",
            "fe80::1",
            "::",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ] {
            let reach = Reach::of(address.parse().unwrap());
            assert_eq!(reach, Reach::Private, "{address}");
            assert!(!Reach::Public.may_send_to(reach));
            assert!(Reach::Private.may_send_to(reach) && Reach::Loopback.may_send_to(reach));
        }
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let reach = Reach::of(address.parse().unwrap());
            assert_eq!(reach, Reach::Loopback, "{address}");
            assert!(!Reach::Public.may_send_to(reach));
        }
        for address in [
            "192.0.1.1",
            "8.8.4.4",
            "2620:fe::fe",
            "100.128.0.1",
            "172.32.0.1",
        ] {
            let reach = Reach::of(address.parse().unwrap());
            assert_eq!(reach, Reach::Public, "{address}");
            assert!(Reach::Public.may_send_to(reach));
        }
    }

    #[tokio::test]
    async fn addresses_are_refused_before_they_are_connected_to() {
        let place = |text| Place::parse(text).unwrap();
        let private = resolve(&place("https://169.254.169.254/"), Some(Reach::Public)).await;
        assert!(matches!(private, Err(ConnectError::NotPublic { .. })));
        let own = resolve(&place("https://localhost/"), Some(Reach::Public)).await;
        assert!(matches!(own, Err(ConnectError::NotPublic { .. })));
        let plain = resolve(&place("http://192.0.2.1:5000/"), None).await;
        assert!(matches!(plain, Err(ConnectError::NotLoopback { .. })));
        assert!(
            resolve(&place("http://127.0.0.1:5000/"), None)
                .await
                .is_ok()
        );
    }

    #[test]
    fn places_are_joined_and_shown_without_their_query() {
        let place = Place::parse("https://R.example/v2/a?signature=x").unwrap();
        assert_eq!(place.to_string(), "r.example/v2/a");
        let joined = place.join("/other?x").unwrap();
        assert!(joined.same_server(&place) && joined.path == "/other?x");
        let elsewhere = place.join("http://r.example:8080/").unwrap();
        assert!(!elsewhere.same_server(&place) && !elsewhere.tls);
        assert_eq!(elsewhere.authority(), "r.example:8080");
        for text in [
            "//other/x",
            "ftp://x/",
            "https://",
            "relative",
            "https://u:p@h/",
            "",
            "\n",
        ] {
            assert_eq!(place.join(text), None, "{text}");
        }
    }
}
