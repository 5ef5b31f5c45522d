//! From the bytes of an envelope to an admitted plan, or to a denial that names its rule.
//!
//! ```text
//! EnvelopeBytes --verify--> Verified<Plan> --judge--> AdmittedPlan | Denial
//! ```
//!
//! Pure: time, keys, policy, what the host has and which nonces are spent are arguments. Every rule
//! has its number in `RULES.md`, one function that enforces it, and an attack in `tests/attacks/`
//! that only it stops. A denial is a value; no bytes make this crate fail in another way.
//!
//! The signature is checked over the exact bytes before any of them is read as a plan. A plan that
//! is denied was denied by the first rule that it breaks, in the order of the numbers.
//!
//! Admission does not spend the nonce. Whoever launches records it durably, under the lock under
//! which [`ReplayView`] was asked, before anything of the plan takes effect.

#![forbid(unsafe_code)]

mod admitted;
mod denial;
mod envelope;
mod facts;
mod judge;
mod rule;

pub use admitted::{AdmittedPlan, Verified};
pub use denial::{Admission, Denial};
pub use envelope::{EnvelopeBytes, verify};
pub use facts::{Feature, HostFacts, ImageFacts, ReplayView, Seal};
pub use judge::{Request, admit, judge, screen_source};
pub use rule::Rule;
