//! Processes: start, attach, signal, and how they ended.

use prost::{Enumeration, Message, Oneof};

/// Starts a process in its own session, process group and control group.
#[derive(Clone, PartialEq, Message)]
pub struct StartProcess {
    /// The program and its arguments; at least one. A program without `/` is looked up in the
    /// process's own `PATH`.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub arguments: Vec<Vec<u8>>,
    /// The environment, over the agent's defaults (`PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, and `TERM` with a
    /// terminal).
    #[prost(message, repeated, tag = "2")]
    pub environment: Vec<EnvironmentVariable>,
    /// The working directory; empty means the user's home directory, or `/` where that is missing.
    #[prost(bytes = "vec", tag = "3")]
    pub working_directory: Vec<u8>,
    /// `name`, `uid`, `name:group` or `uid:gid`, resolved by the guest's `/etc/passwd` and
    /// `/etc/group`; empty means root.
    #[prost(string, tag = "4")]
    pub user: String,
    /// Whether the host will send standard input; otherwise it is `/dev/null`.
    #[prost(bool, tag = "5")]
    pub standard_input: bool,
    /// Run on a new terminal of this size; its output comes as standard output.
    #[prost(message, optional, tag = "6")]
    pub terminal: Option<TerminalSize>,
    /// Resource limits to set (`setrlimit(2)`).
    #[prost(message, repeated, tag = "7")]
    pub limits: Vec<ResourceLimit>,
    /// When over 0: after so many milliseconds the whole control group gets SIGTERM, and SIGKILL
    /// after the grace.
    #[prost(uint64, tag = "8")]
    pub timeout_milliseconds: u64,
    /// The grace between SIGTERM and SIGKILL, milliseconds.
    #[prost(uint64, tag = "9")]
    pub grace_milliseconds: u64,
    /// Whether the process outlives this stream. If not, the end of the stream before the exit
    /// kills it; the loss of the whole connection never does.
    #[prost(bool, tag = "10")]
    pub detached: bool,
}

/// A variable of a process's environment.
#[derive(Clone, PartialEq, Message)]
pub struct EnvironmentVariable {
    /// The name: not empty, without `=` and NUL.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// The value, without NUL.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// A terminal's size in character cells.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct TerminalSize {
    /// Columns.
    #[prost(uint32, tag = "1")]
    pub columns: u32,
    /// Rows.
    #[prost(uint32, tag = "2")]
    pub rows: u32,
}

/// A resource limit.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ResourceLimit {
    /// Which resource: the number of `RLIMIT_*` on Linux x86-64.
    #[prost(uint32, tag = "1")]
    pub resource: u32,
    /// The soft limit; `u64::MAX` is infinity.
    #[prost(uint64, tag = "2")]
    pub soft: u64,
    /// The hard limit; `u64::MAX` is infinity.
    #[prost(uint64, tag = "3")]
    pub hard: u64,
}

/// Attaches to a process that runs, or has ended and is still remembered. Output from the cursors
/// on is replayed; what the agent no longer has is announced by [`OutputGap`].
#[derive(Clone, PartialEq, Message)]
pub struct AttachProcess {
    /// The process.
    #[prost(uint64, tag = "1")]
    pub process_id: u64,
    /// First wanted offset of standard output (or the terminal).
    #[prost(uint64, tag = "2")]
    pub output_offset: u64,
    /// First wanted offset of standard error.
    #[prost(uint64, tag = "3")]
    pub error_offset: u64,
    /// Whether the host will send standard input on this stream.
    #[prost(bool, tag = "4")]
    pub standard_input: bool,
}

/// The process runs, or is attached to.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessStarted {
    /// The agent's number for it, never reused in a sandbox's life.
    #[prost(uint64, tag = "1")]
    pub process_id: u64,
    /// The guest's process identifier.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    /// The offset standard output goes on from: that of the first data byte, unless an
    /// [`OutputGap`] comes before it.
    #[prost(uint64, tag = "3")]
    pub output_offset: u64,
    /// The same of standard error.
    #[prost(uint64, tag = "4")]
    pub error_offset: u64,
}

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum OutputStream {
    /// Standard output, or the terminal.
    Output = 0,
    /// Standard error.
    Error = 1,
}

