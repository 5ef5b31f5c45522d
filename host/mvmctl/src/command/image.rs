//! `mvmctl image`.

use mvm_contract::Coded as _;
use mvm_runtime::{ImageRecord, RemovedImage};
use serde_json::json;

use super::Context;
use crate::{
    arguments::{ExportImage, Images, PullImage, SomeImages},
    failure::Failure,
    output,
    progress::{Display, WORK_PATIENCE},
    table,
};

/// Digits of a digest in a table.
const SHOWN_DIGITS: usize = 12;

pub(super) fn images(context: &Context, verb: Images) -> Result<u8, Failure> {
    let runtime = &context.runtime;
    match verb {
        Images::Pull(options) => pull(context, &options)?,
        Images::List => list(context, &runtime.images()?)?,
        Images::Inspect(options) => output::json(&runtime.image(&options.image)?)?,
        Images::Verify(options) => return verify(context, &options.images),
        Images::Remove(SomeImages { images }) => {
            let mut removed = Vec::new();
            for image in images {
                removed.push(runtime.remove_image(&image)?);
            }
            report(context, &removed)?;
        }
        Images::Prune => {
            let (removed, left) = runtime.prune_images()?;
            if context.json {
                output::json(&json!({ "removed": removed, "left_by_pulls": left }))?;
            } else {
                report(context, &removed)?;
            }
        }
        Images::Export(options) => export(context, &options)?,
    }
    Ok(0)
}

fn pull(context: &Context, options: &PullImage) -> Result<(), Failure> {
    let runtime = context.runtime.clone();
    let runtime = runtime
        .with_pull(options.pull.into())
        .with_profile(options.profile);
    let display = Display::new(context.quiet, WORK_PATIENCE);
    let image = runtime.prepare_image(&options.image, &display)?;
    if context.json {
        output::json(&json!({
            "source": image.source,
            "digest": image.digest,
            "manifest": image.manifest,
            "size": image.size,
        }))
    } else {
        output::data(image.digest)
    }
}

fn list(context: &Context, records: &[ImageRecord]) -> Result<(), Failure> {
    if context.json {
        return output::json(&records);
    }
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            let image = &record.image;
            [
                image.digest.hex()[..SHOWN_DIGITS].to_owned(),
                sources(&image.sources),
                table::mebibytes(image.size),
                table::mebibytes(image.pulled_bytes),
                record.used_by.len().to_string(),
                table::or_dash(image.since_ms.map(table::age)),
                image.broken.clone().unwrap_or_else(|| "ready".to_owned()),
            ]
        })
        .collect();
    let head = [
        "DIGEST", "SOURCE", "SIZE", "PULLED", "USED BY", "AGE", "STATE",
    ];
    table::print(head, &rows)
}

/// One source, and how many more there are.
fn sources(all: &[String]) -> String {
    match all {
        [] => "-".to_owned(),
        [only] => only.clone(),
        [first, others @ ..] => format!("{first} (+{})", others.len()),
    }
}

/// Verifies all that are asked for, whatever the others are.
fn verify(context: &Context, names: &[String]) -> Result<u8, Failure> {
    let runtime = &context.runtime;
    let records = if names.is_empty() {
        runtime.images()?
    } else {
        let found = names.iter().map(|name| runtime.image(name));
        found.collect::<Result<_, _>>()?
    };
    let mut failed = None;
    let mut states = Vec::new();
    for record in records {
        let digest = record.image.digest;
        let verified = runtime.verify_image(&digest);
        let state = if verified.is_ok() {
            "verified"
        } else {
            "broken"
        };
        states.push(json!({ "image": digest, "state": state }));
        match verified {
            Ok(()) if !context.json => output::data(digest)?,
            Ok(()) => {}
            Err(error) => {
                if !context.json {
                    let hint = error.hint().unwrap_or_default();
                    output::talk(format_args!("image `{digest}` is broken; {hint}"));
                }
                failed = Some(Failure::from(error));
            }
        }
    }
    if context.json {
        output::json(&states)?;
    }
    failed.map_or(Ok(0), Err)
}

fn report(context: &Context, removed: &[RemovedImage]) -> Result<(), Failure> {
    if context.json {
        return output::json(&removed);
    }
    for image in removed {
        output::data(image.digest)?;
    }
    Ok(())
}

fn export(context: &Context, options: &ExportImage) -> Result<(), Failure> {
    let ExportImage {
        image,
        file,
        format,
    } = options;
    let digest = context
        .runtime
        .export_image(image, (*format).into(), file)?;
    if context.json {
        output::json(&json!({ "image": digest, "file": file }))
    } else {
        output::data(file.display())
    }
}
