//! From source files to a workload.

use std::collections::BTreeMap;

use mvm_contract::workload::{Dependencies, ReadWorkloadError, Workload, WorkloadFlaw};

use crate::{
    Diagnostic, Severity,
    collect::{Collection, Finished},
    front,
    limits::{MAX_DIAGNOSTICS, MAX_SOURCE_BYTES, STACK_BYTES},
    lockfile::check_lockfile,
    syntax::{FileId, Span},
    value::Places,
};

/// A file as its caller read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, as messages name it. Its ending says its language, such as `.py`, `.ts`, `.js` or `.rs`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What came of a compilation.
#[derive(Debug, Clone)]
pub struct Compilation {
    /// The workload, valid, if there is no error.
    pub workload: Option<Workload>,
    /// What there is to say, in the order of files and places.
    pub diagnostics: Vec<Diagnostic>,
    /// Lockfiles that the workload names. The caller reads them, and hands each to
    /// [`Compilation::see_lockfile`].
    pub lockfiles: Vec<DeclaredLockfile>,
}

/// A lockfile that an app names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredLockfile {
    /// Its path, relative to the directory of the declaration.
    pub path: String,
    /// What it is for.
    pub dependencies: Dependencies,
    /// Where it is named.
    pub span: Span,
}

impl Compilation {
    /// Takes in what a lockfile holds, or that it is not there: then, or where an entry has no hash,
    /// there is no workload. The lockfile is added to `files`, whose places findings name.
    pub fn see_lockfile(
        &mut self,
        files: &mut Vec<SourceFile>,
        lockfile: &DeclaredLockfile,
        content: Option<SourceFile>,
    ) {
        let mut found = match content {
            None => vec![
                Diagnostic::error(
                    "E_LOCKFILE_NOT_FOUND",
                    lockfile.span,
                    format!(
                        "there is no file `{}` beside the declaration",
                        lockfile.path
                    ),
                )
                .hint("write it with the tool, or correct its path"),
            ],
            Some(content) => {
                let id = FileId(u32::try_from(files.len()).unwrap_or(u32::MAX));
                let (path, dependencies) = (&lockfile.path, &lockfile.dependencies);
                let found = check_lockfile(id, path, &content.text, dependencies);
                files.push(content);
                found
            }
        };
        if !found.is_empty() {
            self.workload = None;
        }
        self.diagnostics.append(&mut found);
    }
}

/// Compiles files of one directory to one workload. Nothing of them is run.
///
/// Time and memory are bounded by their size, whatever they hold. It works on a thread of its own,
/// whose stack has room for what the front ends let pass.
#[must_use]
pub fn compile(files: &[SourceFile]) -> Compilation {
    let compiled = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(STACK_BYTES);
        let worker = thread.spawn_scoped(scope, || compile_here(files));
        worker.ok().and_then(|worker| worker.join().ok())
    });
    compiled.unwrap_or_else(|| Compilation {
        workload: None,
        diagnostics: vec![Diagnostic::error(
            "E_INTERNAL",
            Span::start_of(FileId(0)),
            "the compiler itself failed on this file",
        )],
        lockfiles: Vec::new(),
    })
}

fn compile_here(files: &[SourceFile]) -> Compilation {
    let mut diagnostics = Vec::new();
    let mut collection = Collection::default();
    let mut readable = true;
    for (index, file) in files.iter().enumerate() {
        let id = FileId(u32::try_from(index).unwrap_or(u32::MAX));
        let start = Span::start_of(id);
        let Some(language) = front::language_of(&file.path) else {
            diagnostics.push(
                Diagnostic::error(
                    "E_UNSUPPORTED_LANGUAGE",
                    start,
                    format!("the name of `{}` does not say its language", file.path),
                )
                .hint("use a file that ends in `.py`, `.ts`, `.js` or `.rs`"),
            );
            readable = false;
            continue;
        };
        if file.text.len() > MAX_SOURCE_BYTES {
            diagnostics.push(
                Diagnostic::error(
                    "E_TOO_LARGE",
                    start,
                    format!("the file has more than {MAX_SOURCE_BYTES} bytes"),
                )
                .hint("keep declarations in a file of their own"),
            );
            readable = false;
            continue;
        }
        if directory_of(&file.path) != files.first().map_or("", |it| directory_of(&it.path)) {
            diagnostics.push(
                Diagnostic::error(
                    "E_FILES_APART",
                    start,
                    "files of one workload are in one directory",
                )
                .hint("compile them one by one, or move them together"),
            );
            continue;
        }
        let mut module = front::lower(language, &file.path, id, &file.text);
        readable &= module
            .diagnostics
            .iter()
            .all(|it| it.severity != Severity::Error);
        diagnostics.append(&mut module.diagnostics);
        collection.add(name_of(&file.path), &module);
    }
    let first = files.first().map_or("", |file| name_of(&file.path));
    let mut finished = collection.finish(first);
    diagnostics.append(&mut finished.report);
    let failed =
        |diagnostics: &[Diagnostic]| diagnostics.iter().any(|it| it.severity == Severity::Error);
    // A workload that lacks what could not be read breaks rules that its author has kept.
    let nothing = finished.workload.apps.is_empty();
    if !failed(&diagnostics) || (readable && !nothing) {
        validate(&finished, &mut diagnostics);
    }
    if failed(&diagnostics) {
        // What is assumed matters to who has a workload.
        diagnostics.retain(|it| it.severity != Severity::Note);
    }
    let workload = (!failed(&diagnostics)).then_some(finished.workload);
    Compilation {
        lockfiles: workload
            .as_ref()
            .map(|workload| lockfiles(workload, &finished.places))
            .unwrap_or_default(),
        workload,
        diagnostics: in_order(diagnostics),
    }
}

