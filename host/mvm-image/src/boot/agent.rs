//! The guest agent that this program carries.

/// The agent as a static x86-64 ELF program: the `/init` of every guest.
pub static AGENT: &[u8] = include_bytes!(env!("MVM_AGENT"));
