//! Images from Nix flakes and from recipes that set-up makes only on demand, in real microVMs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path, process::Command};

use mvm_vm_tests::Bench;

const FLAKE: &str = r#"{
  outputs = { self }: {
    packages.x86_64-linux.default = derivation {
      name = "root";
      system = "x86_64-linux";
      builder = "${self}/busybox";
      args = [ "sh" "-ec" ''
        ${self}/busybox mkdir -p $out/bin $out/etc
        ${self}/busybox cp ${self}/busybox $out/bin/busybox
        for program in sh cat echo id touch; do ${self}/busybox ln -s busybox $out/bin/$program; done
        echo configured > $out/etc/settings
      '' ];
    };
  };
}
"#;

fn write_flake(directory: &Path) {
    fs::write(directory.join("flake.nix"), FLAKE).unwrap();
    fs::copy("/usr/bin/busybox", directory.join("busybox"))
        .expect("apt-get install busybox-static");
}

/// What is in a Nix store cannot be removed as it is.
fn make_removable(bench: &Bench) {
    let writable = Command::new("chmod")
        .args(["-R", "u+w"])
        .arg(bench.path().join("nix"))
        .status();
    assert!(writable.unwrap().success());
}

#[test]
fn a_sandbox_runs_on_the_closure_of_a_package() {
    let bench = Bench::with_own_templates();
    let flake = tempfile::tempdir().unwrap();
    write_flake(flake.path());
    let image = format!("nix:{}#default", flake.path().display());

    let script = "echo ok; id -un; cat /etc/settings; touch /etc/new /tmp/new && echo written";
    let run = bench.run(["run", "--image", &image, "--", "/bin/sh", "-c", script]);
    assert_eq!(run.exits(0).out(), "ok\nroot\nconfigured\nwritten\n");
    // Found by the image's own search path.
    let run = bench.run(["run", "--image", &image, "--", "echo", "found"]);
    assert_eq!(run.exits(0).out(), "found\n");

    // Before anything is built: it is a name that can change its meaning.
    let production = [
        "run",
        "--profile",
        "production",
        "--image",
        &image,
        "--",
        "echo",
    ];
    bench
        .run(production)
        .refused_with(&["names no digest", &image]);
    let unlisted = format!("{image}@sha256:{}", "0".repeat(64));
    bench
        .run(["run", "--image", &unlisted, "--", "echo"])
        .refused_with(&["the image source pins"]);
    let missing = format!("nix:{}#missing", flake.path().display());
    bench
        .run(["run", "--image", &missing, "--", "echo"])
        .refused_with(&["has no attribute `missing`"]);
    make_removable(&bench);
}

#[test]
fn a_workload_is_built_above_a_package() {
    let bench = Bench::with_own_templates();
    let project = tempfile::tempdir().unwrap();
    let flake = project.path().join("flake");
    fs::create_dir(&flake).unwrap();
    write_flake(&flake);
    fs::create_dir(project.path().join("src")).unwrap();
    fs::write(project.path().join("src/greeting"), "from the source\n").unwrap();
    let declaration = "import mvm\nmvm.workload(id=\"above\")\n\
        mvm.app(name=\"job\", image=mvm.image(\"nix:./flake#default\"), source=mvm.local_path(\"src\"), \
        entrypoint=mvm.entrypoint([\"/bin/sh\", \"-c\", \"cat greeting /etc/settings\"]))\n";
    fs::write(project.path().join("app.py"), declaration).unwrap();
    let built = bench
        .run(["--json", "build", project.path().to_str().unwrap()])
        .exits(0)
        .json();
    let image = built[0]["image"]
        .as_str()
        .unwrap_or_else(|| panic!("{built}"));
    let run = bench.run(["run", "--image", image]);
    assert_eq!(run.exits(0).out(), "from the source\nconfigured\n");
    make_removable(&bench);
}

#[test]
fn the_node_image_is_made_on_demand_and_runs() {
    let bench = Bench::with_own_templates();
    bench.run(["setup", "--images", "node"]).exits(0);
    let program = "console.log(6*7, process.version.split('.')[0])";
    let run = bench.run(["run", "--image", "debian:node", "--", "node", "-e", program]);
    assert_eq!(run.exits(0).out(), "42 v18\n");
    bench.run(["setup", "--images", "ruby"]).exits(125);
}
