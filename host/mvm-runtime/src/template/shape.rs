//! What a template is found by.

use std::path::PathBuf;

use mvm_contract::Resources;
use mvm_image::{Digest, Image, boot::BootArtifacts};
use mvm_vmm::Host;
use serde::{Deserialize, Serialize};

use crate::{machine_facts::MachineFacts, plan::GuestSoftware};

/// Everything that a template's saved state depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateShape {
    /// Version of the runtime: what is done to a guest before it is saved.
    runtime: String,
    pub(crate) image_digest: String,
    pub(crate) image_path: PathBuf,
    kernel_digest: Digest,
    /// The agent is in the initramfs.
    initramfs_digest: Digest,
    pub(crate) machine: MachineFacts,
    pub(crate) resources: Resources,
}

impl TemplateShape {
    pub(crate) fn of(
        host: &Host,
        image: &Image,
        boot: &BootArtifacts,
        resources: &Resources,
    ) -> Self {
        Self {
            runtime: env!("CARGO_PKG_VERSION").to_owned(),
            image_digest: image.digest.to_string(),
            image_path: image.path.clone(),
            kernel_digest: boot.kernel_digest,
            initramfs_digest: boot.initramfs_digest,
            machine: MachineFacts::of(host, resources),
            resources: *resources,
        }
    }

    /// What a guest of this template was booted with.
    pub(crate) fn software(&self) -> GuestSoftware {
        GuestSoftware::of(self.kernel_digest, self.initramfs_digest)
    }

    /// The key: 32 hexadecimal digits.
    pub(crate) fn key(&self) -> String {
        let addressed = (
            &self.runtime,
            &self.image_digest,
            &self.kernel_digest,
            &self.initramfs_digest,
            // The counter is compared when the template is used.
            self.machine.without_counter(),
            &self.resources,
        );
        let text = serde_json::to_vec(&addressed).unwrap_or_default();
        Digest::of(&text).hex()[..32].to_owned()
    }
}
