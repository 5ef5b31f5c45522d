//! What crosses a boundary of mvm: the types that the command line, the SDKs, the API and the
//! state directory agree on, and the rules that make a value of them valid.
//!
//! Data and rules only: no input or output, no clock, no randomness. Documents refuse unknown
//! fields: a field that is not enforced is refused, never ignored.

#![forbid(unsafe_code)]

pub mod audit;
pub mod canonical;
mod digest;
pub mod dsse;
pub mod duration;
pub mod error_code;
pub mod exit_status;
pub mod identity;
pub mod key;
pub mod plan;
pub mod policy;
pub mod receipt;
pub mod recording;
pub mod schema;
pub mod size;
pub mod spec;
pub mod state;
pub mod trust;
pub mod workload;

pub use digest::{Digest, ParseDigestError};
pub use error_code::{Coded, ErrorCode};
pub use identity::{IdentityError, RunId, SandboxId, SandboxName, SnapshotId};
pub use key::{KeyError, KeyId, PublicKey, SigningKey};
pub use spec::{Resources, SandboxSpec, SpecError};
pub use state::LifecycleState;
