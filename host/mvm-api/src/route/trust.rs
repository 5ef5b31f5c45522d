//! Plans and receipts.

use axum::{Json, extract::State};
use mvm_contract::{
    Digest,
    canonical::Document,
    dsse::{Envelope, MAX_ENVELOPE_BYTES},
    receipt,
};
use mvm_runtime::keys;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    extract::{JsonBody, RawBody},
    problem::Problem,
    shapes::sandbox::Create,
    state::Api,
};

/// A plan that would be admitted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanShape {
    digest: String,
    /// As `schema/plan-v1.json` says.
    #[schema(value_type = Object)]
    plan: Value,
}

/// Tell by which plan a sandbox would be launched, once it is seen that it would be admitted.
#[utoipa::path(
    post, path = "/v1/plans/dry-run", request_body = Create,
    responses(
        (status = 200, body = PlanShape),
        Problem
    )
)]
pub(crate) async fn dry_run(
    State(api): State<Api>,
    JsonBody(request): JsonBody<Create>,
) -> Result<Json<PlanShape>, Problem> {
    let (spec, profile) = request.spec()?;
    let runtime = api.runtime.with_profile(profile);
    // Images are read.
    let run = move || runtime.dry_run(&spec, &mvm_runtime::Silent);
    let envelope = tokio::task::spawn_blocking(run).await;
    let envelope = envelope.map_err(|_| Problem::invalid("the server is ending"))??;
    let (digest, plan) = read_plan(&envelope)?;
    Ok(Json(PlanShape {
        digest: digest.to_string(),
        plan,
    }))
}

/// A plan that this host has just signed, and its digest.
pub(crate) fn read_plan<T: DeserializeOwned>(envelope: &[u8]) -> Result<(Digest, T), Problem> {
    let unreadable = || Problem::invalid("the plan cannot be read back");
    let envelope = Envelope::read(envelope).map_err(|_| unreadable())?;
    let payload = envelope.unverified_payload();
    let document = Document::read(payload, MAX_ENVELOPE_BYTES).map_err(|_| unreadable())?;
    let plan = document.decode().map_err(|_| unreadable())?;
    Ok((Digest::of(payload), plan))
}

/// What a receipt proves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiptShape {
    valid: bool,
    /// Why it proves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    flaw: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    /// Identifier of the key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What that key is called here.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
}

/// Check that a key that this host believes signed a receipt.
#[utoipa::path(
    post, path = "/v1/receipts/verify",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = ReceiptShape),
        Problem
    )
)]
pub(crate) async fn verify_receipt(
    State(api): State<Api>,
    RawBody(body): RawBody,
) -> Result<Json<ReceiptShape>, Problem> {
    let roots = keys::trust_roots(api.runtime.home())?;
    let shape = match receipt::verify(&body, &roots) {
        Ok(verified) => ReceiptShape {
            valid: true,
            flaw: None,
            run_id: Some(verified.predicate.run.to_string()),
            key: Some(verified.key.to_string()),
            signer: roots.key(verified.key).map(|key| key.name.clone()),
        },
        Err(flaw) => ReceiptShape {
            valid: false,
            flaw: Some(flaw.as_str()),
            run_id: None,
            key: None,
            signer: None,
        },
    };
    Ok(Json(shape))
}
