//! Source text in Python, TypeScript or Rust to Workload IR and diagnostics.
//!
//! Nothing is imported, run, read or opened: callers give the text. Each language has a front end
//! that lowers it to one neutral tree (`syntax`); what the tree declares is evaluated and checked
//! in one place for all of them.
#![forbid(unsafe_code)]
#![expect(dead_code, unused_imports, reason = "nothing is lowered yet")]

mod diagnostic;
mod front;
mod limits;
mod python;
mod syntax;

pub use diagnostic::{Diagnostic, Label, Severity};
pub use limits::MAX_SOURCE_BYTES;
pub use syntax::{FileId, Span};
