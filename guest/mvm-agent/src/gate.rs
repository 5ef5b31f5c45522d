//! What holds writes to the disk back while the guest is frozen.
//!
//! A call that writes to a frozen file system waits in the kernel until it is thawed. The agent is
//! one thread: it would never read the word that thaws. So whoever writes to the disk passes the
//! gate first, and again behind each wait, and writes before it waits again.

use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    rc::Rc,
};

use rustix::fd::OwnedFd;
use tokio::sync::Notify;

/// Open unless the guest is frozen.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: Cell<bool>,
    opened: Notify,
    /// Descriptors that nobody needs any more and that may not be closed yet.
    left: RefCell<Vec<Rc<OwnedFd>>>,
}

impl Gate {
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.get()
    }

    /// Waits until the gate is open. It stays open until the caller waits for something.
    pub(crate) async fn passed(&self) {
        while self.closed.get() {
            self.opened.notified().await;
        }
    }

    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    pub(crate) fn open(&self) {
        self.closed.set(false);
        self.left.take();
        self.opened.notify_waiters();
    }

    /// Holds a descriptor for one who waits without passing the gate again.
    pub(crate) fn hold(&self, descriptor: OwnedFd) -> Held<'_> {
        Held {
            gate: self,
            descriptor: Rc::new(descriptor),
        }
    }
}

/// An open file or directory. The last descriptor of one that was removed takes it off the disk,
/// which is a write: while the gate is closed, it is not closed either.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    gate: &'a Gate,
    descriptor: Rc<OwnedFd>,
}

impl Deref for Held<'_> {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.descriptor
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.gate.is_open() {
            let descriptor = Rc::clone(&self.descriptor);
            self.gate.left.borrow_mut().push(descriptor);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, executor::block_on};

    use super::*;

    #[test]
    fn whoever_comes_while_it_is_closed_waits() {
        let gate = Gate::default();
        assert!(gate.passed().now_or_never().is_some());
        gate.close();
        let mut waiting = Box::pin(gate.passed());
        assert!(waiting.as_mut().now_or_never().is_none());
        // Opened and closed before the one who waits gets its turn.
        gate.open();
        gate.close();
        assert!(waiting.as_mut().now_or_never().is_none());
        gate.open();
        block_on(waiting);
    }

    #[test]
    fn nothing_is_closed_behind_a_closed_gate() {
        let gate = Gate::default();
        let pipe = || {
            let (read, write) = rustix::pipe::pipe().unwrap();
            (read, gate.hold(write))
        };
        let is_at_end = |read: &OwnedFd| {
            rustix::io::ioctl_fionbio(read, true).unwrap();
            rustix::io::read(read, &mut [0_u8; 1]) == Ok(0)
        };
        let (read, write) = pipe();
        drop(write);
        assert!(is_at_end(&read));
        let (read, write) = pipe();
        gate.close();
        drop(write);
        assert!(!is_at_end(&read));
        gate.open();
        assert!(is_at_end(&read));
    }
}
