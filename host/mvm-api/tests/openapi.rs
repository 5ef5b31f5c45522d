//! The published OpenAPI document is that of the code. `BLESS=1` writes it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

#[test]
fn the_published_document_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let document = mvm_api::openapi();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap() == document,
        "`docs/reference/openapi.json` and the code differ"
    );
}
