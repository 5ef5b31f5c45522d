//! Messages. Field numbers are never reused; unknown fields are ignored, as protobuf readers do.
//!
//! Paths, arguments and environment values are bytes: Linux knows no encoding for them.

mod file;
mod process;
mod system;

pub use file::*;
pub use process::*;
pub use system::*;

use prost::{Message, Oneof};

/// The first message on a stream the host opens: which operation it carries.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// The operation.
    #[prost(
        oneof = "Operation",
        tags = "1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 25, 26, 27, 28"
    )]
    pub operation: Option<Operation>,
}

/// Everything the host can ask of the agent.
#[derive(Clone, PartialEq, Oneof)]
#[allow(
    missing_docs,
    reason = "each variant is documented by the message it carries"
)]
pub enum Operation {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Ping(Ping),
    #[prost(message, tag = "3")]
    Shutdown(Shutdown),
    #[prost(message, tag = "4")]
    ReadLog(ReadLog),
    #[prost(message, tag = "5")]
    Freeze(Freeze),
    #[prost(message, tag = "10")]
    StartProcess(StartProcess),
    #[prost(message, tag = "11")]
    AttachProcess(AttachProcess),
    #[prost(message, tag = "12")]
    ListProcesses(ListProcesses),
    #[prost(message, tag = "13")]
    SignalProcess(SignalProcess),
    #[prost(message, tag = "14")]
    ForgetProcess(ForgetProcess),
    #[prost(message, tag = "20")]
    ReadFile(ReadFile),
    #[prost(message, tag = "21")]
    WriteFile(WriteFile),
    #[prost(message, tag = "22")]
    ListDirectory(ListDirectory),
    #[prost(message, tag = "23")]
    StatPath(StatPath),
    #[prost(message, tag = "24")]
    MakeDirectory(MakeDirectory),
    #[prost(message, tag = "25")]
    RemovePath(RemovePath),
    #[prost(message, tag = "26")]
    RenamePath(RenamePath),
    #[prost(message, tag = "27")]
    DownloadTree(DownloadTree),
    #[prost(message, tag = "28")]
    UploadTree(UploadTree),
}

/// What the host may say after the [`Request`], beside data frames.
#[derive(Clone, PartialEq, Message)]
pub struct Input {
    /// The one thing said.
    #[prost(oneof = "input::Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<input::Kind>,
}

/// The kinds of [`Input`].
pub mod input {
    use super::{EndOfData, EndOfFile, ResizeTerminal, SendSignal, Thaw, TreeEntry};

    /// What the host may say after the request.
    #[derive(Clone, PartialEq, prost::Oneof)]
    #[allow(
        missing_docs,
        reason = "each variant is documented by the message it carries"
    )]
    pub enum Kind {
        #[prost(message, tag = "1")]
        EndOfData(EndOfData),
        #[prost(message, tag = "2")]
        SendSignal(SendSignal),
        #[prost(message, tag = "3")]
        ResizeTerminal(ResizeTerminal),
        #[prost(message, tag = "4")]
        TreeEntry(TreeEntry),
        #[prost(message, tag = "5")]
        EndOfFile(EndOfFile),
        #[prost(message, tag = "6")]
        Thaw(Thaw),
    }
}

/// What the agent answers, beside data frames.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    /// The one thing answered.
    #[prost(
        oneof = "reply::Kind",
        tags = "1, 2, 3, 4, 5, 10, 11, 12, 13, 20, 21, 22, 23"
    )]
    pub kind: Option<reply::Kind>,
}

/// The kinds of [`Reply`].
pub mod reply {
    use super::{
        DirectoryBatch, Done, EndOfFile, Failure, Frozen, HelloReply, Metadata, OutputGap, Pong,
        ProcessExited, ProcessList, ProcessStarted, TreeEntry,
    };

    /// What the agent may answer.
    #[derive(Clone, PartialEq, prost::Oneof)]
    #[allow(
        missing_docs,
        reason = "each variant is documented by the message it carries"
    )]
    pub enum Kind {
        #[prost(message, tag = "1")]
        Failure(Failure),
        #[prost(message, tag = "2")]
        Done(Done),
        #[prost(message, tag = "3")]
        Hello(HelloReply),
        #[prost(message, tag = "4")]
        Pong(Pong),
        #[prost(message, tag = "5")]
        Frozen(Frozen),
        #[prost(message, tag = "10")]
        ProcessStarted(ProcessStarted),
        #[prost(message, tag = "11")]
        OutputGap(OutputGap),
        #[prost(message, tag = "12")]
        ProcessExited(ProcessExited),
        #[prost(message, tag = "13")]
        ProcessList(ProcessList),
        #[prost(message, tag = "20")]
        Metadata(Metadata),
        #[prost(message, tag = "21")]
        DirectoryBatch(DirectoryBatch),
        #[prost(message, tag = "22")]
        TreeEntry(TreeEntry),
        #[prost(message, tag = "23")]
        EndOfFile(EndOfFile),
    }
}

macro_rules! wrap {
    ($($kind:ident($message:ty) => $outer:ident via $variant:path;)*) => {$(
        impl From<$message> for $outer {
            fn from(message: $message) -> Self {
                Self { kind: Some($variant(message)) }
            }
        }
    )*};
}

wrap! {
    EndOfData(EndOfData) => Input via input::Kind::EndOfData;
    SendSignal(SendSignal) => Input via input::Kind::SendSignal;
    ResizeTerminal(ResizeTerminal) => Input via input::Kind::ResizeTerminal;
    TreeEntry(TreeEntry) => Input via input::Kind::TreeEntry;
    EndOfFile(EndOfFile) => Input via input::Kind::EndOfFile;
    Thaw(Thaw) => Input via input::Kind::Thaw;
    Failure(Failure) => Reply via reply::Kind::Failure;
    Done(Done) => Reply via reply::Kind::Done;
    Hello(HelloReply) => Reply via reply::Kind::Hello;
    Pong(Pong) => Reply via reply::Kind::Pong;
    Frozen(Frozen) => Reply via reply::Kind::Frozen;
    ProcessStarted(ProcessStarted) => Reply via reply::Kind::ProcessStarted;
    OutputGap(OutputGap) => Reply via reply::Kind::OutputGap;
    ProcessExited(ProcessExited) => Reply via reply::Kind::ProcessExited;
    ProcessList(ProcessList) => Reply via reply::Kind::ProcessList;
    Metadata(Metadata) => Reply via reply::Kind::Metadata;
    DirectoryBatch(DirectoryBatch) => Reply via reply::Kind::DirectoryBatch;
    TreeEntry(TreeEntry) => Reply via reply::Kind::TreeEntry;
    EndOfFile(EndOfFile) => Reply via reply::Kind::EndOfFile;
}

impl From<Operation> for Request {
    fn from(operation: Operation) -> Self {
        Self {
            operation: Some(operation),
        }
    }
}
