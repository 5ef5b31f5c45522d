//! `mvmctl template` and `pool`.

use mvm_contract::Resources;
use mvm_runtime::{TemplateOrder, TemplateRecord};

use super::Context;
use crate::{
    arguments::{Pools, SetPool, Shaped, SomeTemplates, Templates},
    failure::Failure,
    output,
    progress::{Display, WORK_PATIENCE},
    table,
};

impl From<Shaped> for TemplateOrder {
    fn from(shape: Shaped) -> Self {
        Self {
            image: shape.image,
            resources: Resources {
                vcpus: shape.cpus,
                memory_mib: shape.memory,
                disk_mib: shape.disk,
            },
        }
    }
}

pub(super) async fn templates(context: &Context, verb: Templates) -> Result<u8, Failure> {
    let runtime = &context.runtime;
    match verb {
        Templates::List => list(context, &runtime.templates()?)?,
        Templates::Build(shape) => {
            let display = Display::new(context.quiet, WORK_PATIENCE);
            let key = runtime.build_template(&shape.into(), &display).await?;
            report(context, &key, "ready")?;
        }
        Templates::Verify(options) => {
            runtime.verify_template(&options.key)?;
            report(context, &options.key, "verified")?;
        }
        Templates::Remove(SomeTemplates { keys, force }) => {
            for key in keys {
                runtime.remove_template(&key, force)?;
                report(context, &key, "removed")?;
            }
        }
        Templates::Prune => {
            let removed = runtime.prune_templates()?;
            if context.json {
                output::json(&removed)?;
            } else {
                for record in removed {
                    output::data(record.key)?;
                }
            }
        }
    }
    Ok(0)
}

fn report(context: &Context, key: &str, state: &str) -> Result<(), Failure> {
    if context.json {
        output::json(&serde_json::json!({ "template": key, "state": state }))
    } else {
        output::data(key)
    }
}

fn list(context: &Context, records: &[TemplateRecord]) -> Result<(), Failure> {
    if context.json {
        return output::json(&records);
    }
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            [
                record.key.clone(),
                record.image.clone(),
                record.vcpus.to_string(),
                format!("{}M", record.memory_mib),
                table::mebibytes(record.bytes),
                record.needed_by.len().to_string(),
                table::age(record.created_at_ms),
                record.stale.clone().unwrap_or_else(|| "ready".to_owned()),
            ]
        })
        .collect();
    let head = [
        "KEY",
        "IMAGE",
        "CPUS",
        "MEMORY",
        "SIZE",
        "NEEDED BY",
        "AGE",
        "STATE",
    ];
    table::print(head, &rows)
}

pub(super) async fn pools(context: &Context, verb: Pools) -> Result<u8, Failure> {
    let runtime = &context.runtime;
    match verb {
        Pools::Set(SetPool { shape, size, idle }) => {
            let display = Display::new(context.quiet, WORK_PATIENCE);
            let idle = idle.as_secs().max(1);
            let key = runtime
                .set_pool(&shape.into(), size, idle, &display)
                .await?;
            if context.json {
                output::json(&serde_json::json!({ "template": key, "size": size }))?;
            } else {
                output::data(key)?;
            }
        }
        Pools::List => {
            let records = runtime.pools()?;
            if context.json {
                output::json(&records)?;
                return Ok(0);
            }
            let rows: Vec<_> = records
                .iter()
                .map(|record| {
                    [
                        record.template.clone(),
                        record.image.clone(),
                        record.vcpus.to_string(),
                        format!("{}M", record.memory_mib),
                        record.ready.to_string(),
                        record.making.to_string(),
                        table::or_dash(record.size),
                    ]
                })
                .collect();
            let head = [
                "TEMPLATE", "IMAGE", "CPUS", "MEMORY", "READY", "MAKING", "SIZE",
            ];
            table::print(head, &rows)?;
        }
        Pools::Drain => {
            let drained = runtime.drain_pools().await;
            if context.json {
                output::json(&serde_json::json!({ "drained": drained }))?;
            } else {
                output::data(drained)?;
            }
        }
    }
    Ok(0)
}
