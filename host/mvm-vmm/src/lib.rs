//! The hypervisor seam: turns a machine specification into a running QEMU,
//! gives a connected channel to the agent in it, stops it, and reports what
//! happened. It knows no plan, no policy and no agent protocol.
//!
//! Start at [`Host::detect`], then [`Machine::boot`] and [`Machine::restore`].

pub mod accelerator;
mod boot_cache;
mod channel;
mod command_line;
pub mod doctor;
mod host;
mod host_tsc;
pub mod jail;
mod machine;
mod machine_spec;
pub mod page_delta;
mod private_pages;
mod process;
pub mod qemu;
pub mod qmp;

pub use boot_cache::CacheError;
pub use channel::{ChannelError, SocketError};
pub use command_line::{AGENT_PORTS, MACHINE_GENERATION};
pub use host::{DetectError, Host};
pub use jail::{JailOptions, JailReport};
pub use machine::{
    ControlError, EmptyMachine, Machine, MachineExit, Port, RestoreError, SaveError, SavedMachine,
    SavedMemory, Shutdown, StartError,
};
pub use machine_spec::{
    COMMAND_LINE_MAXIMUM, GuestMemory, KernelSpec, MEMORY_MAXIMUM, MEMORY_MINIMUM, MachineSpec,
    SpecError, VCPUS_MAXIMUM,
};
