//! Image sources to verified, content-addressed root filesystems and boot artifacts.

mod atomic_file;
pub mod boot;
pub mod debian;
mod progress;

pub use self::atomic_file::WriteFileError;
pub use self::progress::Progress;
