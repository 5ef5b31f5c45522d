//! The HTTP API over the runtime: `docs/reference/http-api.md` says how it is used.
//!
//! ```text
//! server     listens, and ends; who is let in is decided here and in `entrance`
//! router     which request goes where; counts and logs them
//! route      each request as one call of `mvm_runtime`
//! lease      sandboxes that live as long as a connection
//! frames     a process as a stream
//! shapes     what requests and answers hold
//! rehearsal  the part of the routes that a script needs to be recorded, with nothing run
//! ```
//!
//! No policy, no state: the state directory is the truth, and several servers over one agree.

#![forbid(unsafe_code)]

mod entrance;
mod extract;
mod frames;
mod idempotency;
mod lease;
mod metrics;
mod problem;
mod rehearsal;
mod route;
mod router;
mod server;
mod shapes;
mod state;
mod terminal;

pub use entrance::{EntranceError, Tls, Token};
pub use rehearsal::{Rehearsal, Rehearsed};
pub use router::openapi;
pub use server::{Place, ServeError, Server};
