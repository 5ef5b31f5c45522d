//! Sandboxes and snapshots.

use std::collections::BTreeMap;

use mvm_contract::{
    Digest, ErrorCode, LifecycleState, Resources, SandboxId, SandboxSpec,
    plan::{Plan, Profile},
    spec::DEFAULT_IMAGE,
};
use mvm_runtime::{Ended, Ownership, SandboxRecord, SnapshotRecord, StartOrigin};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// A sandbox to create. What is left out is as for `mvmctl create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Create {
    /// `debian:NAME`, `oci:HOST/PATH[:TAG]`, `oci-layout:DIR[:REFERENCE]` or `oci-archive:FILE[:REFERENCE]`.
    pub(crate) image: Option<String>,
    /// A name to find it by, unique on the host.
    pub(crate) name: Option<String>,
    pub(crate) resources: Option<ResourcesShape>,
    /// Environment of every command.
    pub(crate) environment: Option<BTreeMap<String, String>>,
    /// Working directory of commands that name none.
    pub(crate) working_directory: Option<String>,
    /// User of commands that name none.
    pub(crate) user: Option<String>,
    /// It is destroyed so many seconds after its creation.
    pub(crate) ttl_seconds: Option<u64>,
    /// `restrictive`, `standard`, `dev` or `production`.
    pub(crate) profile: Option<String>,
    /// Not there yet: refused.
    #[schema(value_type = Option<Object>)]
    pub(crate) network: Option<Value>,
    /// Not there yet: refused.
    #[schema(value_type = Option<Object>)]
    pub(crate) secrets: Option<Value>,
    /// Not there yet: refused.
    #[schema(value_type = Option<Object>)]
    pub(crate) mounts: Option<Value>,
    /// Not there yet: refused.
    #[schema(value_type = Option<Object>)]
    pub(crate) ports: Option<Value>,
}

/// What the microVM may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResourcesShape {
    /// 1 to 8.
    pub(crate) vcpus: Option<u32>,
    /// 128 to 65,536.
    pub(crate) memory_mib: Option<u32>,
    /// 64 to 1,048,576.
    pub(crate) disk_mib: Option<u32>,
}

impl Create {
    /// What is asked of the runtime.
    pub(crate) fn spec(&self) -> Result<(SandboxSpec, Profile), Problem> {
        let unsupported = [
            ("network", &self.network),
            ("secrets", &self.secrets),
            ("mounts", &self.mounts),
            ("ports", &self.ports),
        ];
        if let Some((field, _)) = unsupported.iter().find(|(_, value)| value.is_some()) {
            let detail = format!("`{field}` is not supported by this version");
            let problem = Problem::new(ErrorCode::BackendUnsupported, detail);
            return Err(problem.hint(format!("leave `{field}` out")));
        }
        let profile = match &self.profile {
            None => Profile::default(),
            Some(text) => Profile::ALL
                .into_iter()
                .find(|profile| profile.as_str() == text)
                .ok_or_else(|| {
                    Problem::invalid("`profile` is none of those there are")
                        .hint("use restrictive, standard, dev or production")
                })?,
        };
        let name = match &self.name {
            None => None,
            Some(text) => Some(text.parse().map_err(|error| invalid(&error))?),
        };
        let asked = self.resources.unwrap_or_default();
        let usual = Resources::default();
        let spec = SandboxSpec {
            image: self
                .image
                .clone()
                .unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
            name,
            resources: Resources {
                vcpus: asked.vcpus.unwrap_or(usual.vcpus),
                memory_mib: asked.memory_mib.unwrap_or(usual.memory_mib),
                disk_mib: asked.disk_mib.unwrap_or(usual.disk_mib),
            },
            environment: self.environment.clone().unwrap_or_default(),
            working_directory: self.working_directory.clone(),
            user: self.user.clone(),
            ttl_seconds: self.ttl_seconds,
        };
        spec.validate()?;
        Ok((spec, profile))
    }
}

/// An argument of another form than it must have.
pub(crate) fn invalid(error: &dyn std::error::Error) -> Problem {
    Problem::invalid(error.to_string())
}

/// A sandbox.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SandboxShape {
    id: String,
    name: Option<String>,
    /// `creating`, `running`, `paused`, `cold`, `restoring`, `stopped` or `failed`.
    state: String,
    /// Why it is in that state, when it was not asked for.
    reason: Option<String>,
    image: String,
    image_digest: String,
    resources: ResourcesShape,
    created_at_ms: u64,
    /// When it is destroyed.
    expires_at_ms: Option<u64>,
    /// `leased` or `detached`.
    ownership: &'static str,
    /// Where its guest came from: `boot`, `template`, `spare` or `snapshot`.
    origin: &'static str,
    /// `hardware` or `emulated`.
    isolation: String,
    profile: &'static str,
    /// Digest of the plan it was last launched by.
    plan_digest: String,
    /// Where the audit log tells of that.
    audit_id: String,
}

