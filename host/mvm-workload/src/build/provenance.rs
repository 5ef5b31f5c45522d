//! Where an image comes from, as a signed in-toto statement with the SLSA provenance predicate
//! (Statement v1, SLSA provenance v1). It has no times: the same inputs and the same signer give
//! the same bytes.

use mvm_contract::{
    Digest, SigningKey,
    canonical::{self, WriteError},
    dsse,
    receipt::STATEMENT,
};
use serde_json::json;

use super::Build;

const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
const BUILD_TYPE: &str = "urn:mvm:build:v1";

/// What went into an image.
pub(super) struct Inputs<'a> {
    pub(super) app: &'a str,
    pub(super) workload: Digest,
    /// The base as it was named, and its manifest.
    pub(super) base: (&'a str, Digest),
    /// The layer of source, files and document.
    pub(super) layer: Digest,
}

pub(super) fn seal(
    inputs: &Inputs<'_>,
    built: &Build,
    key: &SigningKey,
) -> Result<Vec<u8>, WriteError> {
    let named =
        |name: &str, digest: Digest| json!({ "name": name, "digest": { "sha256": digest.hex() } });
    let (base, base_manifest) = inputs.base;
    let statement = json!({
        "_type": STATEMENT,
        "subject": [
            named("image", built.image_digest),
            named("manifest", built.manifest_digest),
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": { "app": inputs.app, "workload": inputs.workload },
                "resolvedDependencies": [
                    { "uri": base, "digest": { "sha256": base_manifest.hex() } },
                    named("layer", inputs.layer),
                    named("workload", inputs.workload),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": format!("urn:mvm:host:{}", key.public_key().id()),
                    "version": { "mvm": env!("CARGO_PKG_VERSION") },
                },
            },
        },
    });
    dsse::seal(dsse::STATEMENT_TYPE, &canonical::to_bytes(&statement)?, key)
}
