//! The agent's own log lines: kept in a bounded ring and given to the kernel's log.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use rustix::{
    fd::OwnedFd,
    fs::{self, Mode, OFlags},
};
use tokio::sync::Notify;

use crate::clock;

/// What each line begins with in the kernel's log.
pub(crate) const PREFIX: &str = "mvm-agent: ";
const MAX_BYTES: usize = 256 * 1024;
const MAX_LINE_BYTES: usize = 1024;

/// A line and when it was written, in microseconds of uptime.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) uptime_microseconds: u64,
    pub(crate) text: String,
}

/// The agent's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: RefCell<VecDeque<Line>>,
    bytes: Cell<usize>,
    /// Lines ever written.
    count: Cell<u64>,
    kernel: Option<OwnedFd>,
    /// There is a new line.
    pub(crate) changed: Notify,
}

impl Log {
    /// A log that also writes to the kernel's.
    pub(crate) fn to_kernel() -> Self {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Self {
            kernel: fs::open(c"/dev/kmsg", flags, Mode::empty()).ok(),
            ..Self::default()
        }
    }

    /// Writes a line; what is over a kilobyte is cut off.
    pub(crate) fn line(&self, text: &str) {
        let mut end = text.len().min(MAX_LINE_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text[..end].replace('\n', " ");
        if let Some(kernel) = &self.kernel {
            // The kernel may refuse a line that comes too soon after others; the ring has it.
            let _ = rustix::io::write(kernel, format!("<6>{PREFIX}{text}\n").as_bytes());
        }
        let mut lines = self.lines.borrow_mut();
        self.bytes.set(self.bytes.get() + text.len());
        lines.push_back(Line {
            uptime_microseconds: clock::uptime_microseconds(),
            text,
        });
        while self.bytes.get() > MAX_BYTES
            && let Some(oldest) = lines.pop_front()
        {
            self.bytes.set(self.bytes.get() - oldest.text.len());
        }
        self.count.set(self.count.get() + 1);
        drop(lines);
        self.changed.notify_waiters();
    }

    /// Lines from number `from` on, as far as they are kept, and the number of the next one.
    pub(crate) fn lines_from(&self, from: u64) -> (Vec<Line>, u64) {
        let lines = self.lines.borrow();
        let first = self.count.get() - lines.len() as u64;
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        (lines.iter().skip(skip).cloned().collect(), self.count.get())
    }
}
