//! Store paths, and what `nix path-info` says of them.

use serde::{Deserialize, Serialize};

use super::NixError;
use crate::limits::Limits;
use mvm_contract::{Digest, canonical};

/// Where store paths begin, in every store.
pub(super) const STORE: &str = "/nix/store/";

/// Most paths of one closure.
const MAX_PATHS: usize = 100_000;

/// One path of a closure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosurePath {
    /// `/nix/store/HASH-NAME`.
    pub path: String,
    /// Digest of its NAR, as the store recorded it when the path was built or fetched.
    pub nar_hash: Digest,
}

/// What is built into an image: an output and everything it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closure {
    pub(super) output: String,
    /// In the order of their paths.
    pub(super) paths: Vec<ClosurePath>,
}

#[derive(Serialize)]
struct Manifest<'a> {
    kind: &'static str,
    version: u32,
    output: &'a str,
    closure: &'a [ClosurePath],
}

/// Raised whenever the same closure would make another tree than before.
const TREE_VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PathInfo {
    path: String,
    nar_hash: Option<String>,
}

impl Closure {
    /// The closure of `output`, from the answer of `nix path-info --recursive --json`.
    pub(super) fn read(output: &str, answer: &[u8], limits: &Limits) -> Result<Self, NixError> {
        let infos: Vec<PathInfo> =
            serde_json::from_slice(answer).map_err(|source| NixError::Answer {
                question: "path-info",
                source,
            })?;
        let limit = MAX_PATHS.min(usize::try_from(limits.entries).unwrap_or(usize::MAX));
        if infos.len() > limit {
            let count = infos.len();
            return Err(NixError::Paths { count, limit });
        }
        let mut paths = Vec::with_capacity(infos.len());
        for info in infos {
            let hash = info.nar_hash.as_deref().and_then(digest_of);
            paths.push(ClosurePath {
                path: store_path(&info.path)?.to_owned(),
                nar_hash: hash.ok_or_else(|| NixError::NarHash {
                    path: info.path.clone(),
                    hash: info.nar_hash.clone().unwrap_or_default(),
                })?,
            });
        }
        paths.sort();
        if !paths.iter().any(|path| path.path == output) {
            return Err(NixError::StorePath {
                path: output.into(),
            });
        }
        Ok(Self {
            output: output.into(),
            paths,
        })
    }

    /// What the image is made of, as one digest: it names the image in the store's records.
    pub(crate) fn manifest(&self) -> Digest {
        let manifest = Manifest {
            kind: "nix-closure",
            version: TREE_VERSION,
            output: &self.output,
            closure: &self.paths,
        };
        let bytes = canonical::to_bytes(&manifest).expect("texts and numbers can be written");
        Digest::of(&bytes)
    }
}

/// `path`, if it is one that a store can have (and no other place of the host).
pub(super) fn store_path(path: &str) -> Result<&str, NixError> {
    let valid = path.strip_prefix(STORE).is_some_and(|name| {
        (34..=211).contains(&name.len())
            && name.as_bytes()[32] == b'-'
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte))
    });
    if valid {
        Ok(path)
    } else {
        Err(NixError::StorePath { path: path.into() })
    }
}

/// A hash in Nix's forms: `sha256-BASE64`, `sha256:BASE32` or `sha256:HEX`.
pub(super) fn digest_of(text: &str) -> Option<Digest> {
    if let Some(encoded) = text.strip_prefix("sha256-") {
        return from_base64(encoded);
    }
    let encoded = text.strip_prefix("sha256:")?;
    match encoded.len() {
        52 => from_base32(encoded),
        _ => text.parse().ok(),
    }
}

fn from_base64(text: &str) -> Option<Digest> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43)?;
    let mut bytes = Vec::with_capacity(33);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)? as u32;
        held = held << 6 | value;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // What is left over carries nothing.
    (held == 0).then_some(())?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

/// Nix's own alphabet; the last digit holds the first bits.
fn from_base32(text: &str) -> Option<Digest> {
    const ALPHABET: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut bytes = [0_u8; 32];
    for (index, digit) in text.bytes().rev().enumerate() {
        let value = ALPHABET.iter().position(|known| *known == digit)? as u16;
        let bit = index * 5;
        let shifted = value << (bit % 8);
        *bytes.get_mut(bit / 8)? |= shifted as u8;
        let carried = (shifted >> 8) as u8;
        match bytes.get_mut(bit / 8 + 1) {
            Some(byte) => *byte |= carried,
            None if carried == 0 => {}
            None => return None,
        }
    }
    Some(Digest::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_in_all_of_nixs_forms() {
        let hex = "153d85ef1e46b2146892660951567d312eea24410ff99d9d34158279e42dd934";
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        for text in [
            format!("sha256:{hex}"),
            "sha256-FT2F7x5GshRokmYJUVZ9MS7qJEEP+Z2dNBWCeeQt2TQ=".into(),
            "sha256:BASE32".into(),
        ] {
            let text = text.replace("BASE32", &nix_base32(hex));
            assert_eq!(digest_of(&text), Some(digest), "{text}");
        }
        for text in ["", "sha256-", "sha256-FT2F7x5G", "md5:00", "sha256:xyz"] {
            assert_eq!(digest_of(text), None, "{text}");
        }
    }

    /// The reference's own words for it.
    fn nix_base32(hex: &str) -> String {
        let output = std::process::Command::new("nix-hash")
            .args(["--type", "sha256", "--to-base32", hex])
            .output()
            .expect("apt-get install nix-bin");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn only_paths_of_the_store_are_store_paths() {
        let hash = "frli6m1vr758mvw30lyz7is2p6c5m6hv";
        assert!(store_path(&format!("/nix/store/{hash}-tiny-root")).is_ok());
        for path in [
            "/etc/passwd".to_owned(),
            format!("/nix/store/{hash}-a/../../etc"),
            format!("/nix/store/{hash}-"),
            format!("/nix/store/{hash}"),
            "/nix/store/..".to_owned(),
        ] {
            assert!(store_path(&path).is_err(), "{path}");
        }
    }
}
