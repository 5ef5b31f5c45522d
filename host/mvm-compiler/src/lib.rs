//! Source text in Python, TypeScript or Rust to Workload IR and diagnostics.
//!
//! Nothing is imported, run, read or opened: callers give the text. Each language has a front end
//! that lowers it to one neutral tree (`syntax`); what the tree declares is evaluated (`evaluate`),
//! helper by helper (`declare`), put together (`collect`) and validated in one place for all of them.
#![forbid(unsafe_code)]

mod archive;
pub mod codes;
mod collect;
mod compile;
mod declare;
mod diagnostic;
mod evaluate;
mod front;
mod limits;
mod lockfile;
mod python;
pub mod render;
mod rust;
mod schema;
mod syntax;
mod typescript;
mod value;

pub use archive::{ArchiveEntry, ArchiveError, WORKLOAD_FILE, archive};
pub use collect::name_from;
pub use compile::{Compilation, DeclaredLockfile, SourceFile, compile};
pub use diagnostic::{Diagnostic, Label, Severity};
pub use limits::MAX_SOURCE_BYTES;
pub use lockfile::{MAX_LOCKFILE_BYTES, check_lockfile};
pub use syntax::{FileId, Span};
pub use typescript::to_javascript;
