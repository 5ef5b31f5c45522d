//! `mvmctl doctor` and `mvmctl setup`.

use std::fs;

use mvm_contract::{Resources, exit_status};
use mvm_runtime::{
    MVM_TEMPLATES, TemplateOrder,
    doctor::{Check, Status},
};

use super::Context;
use crate::{
    arguments::Setup,
    failure::Failure,
    output,
    progress::{Display, WORK_PATIENCE},
};

/// Remembers in the state directory what accelerator was told of.
const TOLD: &str = "accelerator-told";

pub(super) async fn setup(context: &Context, options: &Setup) -> Result<u8, Failure> {
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let prepared = context
        .runtime
        .set_up(&options.images, options.force, &display)?;
    // Unless sandboxes are not forked at all.
    if std::env::var_os(MVM_TEMPLATES).is_none_or(|value| value != "off") {
        let order = TemplateOrder {
            image: prepared.image.clone(),
            resources: Resources::default(),
        };
        context.runtime.build_template(&order, &display).await?;
    }
    if context.json {
        output::json(&prepared)?;
    } else if !context.quiet {
        output::talk(format_args!(
            "ready: kernel {}, image {}, accelerator {}",
            prepared.kernel,
            prepared.images.join(", "),
            prepared.accelerator
        ));
    }
    announce_fallback(context);
    Ok(0)
}

pub(super) fn doctor(context: &Context) -> Result<u8, Failure> {
    let checks = context.runtime.examine();
    if context.json {
        output::json(&checks)?;
    } else {
        for check in &checks {
            print(check)?;
        }
    }
    let usable = checks.iter().all(|check| check.status != Status::Fail);
    Ok(if usable { 0 } else { exit_status::FAILED })
}

fn print(check: &Check) -> Result<(), Failure> {
    let status = match check.status {
        Status::Ok => "ok",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
    };
    output::data(format_args!(
        "{status:<4}  {:<22}  {}",
        check.code, check.found
    ))?;
    if let Some(cause) = &check.cause {
        output::data(format_args!("      because: {cause}"))?;
    }
    if let Some(remedy) = &check.remedy {
        output::data(format_args!("      hint: {remedy}"))?;
    }
    Ok(())
}

/// Says once for a state directory, not at every start, that guests are emulated and why.
pub(super) fn announce_fallback(context: &Context) {
    let told = context.runtime.home().cache().join(TOLD);
    if context.quiet || told.exists() {
        return;
    }
    if let Some(reason) = context.runtime.emulation_reason() {
        output::talk(format_args!(
            "note: guests are emulated (10 to 20 times slower): {reason}"
        ));
    }
    // Told again next time when this cannot be remembered.
    let _ = fs::write(told, "");
}
