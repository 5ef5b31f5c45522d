//! Time to interactive: from nothing to the end of the first command.

use std::{
    error::Error,
    path::Path,
    process::{Command, Stdio},
};

use mvm_runtime::Home;

use crate::{
    qemu_alone::QemuAlone,
    samples::{Report, Samples},
};

const COLD: &str = "cold: mvmctl run -- true";
const ALONE: &str = "peer: QEMU alone, to the agent's first word";
const HELP: &str = "mvmctl --help";

pub(crate) fn measure(
    mvmctl: &Path,
    starts: usize,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let home = Home::open(Home::locate()?)?;
    let prepared = Command::new(mvmctl).args(["setup", "--json"]).output()?;
    if !prepared.status.success() {
        return Err(String::from_utf8_lossy(&prepared.stderr).into());
    }
    let prepared: serde_json::Value = serde_json::from_slice(&prepared.stdout)?;
    let digest = prepared["image_digest"]
        .as_str()
        .and_then(|digest| digest.strip_prefix("sha256:"));
    let image = home
        .store()
        .join("blobs/sha256")
        .join(digest.ok_or("no image digest")?);
    let alone = QemuAlone::new(&home, &image.display().to_string())?;

    let (mut cold, mut peer, mut help) = <(Samples, Samples, Samples)>::default();
    alone.boot()?;
    run(mvmctl, &["run", "--", "true"])?;
    for _ in 0..starts {
        peer.time(|| alone.boot());
        cold.time(|| run(mvmctl, &["run", "--", "true"]));
        help.time(|| run(mvmctl, &["--help"]));
    }
    report.add(COLD, cold);
    report.add(ALONE, peer);
    report.add(HELP, help);
    report.compare("cold start over QEMU alone", COLD, ALONE, 1.15);
    Ok(())
}

pub(crate) fn run(program: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}`: {status}", arguments.join(" ")).into())
    }
}
