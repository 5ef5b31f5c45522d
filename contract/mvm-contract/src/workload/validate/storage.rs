//! The rules of volumes, mounts and files.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Report, is_plain_absolute};
use crate::workload::{EmbeddedFile, Mount, MountSource, Volume, Workload, WorkloadFlaw};

pub(super) fn check_volumes(volumes: &[Volume], report: &mut Report) {
    report.distinct(
        "/volumes",
        "volume",
        volumes.iter().map(|volume| volume.name.as_str()),
    );
    for (index, volume) in volumes.iter().enumerate() {
        let at = format!("/volumes/{index}");
        report.name(&format!("{at}/name"), "a volume", &volume.name);
        report.ensure(&format!("{at}/size_mib"), volume.size_mib > 0, || {
            WorkloadFlaw::ZeroSize
        });
    }
}

pub(super) fn check_mounts(workload: &Workload, mounts: &[Mount], at: &str, report: &mut Report) {
    report.distinct(
        at,
        "mount",
        mounts.iter().map(|mount| mount.target.as_str()),
    );
    for (index, mount) in mounts.iter().enumerate() {
        let at = format!("{at}/{index}");
        check_guest_path(&mount.target, &format!("{at}/target"), report);
        match &mount.source {
            MountSource::Volume { name } => {
                let known = workload.volumes.iter().any(|volume| volume.name == *name);
                report.ensure(&format!("{at}/source/name"), known, || {
                    WorkloadFlaw::UnknownVolume { name: name.clone() }
                });
            }
            MountSource::HostPath { path } => {
                report.ensure(
                    &format!("{at}/source/path"),
                    is_plain_absolute(path),
                    || WorkloadFlaw::HostPath { path: path.clone() },
                );
            }
            MountSource::Tmpfs { size_mib } => {
                report.ensure(&format!("{at}/source/size_mib"), *size_mib > 0, || {
                    WorkloadFlaw::ZeroSize
                });
            }
        }
    }
}

pub(super) fn check_files(files: &[EmbeddedFile], at: &str, report: &mut Report) {
    report.distinct(at, "file", files.iter().map(|file| file.path.as_str()));
    for (index, file) in files.iter().enumerate() {
        let at = format!("{at}/{index}");
        let path = || file.path.clone();
        check_guest_path(&file.path, &format!("{at}/path"), report);
        let decoded = STANDARD.decode(&file.content_base64).is_ok();
        report.ensure(&format!("{at}/content_base64"), decoded, || {
            WorkloadFlaw::FileContent { path: path() }
        });
        report.ensure(&format!("{at}/mode"), file.mode <= 0o777, || {
            WorkloadFlaw::FileMode { path: path() }
        });
    }
}

fn check_guest_path(path: &str, at: &str, report: &mut Report) {
    report.ensure(at, is_plain_absolute(path), || WorkloadFlaw::GuestPath {
        path: path.to_owned(),
    });
}
