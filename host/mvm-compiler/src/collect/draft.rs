//! Apps while they are put together, and what becomes of them.

use mvm_contract::workload::{App, Entrypoint, SOURCE_DIRECTORY, WORKLOAD_VERSION, Workload};

use super::{Collection, name};
use crate::{
    Diagnostic,
    syntax::{FileId, Span},
    value::{Placed, Places},
};

/// An app without its entrypoints.
pub(super) struct Draft {
    pub(super) app: Placed<App>,
    /// The name of the app, where it is declared or made of.
    pub(super) span: Span,
    pub(super) entrypoints: Vec<DraftEntrypoint>,
    /// Whether other functions may be added to it.
    pub(super) is_open: bool,
}

/// An entrypoint and what was said of it.
pub(super) struct DraftEntrypoint {
    pub(super) entrypoint: Placed<Entrypoint>,
    pub(super) primary: Option<bool>,
    pub(super) span: Span,
}

/// A workload that was not validated yet.
pub(crate) struct Finished {
    pub(crate) workload: Workload,
    pub(crate) places: Places,
    pub(crate) report: Vec<Diagnostic>,
}

impl Collection {
    /// The whole workload. `file` is the name of the first file.
    pub(crate) fn finish(mut self, file: &str) -> Finished {
        let beginning = Span::start_of(FileId(0));
        let mut places = Places::NONE.with("", beginning);
        let id = match self.workload.take() {
            Some((id, span)) => {
                places.set("/id", span);
                id
            }
            None => self.id_of(file, beginning),
        };
        self.report_volumes();
        let mut workload = Workload {
            version: WORKLOAD_VERSION,
            id,
            apps: Vec::new(),
            volumes: Vec::new(),
        };
        for (index, volume) in self.volumes.into_iter().enumerate() {
            places.graft(&format!("/volumes/{index}"), volume.places);
            workload.volumes.push(volume.part);
        }
        for (index, draft) in self.drafts.into_iter().enumerate() {
            let app = draft.finish(&mut self.report);
            places.graft(&format!("/apps/{index}"), app.places);
            workload.apps.push(app.part);
        }
        Finished {
            workload,
            places,
            report: self.report,
        }
    }

    fn id_of(&mut self, file: &str, at: Span) -> String {
        let stem = name::stem(file);
        if let Some(id) = name::name_from(stem) {
            // Where there is no app, that is what is said.
            if !self.drafts.is_empty() {
                self.report.push(
                    Diagnostic::note(
                        "N_WORKLOAD_ID",
                        at,
                        format!("the workload is named `{id}` after its file"),
                    )
                    .hint("name it with `workload(id=…)`"),
                );
            }
            return id;
        }
        self.report.push(
            Diagnostic::error(
                "E_NO_WORKLOAD_ID",
                at,
                format!("`{stem}` makes no name for the workload"),
            )
            .hint("name it with `workload(id=…)`"),
        );
        "workload".to_owned()
    }

    /// Two volumes of one name are said here, with both places; the validator knows one.
    fn report_volumes(&mut self) {
        let mut kept: Vec<Placed<mvm_contract::workload::Volume>> = Vec::new();
        for volume in std::mem::take(&mut self.volumes) {
            let first = kept.iter().find(|it| it.part.name == volume.part.name);
            let Some(first) = first else {
                kept.push(volume);
                continue;
            };
            if first.part == volume.part {
                continue;
            }
            let name = &volume.part.name;
            let at = volume.places.find("").unwrap_or(Span::start_of(FileId(0)));
            let mut report = Diagnostic::error(
                "E_VOLUME_CONFLICT",
                at,
                format!("volume `{name}` is declared in two ways"),
            )
            .hint("declare it once, and name it elsewhere");
            if let Some(first) = first.places.find("") {
                report = report.label(first, "here first");
            }
            self.report.push(report);
        }
        self.volumes = kept;
    }
}

impl Draft {
    fn finish(self, report: &mut Vec<Diagnostic>) -> Placed<App> {
        let Placed {
            part: mut app,
            mut places,
        } = self.app;
        let mut entrypoints = self.entrypoints;
        // One is primary by itself; of several of which none says so, the first is.
        let none_says = entrypoints.iter().all(|it| it.primary != Some(true));
        if none_says && let Some(first) = entrypoints.iter_mut().find(|it| it.primary.is_none()) {
            first.primary = Some(true);
            let (name, span) = (first.entrypoint.part.name().to_owned(), first.span);
            if entrypoints.len() > 1 {
                report.push(
                    Diagnostic::note(
                        "N_PRIMARY",
                        span,
                        format!(
                            "`{name}`, the first entrypoint of `{}`, is primary",
                            app.name
                        ),
                    )
                    .hint("mark one with `primary`"),
                );
            }
        }
        // Where several are, the second is where the flaw is.
        let mut primaries = entrypoints.iter().filter(|it| it.primary == Some(true));
        if let Some(second) = primaries.nth(1) {
            places.set("/entrypoints", second.span);
        }
        let has_source = app.source.is_some();
        for (index, draft) in entrypoints.into_iter().enumerate() {
            let at = format!("/entrypoints/{index}");
            places.graft(&at, draft.entrypoint.places);
            let mut entrypoint = draft.entrypoint.part;
            let is_primary = draft.primary == Some(true);
            let (primary, directory) = match &mut entrypoint {
                Entrypoint::Command(it) => (&mut it.primary, &mut it.working_directory),
                Entrypoint::Function(it) => (&mut it.primary, &mut it.working_directory),
            };
            *primary = is_primary;
            // What is so anyway is not written.
            if has_source && directory.as_deref() == Some(SOURCE_DIRECTORY) {
                *directory = None;
            }
            app.entrypoints.push(entrypoint);
        }
        Placed::new(app, places)
    }
}
