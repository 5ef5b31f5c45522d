//! What a saved machine depends on: it is loaded only where all of this is the same.

use mvm_contract::Resources;
use mvm_vmm::{Host, MACHINE_GENERATION, accelerator::Accelerator};
use serde::{Deserialize, Serialize};

/// By so many parts per thousand the counter's frequency may differ: it is measured anew at each
/// start of the host, and the guest was told what was measured then.
const COUNTER_TOLERANCE: u64 = 5;

/// The machine as the hypervisor makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineFacts {
    qemu: String,
    generation: u32,
    accelerator: String,
    processor: String,
    memory_mib: u32,
    vcpus: u32,
    /// Frequency of the host's time stamp counter, kHz; 0 when it has none.
    counter_khz: u64,
}

/// Something in which two machines differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) what: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl MachineFacts {
    /// A machine of these resources on this host.
    pub(crate) fn of(host: &Host, resources: &Resources) -> Self {
        let accelerator = host.accelerator().accelerator;
        Self {
            qemu: host.qemu().version().to_string(),
            generation: MACHINE_GENERATION,
            accelerator: accelerator.name().to_owned(),
            processor: match accelerator {
                // The translator's own, whatever the host's is.
                Accelerator::Tcg => "emulated".to_owned(),
                Accelerator::Kvm | Accelerator::Hvf => host_processor(),
            },
            memory_mib: resources.memory_mib,
            vcpus: resources.vcpus,
            counter_khz: host.tsc_khz().map_or(0, std::num::NonZeroU64::get),
        }
    }

    /// What does not change when the counter is measured anew: for a key.
    pub(crate) fn without_counter(&self) -> Self {
        Self {
            counter_khz: 0,
            ..self.clone()
        }
    }

    /// The first thing in which another machine differs such that it cannot load this one's state.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        let pairs = [
            ("QEMU version", &self.qemu, &other.qemu),
            ("accelerator", &self.accelerator, &other.accelerator),
            ("processor", &self.processor, &other.processor),
        ];
        for (what, expected, found) in pairs {
            if expected != found {
                return Some(Difference {
                    what,
                    expected: expected.clone(),
                    found: found.clone(),
                });
            }
        }
        let numbers = [
            ("machine generation", self.generation, other.generation),
            ("memory in MiB", self.memory_mib, other.memory_mib),
            ("number of processors", self.vcpus, other.vcpus),
        ];
        for (what, expected, found) in numbers {
            if expected != found {
                return Some(Difference {
                    what,
                    expected: expected.to_string(),
                    found: found.to_string(),
                });
            }
        }
        let apart = self.counter_khz.abs_diff(other.counter_khz);
        (apart > self.counter_khz / 1000 * COUNTER_TOLERANCE).then(|| Difference {
            what: "frequency of the time stamp counter in kHz",
            expected: self.counter_khz.to_string(),
            found: other.counter_khz.to_string(),
        })
    }
}

/// The host's processor by its model and features.
fn host_processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |wanted: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == wanted)
            .map_or("", |(_, value)| value.trim())
    };
    let features = mvm_image::Digest::of(field("flags").as_bytes()).hex();
    format!("{} ({})", field("model name"), &features[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> MachineFacts {
        MachineFacts {
            qemu: "7.2.22".into(),
            generation: 1,
            accelerator: "tcg".into(),
            processor: "emulated".into(),
            memory_mib: 256,
            vcpus: 1,
            counter_khz: 2_596_140,
        }
    }

    #[test]
    fn what_differs_is_named() {
        assert_eq!(facts().difference(&facts()), None);
        let measured_again = MachineFacts {
            counter_khz: 2_597_000,
            ..facts()
        };
        assert_eq!(facts().difference(&measured_again), None);
        let others = [
            MachineFacts {
                qemu: "10.0.2".into(),
                ..facts()
            },
            MachineFacts {
                memory_mib: 512,
                ..facts()
            },
            MachineFacts {
                counter_khz: 3_000_000,
                ..facts()
            },
        ];
        let named = others.map(|other| facts().difference(&other).unwrap().what);
        assert_eq!(
            named,
            [
                "QEMU version",
                "memory in MiB",
                "frequency of the time stamp counter in kHz"
            ]
        );
    }
}
