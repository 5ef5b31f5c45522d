//! Exit codes of a program that runs a command in a sandbox, after `env(1)` and `timeout(1)`:
//! the command's own code passes through, and the codes below say what became of it otherwise.

/// The command's timeout passed and it was ended.
pub const TIMED_OUT: u8 = 124;
/// mvm itself failed; standard error says how.
pub const FAILED: u8 = 125;
/// The command exists in the guest and cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command does not exist in the guest.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that killed the command.
pub const SIGNAL_BASE: u8 = 128;
