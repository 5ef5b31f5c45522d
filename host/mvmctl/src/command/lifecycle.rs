//! `mvmctl create`, `stop` and `destroy`.

use mvm_contract::SandboxSpec;

use super::{Context, create_sandbox, dry_run, report_sandbox};
use crate::{
    arguments::{Create, Destroy, Stop, TimeToLive, Ttl},
    failure::Failure,
    output,
};

pub(super) async fn create(context: Context, options: Create) -> Result<u8, Failure> {
    let Create {
        shape,
        name,
        env,
        workdir,
        user,
        ttl,
    } = options;
    let complete = |spec| SandboxSpec {
        name,
        environment: env.into_iter().collect(),
        working_directory: workdir,
        user,
        ttl_seconds: ttl.map(|ttl| ttl.as_secs().max(1)),
        ..spec
    };
    if shape.dry_run {
        return dry_run(&context, &shape, complete);
    }
    let sandbox = create_sandbox(&context, &shape, complete).await?;
    report_sandbox(&context, sandbox).await?;
    Ok(0)
}

pub(super) async fn pause(context: &Context, sandbox: &str) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(sandbox)?;
    sandbox.pause().await?;
    report(context, "paused", sandbox.id().as_str(), None)?;
    Ok(0)
}

pub(super) async fn resume(context: &Context, sandbox: &str) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(sandbox)?;
    sandbox.resume().await?;
    report(context, "running", sandbox.id().as_str(), None)?;
    Ok(0)
}

pub(super) async fn cold(context: &Context, sandbox: &str) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(sandbox)?;
    sandbox.cool().await?;
    report(context, "cold", sandbox.id().as_str(), None)?;
    Ok(0)
}

pub(super) async fn stop(context: &Context, options: &Stop) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(&options.sandbox)?;
    let ended = sandbox.stop(options.grace).await?;
    report(context, "stopped", sandbox.id().as_str(), Some(ended))?;
    Ok(0)
}

pub(super) async fn ttl(context: &Context, options: &Ttl) -> Result<u8, Failure> {
    let sandbox = context.runtime.connect(&options.sandbox)?;
    let TimeToLive(ttl) = options.ttl;
    let seconds = ttl.map(|ttl| ttl.as_secs().max(1));
    sandbox.set_ttl(seconds).await?;
    report(context, "set", sandbox.id().as_str(), None)?;
    Ok(0)
}

pub(super) async fn destroy(context: &Context, options: Destroy) -> Result<u8, Failure> {
    let sandboxes = if options.all {
        let all = context.runtime.list()?.into_iter();
        all.map(|sandbox| match sandbox {
            Ok(record) => record.id.to_string(),
            Err(unreadable) => unreadable.id.to_string(),
        })
        .collect()
    } else {
        options.sandboxes
    };
    // Every one is tried; the first failure is the one reported last.
    let mut failed = None;
    for name in sandboxes {
        if let Err(failure) = destroy_one(context, &name).await
            && let Some(earlier) = failed.replace(failure)
        {
            output::failure(&earlier, context.json);
        }
    }
    failed.map_or(Ok(0), Err)
}

async fn destroy_one(context: &Context, name: &str) -> Result<(), Failure> {
    let ended = match context.runtime.connect(name) {
        Ok(sandbox) => sandbox.destroy().await?,
        Err(error @ mvm_runtime::RegistryError::Record(_)) => {
            if !context.runtime.remove_unreadable(name)? {
                return Err(error.into());
            }
            mvm_runtime::Ended::Before
        }
        Err(error) => return Err(error.into()),
    };
    report(context, "destroyed", name, Some(ended))
}

fn report(
    context: &Context,
    state: &str,
    sandbox: &str,
    ended: Option<mvm_runtime::Ended>,
) -> Result<(), Failure> {
    if context.json {
        let mut object = serde_json::json!({ "sandbox": sandbox, "state": state });
        if let Some(ended) = ended {
            object["ended"] = serde_json::json!(ended);
        }
        output::json(&object)
    } else {
        output::data(sandbox)
    }
}
