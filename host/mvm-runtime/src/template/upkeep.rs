//! What a user does with templates.

use std::os::unix::fs::MetadataExt as _;

use mvm_contract::{Resources, SandboxSpec};
use mvm_image::registry::PullPolicy;
use mvm_vmm::Host;

use super::{
    ListedTemplate, Template, TemplateError, TemplateRecord, TemplateShape, find, list, lock,
    remove,
};
use crate::{
    CreateError, Progress, Runtime, launch,
    snapshot::{self, COLD, ListedSnapshot},
};

/// The template of what is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateOrder {
    /// The image.
    pub image: String,
    /// What a sandbox of it may use.
    pub resources: Resources,
}

impl Runtime {
    /// Makes the template of an image and resources where there is none, and tells its key.
    pub async fn build_template(
        &self,
        order: &TemplateOrder,
        progress: &(dyn Progress + Sync),
    ) -> Result<String, CreateError> {
        let spec = SandboxSpec {
            image: order.image.clone(),
            resources: order.resources,
            ..SandboxSpec::default()
        };
        spec.validate()?;
        launch::screen(self, &spec.image)?;
        let boot = launch::boot_artifacts(self)?;
        let _hold = launch::hold_images(self)?;
        let image = launch::materialize(self, &spec.image, progress)?;
        let host = Host::detect(&self.home.cache(), None)?;
        let shape = TemplateShape::of(&host, &image, &boot, &spec.resources);
        let key = shape.key();
        if find(&self.home, &shape).is_none() {
            let kernel = launch::kernel_files(self, &boot, &spec)?;
            launch::make_template(self, &spec.image, shape, kernel, progress).await?;
        }
        Ok(key)
    }

    /// Every template, with who needs it.
    pub fn templates(&self) -> Result<Vec<TemplateRecord>, TemplateError> {
        let host = Host::detect(&self.home.cache(), None).ok();
        let boot = launch::boot_artifacts(self).ok();
        let mut records = Vec::new();
        for ListedTemplate { key, template } in list(&self.home)? {
            let needed_by = self.who_needs(&key);
            records.push(match template {
                Ok(template) => self.record(&template, host.as_ref(), boot.as_ref(), needed_by),
                Err(error) => TemplateRecord {
                    key,
                    image: String::new(),
                    image_digest: String::new(),
                    memory_mib: 0,
                    vcpus: 0,
                    disk_mib: 0,
                    created_at_ms: 0,
                    bytes: 0,
                    stale: Some(error.to_string()),
                    needed_by,
                },
            });
        }
        Ok(records)
    }

    /// Reads every byte of a template's files again and compares their digests.
    pub fn verify_template(&self, key: &str) -> Result<(), TemplateError> {
        let template = super::load(&self.home, key)?;
        let template = template.ok_or_else(|| TemplateError::NotFound {
            key: key.to_owned(),
        })?;
        template.verify()
    }

    /// Removes a template. One that sandboxes or snapshots need goes only when `force` is set: they
    /// run on, and cannot be saved or brought back any more.
    pub fn remove_template(&self, key: &str, force: bool) -> Result<(), TemplateError> {
        let lock = lock(&self.home, key)?;
        let needed_by = self.who_needs(key);
        if !force && !needed_by.is_empty() {
            return Err(TemplateError::Needed {
                key: key.to_owned(),
                needed_by,
            });
        }
        remove(&self.home, &lock)
    }

    /// Removes the templates that are stale and needed by nobody, and tells which.
    pub fn prune_templates(&self) -> Result<Vec<TemplateRecord>, TemplateError> {
        let mut removed = Vec::new();
        for record in self.templates()? {
            if record.stale.is_some() && record.needed_by.is_empty() {
                self.remove_template(&record.key, false)?;
                removed.push(record);
            }
        }
        Ok(removed)
    }

    fn record(
        &self,
        template: &Template,
        host: Option<&Host>,
        boot: Option<&mvm_image::boot::BootArtifacts>,
        needed_by: Vec<String>,
    ) -> TemplateRecord {
        let shape = &template.manifest.shape;
        let files = [template.memory(), template.disk(), template.state()];
        let bytes = files
            .iter()
            .filter_map(|path| path.metadata().ok())
            .map(|metadata| metadata.blocks() * 512)
            .sum();
        TemplateRecord {
            key: template.key.clone(),
            image: template.manifest.image.clone(),
            image_digest: shape.image_digest.clone(),
            memory_mib: shape.resources.memory_mib,
            vcpus: shape.resources.vcpus,
            disk_mib: shape.resources.disk_mib,
            created_at_ms: template.manifest.created_at_ms,
            bytes,
            stale: self.why_stale(template, host, boot),
            needed_by,
        }
    }

    /// Why a template is not what a sandbox of its image would be forked from now.
    fn why_stale(
        &self,
        template: &Template,
        host: Option<&Host>,
        boot: Option<&mvm_image::boot::BootArtifacts>,
    ) -> Option<String> {
        if let Err(error) = template.check() {
            return Some(error.to_string());
        }
        let (Some(host), Some(boot)) = (host, boot) else {
            return None;
        };
        // A look at what there is asks no registry.
        let offline = self.clone().with_pull(PullPolicy::Never);
        let image = launch::materialize(&offline, &template.manifest.image, &mvm_image::Silent);
        let Ok(image) = image else {
            return Some("its image is not there any more".to_owned());
        };
        let shape = &template.manifest.shape;
        let now = TemplateShape::of(host, &image, boot, &shape.resources);
        if now.image_digest != shape.image_digest {
            return Some("its image has changed".to_owned());
        }
        if let Some(difference) = shape.machine.difference(&now.machine) {
            return Some(format!("this host has another {}", difference.what));
        }
        (now.key() != template.key).then(|| "the kernel or mvm itself has changed".to_owned())
    }

    /// Sandboxes and snapshots that need a template.
    fn who_needs(&self, key: &str) -> Vec<String> {
        let sandboxes = self.list().unwrap_or_default().into_iter().flatten();
        let sandboxes = sandboxes.filter(|record| {
            let folder = self.home.sandbox(&record.id);
            let is_there = record.state.is_live() || snapshot::is_complete(&folder.join(COLD));
            is_there && record.template.as_deref() == Some(key)
        });
        let snapshots = self.snapshots().unwrap_or_default().into_iter();
        let snapshots = snapshots.filter_map(|ListedSnapshot { id, record }| {
            (record.ok()?.template.as_deref() == Some(key)).then(|| id.to_string())
        });
        sandboxes
            .map(|record| record.id.to_string())
            .chain(snapshots)
            .collect()
    }
}
