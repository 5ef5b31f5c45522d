//! The connection, the guest as a whole, and failures.

use prost::{Enumeration, Message};

/// Opens a connection, or renews what the guest is on an open one. The first one after boot gives
/// the agent its key; every later one must show the key the agent has, or the agent drops its
/// connection.
///
/// The whole is checked before anything of it takes effect, and an accepted one ends a [`Freeze`]:
/// processes run again when everything below is in effect. One that fails leaves them frozen, and
/// the key as it was.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// [`PROTOCOL_GENERATION`](crate::PROTOCOL_GENERATION) of the host.
    #[prost(uint32, tag = "1")]
    pub generation: u32,
    /// The connection key, 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
    /// Host wall clock, nanoseconds since the Unix epoch: the guest sets its clock to it.
    #[prost(uint64, tag = "3")]
    pub wall_clock_nanoseconds: u64,
    /// At least 32 bytes from the host's random source, credited to the guest's.
    #[prost(bytes = "vec", tag = "4")]
    pub entropy: Vec<u8>,
    /// The guest's new hostname; empty leaves it as it is.
    #[prost(string, tag = "5")]
    pub hostname: String,
    /// The guest's new machine-id, 32 lowercase hexadecimal digits; empty leaves it as it is.
    #[prost(string, tag = "6")]
    pub machine_id: String,
    /// The key connections after this one must show, 32 bytes; empty leaves the key as it is.
    #[prost(bytes = "vec", tag = "7")]
    pub new_key: Vec<u8>,
}

/// The agent accepts the connection.
#[derive(Clone, PartialEq, Message)]
pub struct HelloReply {
    /// [`PROTOCOL_GENERATION`](crate::PROTOCOL_GENERATION) of the agent.
    #[prost(uint32, tag = "1")]
    pub generation: u32,
    /// The agent's version.
    #[prost(string, tag = "2")]
    pub agent_version: String,
    /// The guest kernel's release.
    #[prost(string, tag = "3")]
    pub kernel_release: String,
    /// Steps of the guest's start, in the order they ended.
    #[prost(message, repeated, tag = "4")]
    pub boot_steps: Vec<BootStep>,
    /// 16 bytes of the guest's random source, read after it was seeded: the guest's own word that
    /// the seed took effect. Two guests restored from one snapshot never give the same.
    #[prost(bytes = "vec", tag = "5")]
    pub random_sample: Vec<u8>,
}

/// A step of the guest's start.
#[derive(Clone, PartialEq, Message)]
pub struct BootStep {
    /// What ended: `kernel`, `modules`, `root`, `ready`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// When it ended, microseconds of guest uptime.
    #[prost(uint64, tag = "2")]
    pub uptime_microseconds: u64,
}

/// Asks for a [`Pong`].
#[derive(Clone, PartialEq, Message)]
pub struct Ping {}

/// Answers a [`Ping`].
#[derive(Clone, PartialEq, Message)]
pub struct Pong {
    /// Guest wall clock, nanoseconds since the Unix epoch.
    #[prost(uint64, tag = "1")]
    pub wall_clock_nanoseconds: u64,
    /// Guest uptime in microseconds.
    #[prost(uint64, tag = "2")]
    pub uptime_microseconds: u64,
}

/// Ends every process (SIGTERM, after the grace SIGKILL), syncs and unmounts the file systems,
/// and powers off. The agent answers `Done` when the file systems are synced.
#[derive(Clone, PartialEq, Message)]
pub struct Shutdown {
    /// How long processes have to end by themselves, milliseconds.
    #[prost(uint64, tag = "1")]
    pub grace_milliseconds: u64,
}

/// Makes the guest stand still for a snapshot: syncs the disk, freezes every process the agent
/// started, and holds back all writes to the disk. The agent answers [`Frozen`].
///
/// All stays so until the host says [`Thaw`] on this stream, this stream ends while its connection
/// goes on, or a [`Hello`] is accepted on any connection. The loss of the connection thaws nothing:
/// that is how a restored guest begins, which must not run before it has its own identity.
///
/// Meanwhile the agent answers [`Ping`] and goes on with what it reads; what would write, and every
/// new operation but `Hello` and [`Shutdown`], waits. Operations that wait when a `Hello` on
/// another connection thaws are not begun: they were asked of the guest the snapshot is of.
/// Another `Freeze` meanwhile is refused. A process that has moved itself out of the control group
/// it was started in is not frozen.
#[derive(Clone, PartialEq, Message)]
pub struct Freeze {}

/// The guest stands still.
#[derive(Clone, PartialEq, Message)]
pub struct Frozen {}

/// Ends a [`Freeze`]; the agent answers `Done`.
#[derive(Clone, PartialEq, Message)]
pub struct Thaw {}

/// Reads the guest's log (kernel messages and the agent's own lines) as data frames.
#[derive(Clone, PartialEq, Message)]
pub struct ReadLog {
    /// Go on with new lines as they come; otherwise the stream ends with what is there.
    #[prost(bool, tag = "1")]
    pub follow: bool,
}

/// The operation succeeded.
#[derive(Clone, PartialEq, Message)]
pub struct Done {
    /// Content bytes moved, where the operation moves any.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// Entries moved or removed, where the operation counts any.
    #[prost(uint64, tag = "2")]
    pub entries: u64,
}

/// The operation failed; nothing follows it.
#[derive(Clone, PartialEq, Message)]
pub struct Failure {
    /// What kind of failure.
    #[prost(enumeration = "FailureKind", tag = "1")]
    pub kind: i32,
    /// What was being done, a lowercase phrase without the cause.
    #[prost(string, tag = "2")]
    pub doing: String,
    /// The path or name concerned, when there is one.
    #[prost(bytes = "vec", tag = "3")]
    pub subject: Vec<u8>,
    /// The guest kernel's error number, or 0.
    #[prost(int32, tag = "4")]
    pub errno: i32,
}

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum FailureKind {
    /// A kind this generation does not know; read it as an input/output failure.
    Unspecified = 0,
    /// The connection has shown no key, or a wrong one.
    Unauthenticated = 1,
    /// The request is malformed or out of its documented range.
    InvalidRequest = 2,
    /// The agent does not do this.
    Unsupported = 3,
    /// The path, program or process does not exist.
    NotFound = 4,
    /// The guest's kernel forbids it.
    PermissionDenied = 5,
    /// The program exists and cannot be executed.
    NotExecutable = 6,
    /// The working directory cannot be entered.
    WorkingDirectory = 7,
    /// The user or group does not exist.
    UnknownUser = 8,
    /// The path exists already.
    AlreadyExists = 9,
    /// A directory was expected.
    NotADirectory = 10,
    /// Something other than a directory was expected.
    IsADirectory = 11,
    /// The directory is not empty.
    NotEmpty = 12,
    /// The guest's disk or memory is full, or a limit of the guest is reached.
    Exhausted = 13,
    /// Any other input/output failure; `errno` says which.
    Io = 14,
}
