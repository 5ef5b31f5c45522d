//! The hypervisor seam.
pub mod jail;
