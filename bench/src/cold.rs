//! A cold start beside QEMU alone: the same kernel, initramfs, image and disk.

use mvm_runtime::MVM_TEMPLATES;

use crate::{
    bench::{Bench, Outcome, run},
    qemu_alone::QemuAlone,
    samples::Samples,
};

const COLD: &str = "mvmctl run -- true: cold";
const ALONE: &str = "peer: QEMU alone, to the agent's first word";

pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.keep_spare(false).await?;
    let prepared: serde_json::Value =
        serde_json::from_str(&run(bench.command(&["setup", "--json"]))?.stdout)?;
    let digest = prepared["image_digest"]
        .as_str()
        .and_then(|digest| digest.strip_prefix("sha256:"));
    let home = bench.runtime.home();
    let image = home
        .store()
        .join("blobs/sha256")
        .join(digest.ok_or("no image digest")?);
    let alone = QemuAlone::new(home, &image.display().to_string())?;
    let cold_run = |bench: &Bench| {
        let mut command = bench.command_without_spare(&["run", "--", "true"]);
        command.env(MVM_TEMPLATES, "off");
        run(command)
    };

    let (mut cold, mut peer) = <(Samples, Samples)>::default();
    // The first of each fills the page cache.
    alone.boot()?;
    cold_run(bench)?;
    for _ in 0..bench.sizes.cold_starts {
        bench.rest()?;
        peer.time(|| alone.boot());
        bench.rest()?;
        cold.time(|| cold_run(bench));
    }
    let report = &mut bench.report;
    report.add(COLD, cold);
    report.add(ALONE, peer);
    report.compare("cold start over QEMU alone", COLD, ALONE, 1.15);
    Ok(())
}
