//! How a long operation tells what it is doing.

/// Receives the steps of a long operation, on the thread that runs it.
pub trait Progress {
    /// A step begins; the one before it is over. `total` is the amount of work in it, where known.
    fn stage(&self, stage: &str, total: Option<u64>);
    /// So much more of the step is done.
    fn advance(&self, amount: u64);
    /// Everything is done.
    fn finish(&self);
}
