//! Listening, serving, ending.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mvm_runtime::Runtime;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::watch,
};
use tokio_util::task::TaskTracker;

use crate::{
    entrance::{self, Tls, Token},
    rehearsal::Rehearsal,
    router::router,
    state::Api,
};

/// How long a client may take for a request's head, or for the TLS handshake.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The largest head of a request, bytes.
const MOST_HEAD_BYTES: usize = 32 * 1024;
/// How long requests have that are being answered when the server is to end.
const ENDING_LIMIT: Duration = Duration::from_secs(10);
/// Out of descriptors, those in use will be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a server listens.
pub enum Place {
    /// A Unix socket, for this user alone.
    Unix(PathBuf),
    /// An address, for whoever has the token.
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What a client must show.
        token: Token,
        /// Without it, connections can be read on their way.
        tls: Option<Tls>,
    },
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is reached from elsewhere.
    #[error("`{address}` is not an address of this machine alone, and there is no TLS")]
    NotEncrypted {
        /// The address.
        address: SocketAddr,
    },
    /// Another server is there.
    #[error("another server listens on `{}`", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("failed to listen on `{place}`")]
    Listen {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl mvm_contract::Coded for ServeError {
    fn code(&self) -> mvm_contract::ErrorCode {
        match self {
            Self::NotEncrypted { .. } => mvm_contract::ErrorCode::PolicyDenied,
            Self::InUse { .. } | Self::Listen { .. } => mvm_contract::ErrorCode::InvalidArgument,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotEncrypted { .. } => {
                Some("give `--certificate` and `--key`, or listen on 127.0.0.1".to_owned())
            }
            Self::InUse { .. } => Some("end it, or choose another path".to_owned()),
            Self::Listen { .. } => None,
        }
    }
}

enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener, Token, Option<Tls>),
}

/// A server that listens.
pub struct Server {
    runtime: Runtime,
    listener: Listener,
}

impl Server {
    /// Listens; from here on clients wait until they are [served](Self::serve).
    pub async fn bind(runtime: Runtime, place: Place) -> Result<Self, ServeError> {
        let listener = match place {
            Place::Unix(path) => Listener::Unix(listen(&path).await?, path),
            Place::Tcp {
                address,
                token,
                tls,
            } => {
                if tls.is_none() && !address.ip().is_loopback() {
                    return Err(ServeError::NotEncrypted { address });
                }
                let bound = TcpListener::bind(address).await;
                let listener = bound.map_err(|source| ServeError::Listen {
                    place: address.to_string(),
                    source,
                })?;
                Listener::Tcp(listener, token, tls)
            }
        };
        Ok(Self { runtime, listener })
    }

    /// The address it listens on, where it is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener, ..) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// Serves until `end`; then leases and streams end, and requests that are being answered have
    /// 10 seconds.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let (ending, is_ending) = watch::channel(false);
        let router = router(Api::new(self.runtime.clone(), is_ending.clone()));
        self.answer(router, (ending, is_ending), end).await;
    }

    /// Answers until `end` as if what is asked for were done, and notes it; nothing is.
    pub async fn rehearse(self, rehearsal: &Rehearsal, end: impl Future<Output = ()>) {
        let (ending, is_ending) = watch::channel(false);
        let router = rehearsal.router(self.runtime.clone(), is_ending.clone());
        self.answer(router, (ending, is_ending), end).await;
    }

    async fn answer(
        self,
        router: Router,
        (ending, is_ending): (watch::Sender<bool>, watch::Receiver<bool>),
        end: impl Future<Output = ()>,
    ) {
        let router = match &self.listener {
            Listener::Unix(..) => router,
            Listener::Tcp(_, token, _) => {
                let token = token.clone();
                router.layer(middleware::from_fn_with_state(
                    token,
                    entrance::require_token,
                ))
            }
        };
        let connections = Connections {
            router,
            ending: is_ending,
            tasks: TaskTracker::new(),
        };
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = connections.accept(&self.listener) => accepted,
                () = &mut end => break,
            };
            if accepted.is_err() {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        let _ = ending.send(true);
        if let Listener::Unix(_, path) = &self.listener {
            let _ = std::fs::remove_file(path);
        }
        connections.tasks.close();
        let _ = tokio::time::timeout(ENDING_LIMIT, connections.tasks.wait()).await;
    }
}

struct Connections {
    router: Router,
    ending: watch::Receiver<bool>,
    tasks: TaskTracker,
}

impl Connections {
    /// Takes one connection. Cancel-safe.
    async fn accept(&self, listener: &Listener) -> io::Result<()> {
        match listener {
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                if is_own(&stream) {
                    self.tasks.spawn(self.serve(stream));
                } else {
                    tracing::warn!("refused a connection of another user");
                }
            }
            Listener::Tcp(listener, _, tls) => {
                let (stream, _) = listener.accept().await?;
                // Small frames are not held back.
                let _ = stream.set_nodelay(true);
                match tls {
                    None => drop(self.tasks.spawn(self.serve(stream))),
                    Some(Tls(acceptor)) => {
                        let handshake = tokio::time::timeout(HEAD_LIMIT, acceptor.accept(stream));
                        let (router, ending) = (self.router.clone(), self.ending.clone());
                        self.tasks.spawn(async move {
                            if let Ok(Ok(stream)) = handshake.await {
                                serve_connection(router, ending, stream).await;
                            }
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn serve<S>(&self, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        serve_connection(self.router.clone(), self.ending.clone(), stream)
    }
}

/// Serves a connection until its client ends it, or the server ends and its request is answered.
async fn serve_connection<S>(router: Router, mut ending: watch::Receiver<bool>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MOST_HEAD_BYTES);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let connection = connection.with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        // A client that broke off is none of ours.
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Whether the other end is a process of this user (`unix(7)`, `SO_PEERCRED`).
fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

/// Listens on a Unix socket that belongs to this user alone. What a dead server left is removed.
async fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Listen {
        place: path.display().to_string(),
        source,
    };
    if path.exists() {
        if UnixStream::connect(path).await.is_ok() {
            let path = path.to_owned();
            return Err(ServeError::InUse { path });
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever connected before this is asked who they are, as everybody is.
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, private).map_err(failed)?;
    Ok(listener)
}
