//! What requests and answers hold. These types are the API's own: what the runtime records can
//! change without them.

pub(crate) mod command;
pub(crate) mod file;
pub(crate) mod sandbox;

/// Bytes in JSON.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
