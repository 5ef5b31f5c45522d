//! The keys of this host: the one it signs with, those it believes, and the policy it holds plans
//! against.
//!
//! ```text
//! keys/host.key       the host's signer, Ed25519, PKCS #8 in PEM (RFC 8410), 0600
//! keys/trusted.json   other keys that are believed, and keys that are believed no more
//! policy.json         what plans may do here; without it the profiles alone decide
//! ```

mod pem;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mvm_contract::{
    Coded, ErrorCode, KeyId, SigningKey,
    audit::{Event, EventKind},
    policy::{HostPolicy, PolicyError},
    trust::{KeyRole, TRUST_ROOTS_VERSION, TrustError, TrustRoots, TrustedKey},
};

use crate::{
    audit::{AuditError, AuditLog, Durability},
    durable,
    home::Home,
    random,
};

pub use pem::{read_private_key, read_public_key, write_private_key, write_public_key};

/// What the host's own key is called among the trust roots.
pub const HOST_KEY_NAME: &str = "host";

/// Why a key or the policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// A file cannot be read or written.
    #[error("failed to {doing} `{}`", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds no key of its kind.
    #[error("`{}` is not an Ed25519 key in PEM", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The file of trust roots cannot be used.
    #[error("`{}` cannot be used", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// The host's policy cannot be used.
    #[error("`{}` cannot be used", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// The keys contradict each other with a new one.
    #[error("key `{name}` cannot be trusted")]
    Refused {
        /// What it was to be called.
        name: String,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// No key of this name or identifier is trusted.
    #[error("no key `{key}` is trusted here")]
    NotFound {
        /// What was asked for.
        key: String,
    },
    /// What became of a key cannot be recorded.
    #[error(transparent)]
    Audit(Box<AuditError>),
    /// The host's own key ends by being replaced.
    #[error("`{HOST_KEY_NAME}` is the key this host signs with")]
    OwnKey,
}

impl Coded for KeyStoreError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File { .. } => ErrorCode::SandboxUnavailable,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Audit(error) => error.code(),
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Policy { .. } => Some("check it: `mvmctl policy validate FILE`".to_owned()),
            Self::NotFound { .. } | Self::Refused { .. } => {
                Some("see which are: `mvmctl key list`".to_owned())
            }
            Self::Audit(error) => error.hint(),
            Self::OwnKey => Some("replace it: `mvmctl key rotate`".to_owned()),
            Self::NotAKey { .. } => {
                Some("make one: `openssl genpkey -algorithm ed25519`".to_owned())
            }
            _ => None,
        }
    }
}

/// The key this host signs plans, records and receipts with; made on first use.
pub fn host_signer(home: &Home) -> Result<SigningKey, KeyStoreError> {
    let path = signer_path(home);
    if !path.exists() {
        let failed = |source| file("make", &path)(source);
        let seed = random::bytes::<32>().map_err(failed)?;
        // Of several that make one at the same time, the first decides.
        durable::create(&path, write_private_key(&seed).as_bytes()).map_err(failed)?;
    }
    let text = fs::read(&path).map_err(file("read", &path))?;
    read_private_key(&text).ok_or(KeyStoreError::NotAKey { path })
}

/// The keys this host believes: its own, and those of `keys/trusted.json`. What that file says of
/// the host's own key counts more.
pub fn trust_roots(home: &Home) -> Result<TrustRoots, KeyStoreError> {
    let mut roots = read_roots(home)?;
    let own = host_signer(home)?.public_key();
    if roots.key(own.id()).is_none() {
        let key = TrustedKey {
            name: HOST_KEY_NAME.to_owned(),
            role: KeyRole::Host,
            public_key: own,
            not_before: 0,
            not_after: None,
            revoked_at: None,
        };
        roots.keys.insert(0, key);
    }
    Ok(roots)
}

