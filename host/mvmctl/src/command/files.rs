//! `mvmctl files`.

use mvm_runtime::{FileKind, FileStatus, WriteOptions};

use super::Context;
use crate::{
    arguments::{At, Files},
    failure::Failure,
    output,
};

pub(super) async fn files(context: &Context, options: Files) -> Result<u8, Failure> {
    match options {
        Files::Ls(at) => list(context, &at).await?,
        Files::Cat(At { sandbox, path }) => {
            let sandbox = context.runtime.connect(&sandbox)?;
            let mut file = sandbox.open_file(&path).await?;
            while let Some(chunk) = file.next_chunk().await? {
                output::bytes(chunk)?;
            }
        }
        Files::Write(write) => {
            let sandbox = context.runtime.connect(&write.at.sandbox)?;
            let options = WriteOptions {
                mode: write.mode,
                make_parents: write.parents,
                owner: None,
            };
            let content = &mut tokio::io::stdin();
            let bytes = sandbox
                .write_file(&write.at.path, content, &options)
                .await?;
            if context.json {
                output::json(&serde_json::json!({ "bytes": bytes }))?;
            }
        }
        Files::Rm(remove) => {
            let sandbox = context.runtime.connect(&remove.at.sandbox)?;
            sandbox.remove(&remove.at.path, remove.recursive).await?;
        }
        Files::Mkdir(make) => {
            let sandbox = context.runtime.connect(&make.at.sandbox)?;
            sandbox
                .make_directory(&make.at.path, make.mode, make.parents)
                .await?;
        }
        Files::Mv(rename) => {
            let sandbox = context.runtime.connect(&rename.at.sandbox)?;
            sandbox.rename(&rename.at.path, &rename.to).await?;
        }
        Files::Stat(At { sandbox, path }) => {
            let status = context
                .runtime
                .connect(&sandbox)?
                .stat(&path, false)
                .await?;
            if context.json {
                output::json(&status)?;
            } else {
                output::data(line(&status, &output::printable(&path.to_string_lossy())))?;
            }
        }
    }
    Ok(0)
}

async fn list(context: &Context, at: &At) -> Result<(), Failure> {
    let entries = context
        .runtime
        .connect(&at.sandbox)?
        .list_directory(&at.path)
        .await?;
    if context.json {
        return output::json(&entries);
    }
    for entry in entries {
        output::data(line(&entry.status, &output::printable(&entry.name)))?;
    }
    Ok(())
}

/// `drwxr-xr-x  uid:gid  size  name`, after `ls -ln`.
fn line(status: &FileStatus, name: &str) -> String {
    let kind = match status.kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Device => 'c',
        FileKind::Pipe => 'p',
        FileKind::Socket => 's',
        FileKind::Other => '?',
    };
    let permissions: String = (0..9)
        .rev()
        .map(|bit| {
            if status.mode & (1 << bit) == 0 {
                '-'
            } else {
                ['x', 'w', 'r'][bit % 3]
            }
        })
        .collect();
    let target = status.link_target.as_ref();
    let target = target
        .map(|target| format!(" -> {}", output::printable(target)))
        .unwrap_or_default();
    format!(
        "{kind}{permissions}  {}:{}  {:>10}  {name}{target}",
        status.user_id, status.group_id, status.size
    )
}