/// Output was lost: the bounded buffer had no room for it while nobody read.
#[derive(Clone, PartialEq, Message)]
pub struct OutputGap {
    /// Of which stream.
    #[prost(enumeration = "OutputStream", tag = "1")]
    pub stream: i32,
    /// The offset that should have come next.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// The offset that comes next instead.
    #[prost(uint64, tag = "3")]
    pub to: u64,
}

/// The process has ended and all its output was sent.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessExited {
    /// How it ended.
    #[prost(oneof = "ExitStatus", tags = "1, 2")]
    pub status: Option<ExitStatus>,
    /// Whether it was ended because its timeout passed.
    #[prost(bool, tag = "3")]
    pub timed_out: bool,
    /// From start to end, microseconds.
    #[prost(uint64, tag = "4")]
    pub duration_microseconds: u64,
    /// Processor time of the process and the children it waited for, microseconds.
    #[prost(uint64, tag = "5")]
    pub cpu_microseconds: u64,
    /// Largest resident set of the process or a child it waited for, KiB.
    #[prost(uint64, tag = "6")]
    pub peak_memory_kib: u64,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Oneof)]
pub enum ExitStatus {
    /// It exited with this code.
    #[prost(uint32, tag = "1")]
    Code(u32),
    /// It was killed by this signal.
    #[prost(uint32, tag = "2")]
    Signal(u32),
}

/// Asks for a [`ProcessList`].
#[derive(Clone, PartialEq, Message)]
pub struct ListProcesses {}

/// The processes the agent started and remembers: all that run, and the last that ended.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessList {
    /// By ascending process id.
    #[prost(message, repeated, tag = "1")]
    pub processes: Vec<ProcessSummary>,
}

/// A process the agent started.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessSummary {
    /// The agent's number for it.
    #[prost(uint64, tag = "1")]
    pub process_id: u64,
    /// The guest's process identifier.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    /// The program and its arguments.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub arguments: Vec<Vec<u8>>,
    /// When it started, nanoseconds since the Unix epoch by the guest's clock.
    #[prost(uint64, tag = "4")]
    pub started_nanoseconds: u64,
    /// How it ended; absent while it runs.
    #[prost(message, optional, tag = "5")]
    pub exited: Option<ProcessExited>,
    /// Whether it runs on a terminal.
    #[prost(bool, tag = "6")]
    pub terminal: bool,
    /// Whether it outlives its client.
    #[prost(bool, tag = "7")]
    pub detached: bool,
}

/// Signals a process by its agent number.
#[derive(Clone, PartialEq, Message)]
pub struct SignalProcess {
    /// The process.
    #[prost(uint64, tag = "1")]
    pub process_id: u64,
    /// The signal, 1 to 64.
    #[prost(uint32, tag = "2")]
    pub signal: u32,
    /// Signal its whole process group instead of the process alone.
    #[prost(bool, tag = "3")]
    pub group: bool,
}

/// Drops what is remembered of an ended process.
#[derive(Clone, PartialEq, Message)]
pub struct ForgetProcess {
    /// The process.
    #[prost(uint64, tag = "1")]
    pub process_id: u64,
}

/// Signals the process of this stream: its process group, or on a terminal the foreground group.
#[derive(Clone, PartialEq, Message)]
pub struct SendSignal {
    /// The signal, 1 to 64.
    #[prost(uint32, tag = "1")]
    pub signal: u32,
}

/// Resizes the terminal of this stream's process.
#[derive(Clone, PartialEq, Message)]
pub struct ResizeTerminal {
    /// The new size.
    #[prost(message, required, tag = "1")]
    pub size: TerminalSize,
}
