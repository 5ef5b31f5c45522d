//! Telling a caller how far a long build is.

/// Receives the stages of a build and the bytes done in each.
///
/// Calls come from the thread that builds, each stage being finished before
/// the next begins. A build that fails ends without finishing its stage.
pub trait Progress {
    /// A stage begins: what it does, and how many bytes it will go through if
    /// that is known.
    fn stage(&self, stage: &str, total: Option<u64>);
    /// So many more bytes of the stage are done.
    fn advance(&self, bytes: u64);
    /// The stage is over.
    fn finish(&self);
    /// Something that the user should know, such as what a tag means.
    fn note(&self, _text: &str) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _stage: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}
