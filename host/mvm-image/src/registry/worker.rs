//! A thread that talks to the network, and tells the one that waits for it how far it is.
//!
//! Whoever asks for an image may be a thread of an asynchronous runtime; what is asked here has a
//! runtime of its own, and the asking thread alone touches its [`Progress`].

use std::panic;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::PullError;
use crate::progress::Progress;

/// Tells how many bytes came.
#[derive(Clone)]
pub(super) struct Teller(Sender<u64>);

impl Teller {
    pub(super) fn advance(&self, bytes: u64) {
        // Nobody listens any more when the caller panicked.
        let _ = self.0.send(bytes);
    }
}

/// Does what is asked on a thread of its own, and waits.
pub(super) fn run<T: Send>(
    progress: &dyn Progress,
    work: impl AsyncFnOnce(Teller) -> Result<T, PullError> + Send,
) -> Result<T, PullError> {
    let (sender, receiver): (_, Receiver<u64>) = channel();
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("pull".into());
        let worker = worker.spawn_scoped(scope, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| PullError::Begin { source })?;
            let result = runtime.block_on(work(Teller(sender)));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            result
        });
        let worker = worker.map_err(|source| PullError::Begin { source })?;
        for bytes in receiver {
            progress.advance(bytes);
        }
        worker
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}
