//! What a microVM may use.

use mvm_contract::Resources;

use super::Arguments;
use crate::value::{Piece, Placed};

/// Other declarations write megabytes and mean mebibytes: `memory_mb` is taken as MiB.
pub(super) fn resources(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let defaults = Resources::default();
    let resources = Resources {
        vcpus: arguments.integer("vcpus").unwrap_or(defaults.vcpus),
        memory_mib: arguments
            .integer("memory_mib")
            .unwrap_or(defaults.memory_mib),
        disk_mib: arguments.integer("disk_mib").unwrap_or(defaults.disk_mib),
    };
    Some(Placed::new(Piece::Resources(resources), arguments.places()))
}
