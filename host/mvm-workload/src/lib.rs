//! Workloads: from Workload IR to an image, and from an image to calls and services.
//!
//! ```text
//! init         a project to begin with, from a template
//! declaration  a document or a source file -> Workload IR
//! enforced     what this version cannot do of a workload, refused by name
//! source       the files of a declaration's directory
//! build        base image + files + hooks -> a pinned image with its provenance
//! call         a function with JSON arguments -> its result, in a microVM of its own
//! service      commands that are kept up: health, restarts, logs
//! ```
//!
//! No policy and no hypervisor: images are `mvm_image`'s, and every sandbox is created, admitted
//! and ended by `mvm_runtime`.

#![forbid(unsafe_code)]

mod build;
mod call;
mod declaration;
mod enforced;
mod hook;
mod init;
mod invoke;
mod runner;
mod schema;
mod service;
mod source;

pub use build::{Build, BuildError, BuildOptions, build};
pub use call::{Arguments, CallError, CallOptions, Called, Callee, Outcome, Raised, call, find};
pub use declaration::{
    Declaration, DeclarationError, Findings, compile_in, load, read_source, source_of,
};
pub use enforced::{Unsupported, check as check_supported};
pub use hook::HookError;
pub use init::{InitError, Initialized, Template, init};
pub use invoke::{InvokeError, invoke};
pub use schema::SchemaMismatch;
pub use service::{
    AppState, AppStatus, Health, LogLine, Observer, ServiceError, ServiceRecord, end, follow_log,
    keep, list, log_path,
};
pub use source::SourceTreeError;
