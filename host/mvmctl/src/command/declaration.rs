//! `compile` and `check`: declarations to Workload IR, and what is wrong with them.

use std::{
    fs,
    io::{IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
};

use mvm_compiler::{
    ArchiveEntry, Compilation, Diagnostic, MAX_SOURCE_BYTES, Severity, SourceFile, WORKLOAD_FILE,
    archive, render,
};
use mvm_contract::{
    recording::{MAX_RECORDING_BYTES, Recording},
    workload::{MAX_WORKLOAD_BYTES, ReadWorkloadError, Workload},
};

use crate::{
    arguments::{Check, Compile, Format, SourceLanguage},
    failure::Failure,
    output,
};

/// The exit code where the declaration has errors.
const HAS_ERRORS: u8 = 1;

/// `mvmctl compile`.
pub(crate) fn compile(options: &Compile, json: bool, quiet: bool) -> Result<u8, Failure> {
    let workload = match (&options.from_ir, &options.from_recording) {
        (Some(path), _) => Some(read_workload(path)?),
        (None, Some(path)) => Some(recorded_workload(path)?),
        (None, None) => {
            let (files, compiled) = compiled(&options.files, options.language)?;
            let diagnostics = shown(compiled.diagnostics, quiet);
            let text = if json {
                render::json_lines(&files, &diagnostics)
            } else {
                let colors = colors(std::io::stderr().is_terminal());
                render::text(&files, &diagnostics, colors)
            };
            if !text.is_empty() {
                output::talk(format_args!("{}", text.trim_end()));
            }
            compiled.workload
        }
    };
    let Some(workload) = workload else {
        return Ok(HAS_ERRORS);
    };
    let failed = |error: mvm_contract::canonical::WriteError| {
        Failure::invalid(error.to_string(), "leave out numbers that are no integers")
    };
    let bytes = workload.write().map_err(failed)?;
    match &options.out {
        None => {
            output::bytes(&bytes)?;
            if std::io::stdout().is_terminal() {
                output::bytes(b"\n")?;
            }
        }
        Some(out) => {
            write(out, bytes)?;
            let digest = workload.digest().map_err(failed)?;
            if json {
                output::json(&serde_json::json!({ "id": workload.id, "digest": digest }))?;
            } else {
                output::data(digest)?;
            }
        }
    }
    Ok(0)
}

/// `mvmctl check`.
pub(crate) fn check(options: &Check, json: bool, quiet: bool) -> Result<u8, Failure> {
    let format = if json { Format::Json } else { options.format };
    let mut files = Vec::new();
    let mut diagnostics = Vec::new();
    for path in &options.files {
        let (mut its_files, compiled) = compiled(std::slice::from_ref(path), options.language)?;
        // Each file was compiled by itself: its places are moved to where it is among all.
        let before = u32::try_from(files.len()).unwrap_or(u32::MAX);
        for mut diagnostic in shown(compiled.diagnostics, quiet) {
            diagnostic.span.file.0 += before;
            for label in &mut diagnostic.labels {
                label.span.file.0 += before;
            }
            diagnostics.push(diagnostic);
        }
        files.append(&mut its_files);
    }
    match format {
        Format::Text => {
            let colors = colors(std::io::stdout().is_terminal());
            output::bytes(render::text(&files, &diagnostics, colors).as_bytes())?;
        }
        Format::Json => output::bytes(render::json_lines(&files, &diagnostics).as_bytes())?,
        Format::Sarif => output::json(&render::sarif(&files, &diagnostics))?,
    }
    let errors = diagnostics.iter().any(|it| it.severity == Severity::Error);
    Ok(if errors { HAS_ERRORS } else { 0 })
}

/// What is to be said: nothing but errors where quiet is asked for.
fn shown(mut diagnostics: Vec<Diagnostic>, quiet: bool) -> Vec<Diagnostic> {
    diagnostics.retain(|it| !quiet || it.severity == Severity::Error);
    diagnostics
}

/// Whether colors are written: to terminals, unless the user wants none (`NO_COLOR`).
fn colors(is_terminal: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !refused
}

/// Reads and compiles files of one workload, and looks at the lockfiles they name.
fn compiled(
    paths: &[PathBuf],
    language: SourceLanguage,
) -> Result<(Vec<SourceFile>, Compilation), Failure> {
    let mut files = Vec::new();
    for path in paths {
        files.push(read_source(path, language)?);
    }
    let directory = match paths.first() {
        Some(path) if path != Path::new("-") => path.parent().unwrap_or(Path::new("")),
        _ => Path::new(""),
    };
    Ok(mvm_workload::compile_in(directory, files)?)
}

fn read_source(path: &Path, language: SourceLanguage) -> Result<SourceFile, Failure> {
    if path != Path::new("-") {
        return Ok(mvm_workload::read_source(path)?);
    }
    let bytes = read_limited(path, MAX_SOURCE_BYTES)?;
    // A function is found by its file: that of standard input is the usual one.
    Ok(mvm_workload::source_of(
        format!("app.{}", language.extension()),
        bytes,
    )?)
}

/// Reads a file, or standard input, up to one byte more than is looked at.
fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = limit as u64 + 1;
    let read = if path == Path::new("-") {
        let stdin = std::io::stdin().lock();
        stdin.take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => {
            let doing = format!("failed to read `{}`", path.display());
            Err(Failure::host_io(doing, &error))
        }
    }
}