/// The policy of this host; that of a host without a policy file where there is none.
pub fn host_policy(home: &Home) -> Result<HostPolicy, KeyStoreError> {
    let path = home.policy();
    match fs::read(&path) {
        Ok(bytes) => {
            HostPolicy::read(&bytes).map_err(|source| KeyStoreError::Policy { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HostPolicy::default()),
        Err(error) => Err(file("read", &path)(error)),
    }
}

/// Believes a key from now on.
pub fn trust(home: &Home, key: TrustedKey) -> Result<KeyId, KeyStoreError> {
    let _lock = lock(home)?;
    let (id, name) = (key.public_key.id(), key.name.clone());
    let mut roots = read_roots(home)?;
    if name == HOST_KEY_NAME || id == host_signer(home)?.public_key().id() {
        return Err(KeyStoreError::OwnKey);
    }
    roots.keys.push(key);
    let refused = |source| KeyStoreError::Refused { name, source };
    roots.validate().map_err(refused)?;
    // What cannot be recorded is not believed.
    record(home, EventKind::KeyTrusted, id)?;
    write_roots(home, &roots)?;
    Ok(id)
}

/// Believes a key, given by its name or identifier, no more from `now` (seconds since the Unix
/// epoch) on. One that was revoked before stays so.
pub fn revoke(home: &Home, key: &str, now: u64) -> Result<KeyId, KeyStoreError> {
    let _lock = lock(home)?;
    let mut roots = read_roots(home)?;
    let own = host_signer(home)?.public_key().id();
    if key == HOST_KEY_NAME || key.parse() == Ok(own) {
        return Err(KeyStoreError::OwnKey);
    }
    let found = roots
        .keys
        .iter_mut()
        .find(|trusted| trusted.name == key || key.parse() == Ok(trusted.public_key.id()));
    let Some(found) = found else {
        let key = key.to_owned();
        return Err(KeyStoreError::NotFound { key });
    };
    found.revoked_at.get_or_insert(now);
    let id = found.public_key.id();
    // In force first, whatever becomes of the record.
    write_roots(home, &roots)?;
    record(home, EventKind::KeyRevoked, id)?;
    Ok(id)
}

/// Makes a new key for this host. The old one signs no plan from `now` (seconds since the Unix
/// epoch) on; what it recorded before is believed still.
pub fn rotate(home: &Home, now: u64) -> Result<KeyId, KeyStoreError> {
    let _lock = lock(home)?;
    let old = host_signer(home)?.public_key();
    let mut roots = read_roots(home)?;
    let path = signer_path(home);
    if roots.key(old.id()).is_none() {
        let id = old.id().to_string();
        roots.keys.push(TrustedKey {
            name: format!("{HOST_KEY_NAME}-{}", &id[..16]),
            role: KeyRole::Record,
            public_key: old,
            not_before: 0,
            // The second it is in counts still: records of this second are signed with it.
            not_after: Some(now.saturating_add(1)),
            revoked_at: None,
        });
        // First: a death in between leaves a host whose key signs nothing, not records that
        // nobody believes.
        write_roots(home, &roots)?;
    }
    let seed = random::bytes::<32>().map_err(file("make", &path))?;
    durable::replace(&path, write_private_key(&seed).as_bytes()).map_err(file("write", &path))?;
    let id = SigningKey::from_seed(&seed).public_key().id();
    record(home, EventKind::KeyTrusted, id)?;
    Ok(id)
}

/// Records, durably, what became of a key.
fn record(home: &Home, kind: EventKind, key: KeyId) -> Result<(), KeyStoreError> {
    let mut event = Event::new(kind);
    event.key = Some(key);
    let signer = host_signer(home)?;
    let appended =
        AuditLog::open(home).and_then(|mut log| log.append(event, &signer, Durability::Durable));
    let failed = |error| KeyStoreError::Audit(Box::new(error));
    appended.map(drop).map_err(failed)
}

fn signer_path(home: &Home) -> PathBuf {
    home.keys().join("host.key")
}

fn roots_path(home: &Home) -> PathBuf {
    home.keys().join("trusted.json")
}

fn read_roots(home: &Home) -> Result<TrustRoots, KeyStoreError> {
    let path = roots_path(home);
    match fs::read(&path) {
        Ok(bytes) => {
            TrustRoots::read(&bytes).map_err(|source| KeyStoreError::Roots { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(TrustRoots {
            version: TRUST_ROOTS_VERSION,
            keys: Vec::new(),
        }),
        Err(error) => Err(file("read", &path)(error)),
    }
}

fn write_roots(home: &Home, roots: &TrustRoots) -> Result<(), KeyStoreError> {
    let path = roots_path(home);
    let bytes = serde_json::to_vec_pretty(roots).map_err(io::Error::from);
    let written = bytes.and_then(|bytes| durable::replace(&path, &bytes));
    written.map_err(file("write", &path))
}

/// One change at a time.
fn lock(home: &Home) -> Result<fs::File, KeyStoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = home.keys().join("lock");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let taken = options.open(&path).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    taken.map_err(file("lock", &path))
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyStoreError {
    let path = path.to_owned();
    move |source| KeyStoreError::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;
