//! How much of a file is looked at: bounds that hold for every front end.

/// The largest source file, in bytes.
pub const MAX_SOURCE_BYTES: usize = 4 * 1024 * 1024;
/// The deepest nesting a front end may pass to its parser, as it measures it before parsing: an
/// upper bound of how deep the parser and the tree's destructor recurse.
pub(crate) const MAX_NESTING: usize = 512;
/// The deepest expression or hint that is lowered; a deeper one is `Unsupported`.
pub(crate) const MAX_DEPTH: usize = 32;
/// Stack of the thread that compiles, in bytes: what `MAX_NESTING` needs in an unoptimized build,
/// several times over.
pub(crate) const STACK_BYTES: usize = 64 * 1024 * 1024;
/// The most findings of one file.
pub(crate) const MAX_DIAGNOSTICS: usize = 100;
