//! The built-in policies.

use std::collections::BTreeSet;

use super::Bounds;
use crate::plan::{LaunchPath, Profile};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Bounds {
    /// What a profile lets plans do, on a host that bounds nothing itself.
    #[must_use]
    pub fn of_profile(profile: Profile) -> Self {
        match profile {
            // Code nobody has looked at: small, short, from a fresh guest.
            Profile::Restrictive => Self {
                memory_mib: Some(1024),
                vcpus: Some(1),
                disk_mib: Some(4096),
                ttl_seconds: Some(HOUR),
                validity_seconds: Some(5 * MINUTE),
                refuse_adhoc_environment: true,
                launch_paths: Some(BTreeSet::from([
                    LaunchPath::Boot,
                    LaunchPath::Template,
                    LaunchPath::Spare,
                ])),
                ..Self::default()
            },
            Profile::Standard => Self {
                validity_seconds: Some(HOUR),
                ..Self::default()
            },
            Profile::Dev => Self {
                validity_seconds: Some(7 * DAY),
                ..Self::default()
            },
            // What runs is what was reviewed, behind the processor's own isolation.
            Profile::Production => Self {
                validity_seconds: Some(15 * MINUTE),
                require_digest_pin: true,
                refuse_emulated: true,
                refuse_adhoc_environment: true,
                ..Self::default()
            },
        }
    }
}
