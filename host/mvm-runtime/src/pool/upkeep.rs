//! What a user does with spares.

use super::{
    PoolError, PoolFile, PoolName, PoolRecord, PoolSettings, all, keys, living, retire, store,
};
use crate::{
    CreateError, Progress, Runtime,
    template::{self, TemplateOrder},
};

impl Runtime {
    /// Keeps so many spares of an image and resources from now on, each for so many seconds while
    /// nobody claims it. Returns when the first of them is being made, or those too many are gone.
    pub async fn set_pool(
        &self,
        order: &TemplateOrder,
        size: u32,
        idle_seconds: u64,
        progress: &(dyn Progress + Sync),
    ) -> Result<String, CreateError> {
        let key = self.build_template(order, progress).await?;
        let pool = PoolName {
            image: order.image.clone(),
            resources: order.resources,
        };
        let settings = PoolSettings { size, idle_seconds };
        let file = PoolFile {
            pool: pool.clone(),
            settings,
        };
        store(&self.home, &file)?;
        // One that is being made ends by itself when it finds that it is too many.
        retire(&self.home, &key, size).await;
        super::start_first(self, &key, &pool).await?;
        Ok(key)
    }

    /// Every pool: what was decided, and what is there.
    pub fn pools(&self) -> Result<Vec<PoolRecord>, PoolError> {
        let decided = all(&self.home)?;
        let mut records = Vec::new();
        for key in keys(&self.home) {
            let Some(template) = template::load(&self.home, &key).ok().flatten() else {
                continue;
            };
            let spares = living(&self.home, &key);
            let ready = spares.iter().filter(|(_, ready)| *ready).count();
            let resources = template.manifest.shape.resources;
            let size = decided.iter().find(|PoolFile { pool, .. }| {
                pool.image == template.manifest.image && pool.resources == resources
            });
            if spares.is_empty() && size.is_none() {
                continue;
            }
            records.push(PoolRecord {
                template: key,
                image: template.manifest.image,
                memory_mib: resources.memory_mib,
                vcpus: resources.vcpus,
                ready: u32::try_from(ready).unwrap_or(u32::MAX),
                making: u32::try_from(spares.len() - ready).unwrap_or(u32::MAX),
                size: size.map(|file| file.settings.size),
            });
        }
        records.sort_by(|one, other| one.template.cmp(&other.template));
        Ok(records)
    }

    /// Ends all spares that wait, and tells how many. The settings stay: the next sandbox makes
    /// new ones.
    pub async fn drain_pools(&self) -> u32 {
        let mut retired = 0;
        for key in keys(&self.home) {
            retired += retire(&self.home, &key, 0).await;
        }
        retired
    }
}