/// The workload that says what a recording does, named after its file.
fn recorded_workload(path: &Path) -> Result<Workload, Failure> {
    let bytes = read_limited(path, MAX_RECORDING_BYTES)?;
    let recording = Recording::read(&bytes).map_err(|error| {
        let text = format!("`{}` is no recording", path.display());
        let mut failure = Failure::invalid(text, "record the script again");
        failure.causes.extend(mvm_runtime::causes(&error));
        failure
    })?;
    Ok(recording.workload(&super::script::workload_name(path))?)
}

/// Reads Workload IR and checks every rule of it.
fn read_workload(path: &Path) -> Result<Workload, Failure> {
    let bytes = read_limited(path, MAX_WORKLOAD_BYTES)?;
    Workload::read(&bytes).map_err(|error| {
        let flaws = match &error {
            ReadWorkloadError::Flaws { flaws, .. } => flaws.as_slice(),
            _ => &[],
        };
        let hint = flaws.first().and_then(|first| first.flaw.hint());
        let hint = hint.unwrap_or_else(|| "compile the declaration again".to_owned());
        let text = format!("`{}` is no valid workload", path.display());
        let mut failure = Failure::invalid(text, hint);
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            failure.causes.push(error.to_string());
            cause = error.source();
        }
        failure.causes.extend(flaws.iter().map(ToString::to_string));
        failure.with_exit_code(HAS_ERRORS)
    })
}

/// Writes the document into a directory, or an archive with it. What is there is replaced at once
/// or not at all.
fn write(out: &Path, document: Vec<u8>) -> Result<(), Failure> {
    let name = out.file_name().map(|name| name.to_string_lossy());
    let is_archive = name.is_some_and(|name| name.ends_with(".tgz") || name.ends_with(".tar.gz"));
    if is_archive {
        let entry = ArchiveEntry {
            path: WORKLOAD_FILE.to_owned(),
            content: document,
            executable: false,
        };
        let bytes = archive(&[entry]).map_err(|error| {
            Failure::invalid(error.to_string(), "write into a directory instead")
        })?;
        return replace(out, &bytes);
    }
    match fs::metadata(out) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Failure::invalid(
                format!("`{}` is there and is no directory", out.display()),
                "name a directory, or a file that ends in .tgz",
            ));
        }
        _ => fs::create_dir_all(out).map_err(|error| {
            Failure::host_io(format!("failed to make `{}`", out.display()), &error)
        })?,
    }
    replace(&out.join(WORKLOAD_FILE), &document)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let written = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        });
    written
        .map_err(|error| Failure::host_io(format!("failed to write `{}`", path.display()), &error))
}