impl SandboxShape {
    /// A sandbox that is only noted: it has no image, no plan and no isolation.
    pub(crate) fn rehearsed(spec: &SandboxSpec, profile: Profile, id: &SandboxId) -> Self {
        Self {
            id: id.to_string(),
            name: spec.name.as_ref().map(ToString::to_string),
            state: LifecycleState::Running.to_string(),
            reason: None,
            image: spec.image.clone(),
            image_digest: String::new(),
            resources: spec.resources.into(),
            created_at_ms: 0,
            expires_at_ms: None,
            ownership: "leased",
            origin: "template",
            isolation: String::new(),
            profile: profile.as_str(),
            plan_digest: String::new(),
            audit_id: String::new(),
        }
    }

    /// By which plan it would be launched.
    pub(crate) fn planned(&mut self, digest: &Digest, plan: &Plan) {
        self.plan_digest = digest.to_string();
        self.image_digest = plan.image.digest.to_string();
        self.origin = plan.origin.path.as_str();
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl From<Resources> for ResourcesShape {
    fn from(resources: Resources) -> Self {
        let Resources {
            vcpus,
            memory_mib,
            disk_mib,
        } = resources;
        Self {
            vcpus: Some(vcpus),
            memory_mib: Some(memory_mib),
            disk_mib: Some(disk_mib),
        }
    }
}

impl From<&SandboxRecord> for SandboxShape {
    fn from(record: &SandboxRecord) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.spec.name.as_ref().map(ToString::to_string),
            state: record.state.to_string(),
            reason: record.reason.clone(),
            image: record.spec.image.clone(),
            image_digest: record.image_digest.clone(),
            resources: record.spec.resources.into(),
            created_at_ms: record.created_at_ms,
            expires_at_ms: record.expires_at_ms,
            ownership: match record.ownership {
                Ownership::Leased => "leased",
                Ownership::Detached => "detached",
            },
            origin: origin(&record.origin),
            isolation: word(&record.isolation),
            profile: record.admission.profile.as_str(),
            plan_digest: record.admission.plan_digest.to_string(),
            audit_id: record.admission.audit_id.clone(),
        }
    }
}

/// Where a guest came from, in a word.
pub(crate) const fn origin(origin: &StartOrigin) -> &'static str {
    match origin {
        StartOrigin::Boot { .. } => "boot",
        StartOrigin::Template => "template",
        StartOrigin::Spare => "spare",
        StartOrigin::Snapshot { .. } => "snapshot",
    }
}

/// The word that a plain value is in JSON.
pub(crate) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SandboxPage {
    pub(crate) items: Vec<SandboxShape>,
    /// What `cursor` must be for what follows; nothing at the end.
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// At most so many, 1 to 1000; 100.
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the part before.
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StopRequest {
    /// How long its processes have to end by themselves; 5000.
    pub(crate) grace_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TtlRequest {
    /// Seconds from now; without them, no end.
    pub(crate) ttl_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SnapshotRequest {
    /// A name to find it by.
    pub(crate) name: Option<String>,
}

/// How a stop or destroy ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndedShape {
    /// `now`, or `before` when it had ended.
    ended: &'static str,
}

impl From<Ended> for EndedShape {
    fn from(ended: Ended) -> Self {
        Self {
            ended: match ended {
                Ended::Now => "now",
                Ended::Before => "before",
            },
        }
    }
}

/// What a sandbox takes of its host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageShape {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_ms: u64,
    pub(crate) disk_bytes: u64,
}

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotShape {
    id: String,
    name: Option<String>,
    /// The sandbox it was taken of.
    sandbox: String,
    image: String,
    created_at_ms: u64,
    /// `delta` or `stream`.
    method: String,
    bytes: u64,
    /// How long the guest stood still.
    pause_ms: f64,
}

impl From<SnapshotRecord> for SnapshotShape {
    fn from(record: SnapshotRecord) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name.as_ref().map(ToString::to_string),
            sandbox: record.sandbox.to_string(),
            image: record.image,
            created_at_ms: record.created_at_ms,
            method: record.method,
            bytes: record.bytes,
            pause_ms: record.pause_ms,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotList {
    pub(crate) items: Vec<SnapshotShape>,
}

/// What a lease holds: exactly one of its fields is given.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseRequest {
    #[serde(default)]
    pub(crate) create: Option<Create>,
    #[serde(default)]
    pub(crate) restore: Option<RestoreRequest>,
    #[serde(default)]
    pub(crate) fork: Option<ForkRequest>,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreRequest {
    /// Name or identifier of the snapshot.
    pub(crate) snapshot: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) ttl_seconds: Option<u64>,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForkRequest {
    /// Name or identifier of a sandbox or a snapshot.
    pub(crate) source: String,
    /// How many, 1 to 100.
    pub(crate) count: u32,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) ttl_seconds: Option<u64>,
}
