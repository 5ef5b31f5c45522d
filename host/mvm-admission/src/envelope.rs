//! Rules: from bytes to a plan that a trusted key signed and that is a plan.

use mvm_contract::{
    Digest,
    canonical::{Document, ReadError, ShapeError},
    dsse::{Envelope, EnvelopeError, MAX_ENVELOPE_BYTES, PLAN_TYPE},
    plan::{PLAN_VERSION, Plan, PlanFlaw},
    trust::{KeyStanding, TrustRoots, TrustedKey},
};

use crate::{Denial, Rule, Verified, denial::quoted};

/// The bytes of an envelope, of which nothing is known.
#[derive(Debug, Clone, Copy)]
pub struct EnvelopeBytes<'a>(&'a [u8]);

impl<'a> EnvelopeBytes<'a> {
    /// Any bytes at all.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

/// The plan in an envelope, if a key that is trusted for plans at `now` (seconds since the Unix
/// epoch) signed exactly its bytes, and they are a plan in its one form.
pub fn verify(
    bytes: EnvelopeBytes<'_>,
    roots: &TrustRoots,
    now: u64,
) -> Result<Verified<Plan>, Denial> {
    let envelope = Envelope::read(bytes.0).map_err(envelope_denial)?;
    if envelope.payload_type() != PLAN_TYPE {
        let found = quoted(envelope.payload_type());
        let reason = format!("the envelope holds {found}, not `{PLAN_TYPE}`");
        return Err(Denial::new(Rule::PayloadType, reason));
    }
    let key = trusted_key(&envelope, roots, now)?;
    let Some(payload) = envelope.verified_payload(&key.public_key) else {
        let reason = format!("key `{}` did not sign these bytes", key.name);
        return Err(Denial::new(Rule::Signature, reason));
    };
    // Only from here on are the bytes those of somebody who is trusted.
    let plan = read_plan(payload)?;
    Ok(Verified::new(
        plan,
        Digest::of(payload),
        envelope.key_id(),
        key.name.clone(),
    ))
}

///
fn envelope_denial(error: EnvelopeError) -> Denial {
    let rule = match &error {
        EnvelopeError::Json(ReadError::TooLarge { .. }) => Rule::EnvelopeSize,
        EnvelopeError::Json(_) | EnvelopeError::Shape(_) => Rule::EnvelopeShape,
        EnvelopeError::SignatureCount { .. } => Rule::SignatureCount,
        EnvelopeError::Encoding { .. } | EnvelopeError::KeyId => Rule::EnvelopeEncoding,
    };
    let reason = match &error {
        EnvelopeError::Json(ReadError::TooLarge { .. }) => {
            format!("the envelope has more than {MAX_ENVELOPE_BYTES} bytes")
        }
        EnvelopeError::Json(ReadError::DuplicateKey { key }) => {
            format!("in the envelope, key {} stands twice", quoted(key))
        }
        EnvelopeError::Json(cause) => format!("the envelope is {cause}"),
        EnvelopeError::Shape(_)
        | EnvelopeError::SignatureCount { .. }
        | EnvelopeError::Encoding { .. }
        | EnvelopeError::KeyId => error.to_string(),
    };
    Denial::new(rule, reason)
}

///
fn trusted_key<'a>(
    envelope: &Envelope,
    roots: &'a TrustRoots,
    now: u64,
) -> Result<&'a TrustedKey, Denial> {
    let id = envelope.key_id();
    let Some(key) = roots.key(id) else {
        let reason = format!("key {id} is not among the trust roots");
        return Err(Denial::new(Rule::KeyUnknown, reason));
    };
    let name = &key.name;
    if !key.role.signs_plans() {
        let reason = format!("key `{name}` is trusted for records, not for plans");
        return Err(Denial::new(Rule::KeyRole, reason));
    }
    let (rule, reason) = match key.standing(now) {
        KeyStanding::Valid => return Ok(key),
        KeyStanding::Revoked => (Rule::KeyRevoked, format!("key `{name}` was revoked")),
        KeyStanding::NotYetValid => {
            let begin = key.not_before;
            let reason = format!("key `{name}` is trusted from {begin} on, and it is {now}");
            (Rule::KeyNotYetValid, reason)
        }
        KeyStanding::Expired => {
            let reason = format!("key `{name}` is trusted no more at {now}");
            (Rule::KeyExpired, reason)
        }
    };
    Err(Denial::new(rule, reason))
}

///
fn read_plan(payload: &[u8]) -> Result<Plan, Denial> {
    let document =
        Document::read_canonical(payload, MAX_ENVELOPE_BYTES).map_err(document_denial)?;
    if document.integer("version") != Some(u64::from(PLAN_VERSION)) {
        let reason = format!("the plan is not of version {PLAN_VERSION}");
        return Err(Denial::new(Rule::PlanVersion, reason));
    }
    let plan: Plan = document.decode_exactly().map_err(shape_denial)?;
    match plan.validate() {
        Ok(()) => Ok(plan),
        Err(flaw) => Err(flaw_denial(&flaw)),
    }
}

fn document_denial(error: ReadError) -> Denial {
    let rule = match &error {
        ReadError::TooLarge { .. } | ReadError::NotUtf8 { .. } | ReadError::Syntax { .. } => {
            Rule::PlanSyntax
        }
        ReadError::TooDeep => Rule::PlanDepth,
        ReadError::DuplicateKey { .. } => Rule::DuplicateKey,
        ReadError::NotAnInteger => Rule::PlanNumber,
        ReadError::NotCanonical { .. } => Rule::NotCanonical,
    };
    let reason = match &error {
        ReadError::DuplicateKey { key } => format!("key {} stands twice", quoted(key)),
        ReadError::NotAnInteger => error.to_string(),
        _ => format!("the plan is {error}"),
    };
    Denial::new(rule, reason)
}

fn shape_denial(error: ShapeError) -> Denial {
    match error {
        ShapeError::UnknownField { path } => {
            let reason = format!("field {} is not known", quoted(&path));
            Denial::new(Rule::UnknownField, reason)
        }
        ShapeError::Form { path } => {
            let path = quoted(&path);
            let reason = format!("{path} lacks a field or does not have its form");
            Denial::new(Rule::PlanForm, reason)
        }
        ShapeError::NotOneForm => Denial::new(Rule::NotOneForm, error.to_string()),
    }
}

fn flaw_denial(flaw: &PlanFlaw) -> Denial {
    let rule = match flaw {
        PlanFlaw::Nonce => Rule::NonceForm,
        PlanFlaw::Validity => Rule::ValidityForm,
        PlanFlaw::Principal => Rule::PrincipalForm,
        PlanFlaw::Resources(_) => Rule::ResourceRange,
        PlanFlaw::ImageSource => Rule::ImageSourceForm,
        PlanFlaw::AgentVersion => Rule::AgentVersionForm,
        PlanFlaw::VariableName => Rule::VariableName,
        PlanFlaw::WorkingDirectory => Rule::WorkingDirectoryForm,
        PlanFlaw::User => Rule::UserForm,
        PlanFlaw::ZeroSeconds { .. } => Rule::ZeroSeconds,
        PlanFlaw::Origin { .. } => Rule::OriginForm,
        PlanFlaw::Network => Rule::NetworkForm,
    };
    let reason = match flaw {
        PlanFlaw::Resources(cause) => cause.to_string(),
        _ => flaw.to_string(),
    };
    Denial::new(rule, reason)
}
