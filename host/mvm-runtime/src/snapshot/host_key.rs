//! The key of this host, with which it authenticates what it saved.

use std::{fs, io, path::PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use mvm_image::Digest;
use sha2::Sha256;

use crate::{durable, home::Home, random};

const FILE_NAME: &str = "snapshot.key";
const KEY_BYTES: usize = 32;

/// HMAC-SHA-256 (RFC 2104) under a key that never leaves the host.
pub(crate) struct HostKey([u8; KEY_BYTES]);

/// Why there is no usable key.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} the host's key `{}`", path.display())]
pub struct HostKeyError {
    /// What was being done.
    pub doing: &'static str,
    /// The key.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl HostKey {
    /// The host's key, made on first use (0600).
    pub(crate) fn load(home: &Home) -> Result<Self, HostKeyError> {
        let path = home.keys().join(FILE_NAME);
        let failed = |doing| {
            let path = path.clone();
            move |source| HostKeyError {
                doing,
                path,
                source,
            }
        };
        if !path.exists() {
            let fresh = random::bytes::<KEY_BYTES>().map_err(failed("make"))?;
            // Of several that make one at the same time, the first decides.
            durable::create(&path, &fresh).map_err(failed("write"))?;
        }
        let bytes = fs::read(&path).map_err(failed("read"))?;
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice());
        let key = key.map_err(|_| failed("use")(io::ErrorKind::InvalidData.into()))?;
        Ok(Self(key))
    }

    /// A name for the key that does not tell it.
    pub(crate) fn name(&self) -> String {
        Digest::of(&[b"mvm host key\0", &self.0[..]].concat()).hex()[..16].to_owned()
    }

    /// The authentication code of some bytes, hexadecimal.
    pub(crate) fn authenticate(&self, bytes: &[u8]) -> String {
        hex::encode(self.mac(bytes).finalize().into_bytes())
    }

    /// Whether a code is that of some bytes; takes a time that does not depend on where they
    /// differ.
    pub(crate) fn verifies(&self, bytes: &[u8], code: &str) -> bool {
        hex::decode(code).is_ok_and(|code| self.mac(bytes).verify_slice(&code).is_ok())
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(bytes);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_tells_hosts_apart() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let load = |root: &tempfile::TempDir| HostKey::load(&Home::open(root.path()).unwrap());
        let (one, again) = (load(&roots[0]).unwrap(), load(&roots[0]).unwrap());
        let other = load(&roots[1]).unwrap();
        let code = one.authenticate(b"manifest");
        assert!(again.verifies(b"manifest", &code) && one.name() == again.name());
        assert!(!again.verifies(b"Manifest", &code));
        assert!(!other.verifies(b"manifest", &code) && one.name() != other.name());
        for wrong in ["", "zz", &code[..32]] {
            assert!(!one.verifies(b"manifest", wrong));
        }
    }
}