fn lockfiles(workload: &Workload, places: &Places) -> Vec<DeclaredLockfile> {
    let apps = workload.apps.iter().enumerate();
    apps.filter_map(|(index, app)| {
        let (Dependencies::Python { lockfile, .. } | Dependencies::Node { lockfile, .. }) =
            &app.dependencies
        else {
            return None;
        };
        let place = places.find(&format!("/apps/{index}/dependencies/lockfile"));
        Some(DeclaredLockfile {
            path: lockfile.clone(),
            dependencies: app.dependencies.clone(),
            span: place.unwrap_or(Span::start_of(FileId(0))),
        })
    })
    .collect()
}

/// Every broken rule at the place of what breaks it.
fn validate(finished: &Finished, diagnostics: &mut Vec<Diagnostic>) {
    let flaws = finished.workload.validate();
    let failed = diagnostics.iter().any(|it| it.severity == Severity::Error);
    for located in &flaws {
        if failed && speaks_of_absence(&located.flaw) {
            continue;
        }
        let place = finished.places.find(&located.at);
        let place = place.unwrap_or(Span::start_of(FileId(0)));
        let report = Diagnostic::error(located.flaw.code(), place, located.flaw.to_string());
        diagnostics.push(match located.flaw.hint() {
            Some(hint) => report.hint(hint),
            None => report,
        });
    }
    if !flaws.is_empty() {
        return;
    }
    // What is written can be read: documents have bounds of their own, of depth and of numbers.
    let start = Span::start_of(FileId(0));
    let cause = match finished.workload.write() {
        Err(error) => error.to_string(),
        Ok(bytes) => match Workload::read(&bytes) {
            Ok(_) => return,
            Err(ReadWorkloadError::Document(error)) => error.to_string(),
            Err(error) => error.to_string(),
        },
    };
    diagnostics.push(
        Diagnostic::error(
            "E_DOCUMENT",
            start,
            format!("the workload cannot be written as a document: {cause}"),
        )
        .hint("use smaller schemas, and integers within 53 bits"),
    );
}

/// Whether a rule is broken by what is not there: it may be, where it could not be read.
const fn speaks_of_absence(flaw: &WorkloadFlaw) -> bool {
    matches!(
        flaw,
        WorkloadFlaw::NoApps
            | WorkloadFlaw::NoEntrypoints
            | WorkloadFlaw::NoPrimary
            | WorkloadFlaw::UnknownVolume { .. }
            | WorkloadFlaw::UnknownApp { .. }
            | WorkloadFlaw::NetworkGrants
            | WorkloadFlaw::FunctionWithoutSource
            | WorkloadFlaw::SecretWithoutHosts { .. }
    )
}

/// In the order of places, each once, and not more than can be read.
fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by(|left, right| {
        (left.span, right.severity, left.code, &left.message).cmp(&(
            right.span,
            left.severity,
            right.code,
            &right.message,
        ))
    });
    diagnostics.dedup();
    let mut counts: BTreeMap<FileId, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for diagnostic in diagnostics {
        let count = counts.entry(diagnostic.span.file).or_default();
        *count += 1;
        if *count <= MAX_DIAGNOSTICS {
            kept.push(diagnostic);
        } else if *count == MAX_DIAGNOSTICS + 1 {
            kept.push(Diagnostic::note(
                "N_MORE",
                diagnostic.span,
                format!("more than {MAX_DIAGNOSTICS} findings; the others are left out"),
            ));
        }
    }
    kept
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}
