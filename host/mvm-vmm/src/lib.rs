//! The hypervisor seam.
mod boot_cache;
mod host_tsc;
pub mod jail;
pub mod qmp;
