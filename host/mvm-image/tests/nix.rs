//! `nix:` images with the real `nix`, checked by `fsck.erofs` and against `nix`'s own store.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mvm_contract::workload::Image as LogicalImage;
use mvm_image::compose::{self, Composed, Composition, LayerContent, LayerFile, LayerTree};
use mvm_image::logical::{self, Catalog};
use mvm_image::nix::{FlakeLock, NixError, NixOptions, RunNixError};
use mvm_image::registry::RegistryOptions;
use mvm_image::{
    Image, ImageSource, Limits, MaterializeError, MaterializeOptions, Silent, Store, materialize,
};
use support::{chain, fsck, run};

/// A root of two packages: programs, and a library of text that they lead to.
const FLAKE: &str = r#"{
  outputs = { self }: let
    make = name: script: extra: derivation ({
      inherit name;
      system = "x86_64-linux";
      builder = "${self}/busybox";
      args = [ "sh" "-ec" script ];
      busybox = "${self}/busybox";
    } // extra);
    text = make "text" "$busybox mkdir $out; echo words > $out/words" { };
  in {
    packages.x86_64-linux = {
      default = make "root" ''
        $busybox mkdir -p $out/bin $out/etc $out/share $out/proc
        $busybox cp $busybox $out/bin/busybox
        for program in sh cat echo env; do $busybox ln -s busybox $out/bin/$program; done
        $busybox ln -s $text/words $out/share/words
        echo configured > $out/etc/settings
      '' { inherit text; };
      failing = make "failing" "echo the compiler is unhappy; exit 3" { };
      looping = make "looping" "while :; do $busybox sleep 3171; done" { };
      one-file = make "one-file" "echo x > $out" { };
      no-programs = make "no-programs" "$busybox mkdir -p $out/lib" { };
      reserved = make "reserved" "$busybox mkdir -p $out/bin $out/dev; echo x > $out/dev/null" { };
    };
  };
}
"#;

struct Workbench {
    scratch: tempfile::TempDir,
    store: Store,
}

impl Workbench {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(scratch.path().join("store")).unwrap();
        Self { scratch, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn nix(&self) -> PathBuf {
        self.path("nix")
    }

    /// A flake of its own, in a directory of that name.
    fn flake(&self, name: &str, text: &str) -> PathBuf {
        let directory = self.path(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("flake.nix"), text).unwrap();
        fs::copy("/usr/bin/busybox", directory.join("busybox"))
            .expect("apt-get install busybox-static");
        directory
    }

    fn build(&self, source: &str) -> Result<Image, MaterializeError> {
        self.build_within(source, Duration::from_secs(120), Limits::default())
    }

    fn build_within(
        &self,
        source: &str,
        time_limit: Duration,
        limits: Limits,
    ) -> Result<Image, MaterializeError> {
        let source: ImageSource = source.parse().unwrap();
        self.with_options(time_limit, limits, |options| {
            materialize(&self.store, &source, options)
        })
    }

    fn with_options<T>(
        &self,
        time_limit: Duration,
        limits: Limits,
        work: impl FnOnce(&MaterializeOptions<'_>) -> T,
    ) -> T {
        work(&MaterializeOptions {
            limits,
            debian_layouts: Path::new("/nowhere"),
            nix: NixOptions {
                directory: &self.nix(),
                // There is nothing to fetch: what a test fetches it says.
                offline: false,
                time_limit,
            },
            registry: &RegistryOptions::default(),
            progress: &Silent,
        })
    }

    /// A file put above a package.
    fn compose(&self, source: &str) -> Composed {
        let base: ImageSource = source.parse().unwrap();
        let content = LayerContent::Bytes(b"above\n".to_vec());
        let file = LayerFile {
            content,
            mode: 0o644,
        };
        let files = LayerTree::from([("app/file".to_owned(), file)]);
        let composition = Composition {
            base: &base,
            files: &files,
            working_directory: Some("/app"),
            command: None,
        };
        let layouts = self.path("layouts");
        fs::create_dir_all(&layouts).unwrap();
        let limit = Duration::from_secs(120);
        let composed = self.with_options(limit, Limits::default(), |options| {
            assert_eq!(
                compose::manifest_of(&self.store, &base, options).unwrap(),
                materialize(&self.store, &base, options).unwrap().manifest,
            );
            compose::compose(&self.store, &composition, &layouts, options)
        });
        composed.unwrap()
    }

    fn refused(&self, source: &str) -> NixError {
        match self.build(source) {
            Err(MaterializeError::Nix { source, .. }) => *source,
            other => panic!("{other:?}"),
        }
    }

    /// Where `nix` keeps a store path.
    fn built(&self, path: &str) -> PathBuf {
        self.nix().join("root").join(path.trim_start_matches('/'))
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        // What is in a Nix store cannot be removed as it is.
        let _ = Command::new("chmod")
            .args(["-R", "u+w"])
            .arg(self.scratch.path())
            .status();
    }
}

fn default_of(flake: &Path) -> String {
    format!("nix:{}#default", flake.display())
}

fn extracted(image: &Image, to: &Path) {
    fsck(
        &image.path,
        &[&format!("--extract={}", to.display()), "--force"],
    );
}

/// The digest that Nix itself gives a tree.
fn nar_hash(tree: &Path) -> String {
    let tree = tree.to_str().unwrap();
    let arguments = ["--type", "sha256", tree];
    let output = run("nix-bin", "nix-hash", &arguments);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_package_becomes_the_root_of_an_image_with_its_closure_below() {
    let bench = Workbench::new();
    let flake = bench.flake("flake", FLAKE);
    let image = bench.build(&default_of(&flake)).unwrap();

    let tree = bench.path("tree");
    extracted(&image, &tree);
    let provenance = image.provenance.as_ref().unwrap();
    assert_eq!(provenance.closure.len(), 2);
    assert_eq!(provenance.attribute, "default");
    assert_eq!(provenance.lock, FlakeLock::NoInputs);
    assert!(provenance.derivation.ends_with("-root.drv"));
    assert_eq!(provenance.flake_nar_hash.hex(), nar_hash(&flake));
    for path in &provenance.closure {
        // Modes and all: what is in the image is what is in the store.
        let inside = tree.join(path.path.trim_start_matches('/'));
        assert_eq!(nar_hash(&inside), path.nar_hash.hex(), "{}", path.path);
        assert_eq!(nar_hash(&bench.built(&path.path)), path.nar_hash.hex());
    }
    let names: Vec<_> = fs::read_dir(tree.join("nix/store")).unwrap().collect();
    assert_eq!(names.len(), 2);

    let output = &provenance.output;
    let link = |name: &str| fs::read_link(tree.join(name)).unwrap();
    assert_eq!(link("bin"), Path::new(&format!("{output}/bin")));
    assert_eq!(link("share"), Path::new(&format!("{output}/share")));
    let settings = format!("{output}/etc/settings");
    assert_eq!(link("etc/settings"), Path::new(&settings));
    assert_eq!(link("usr/bin/env"), Path::new("/bin/env"));
    for (name, mode) in [
        ("proc", 0o755),
        ("dev", 0o755),
        ("tmp", 0o1777),
        ("root", 0o700),
        ("etc", 0o755),
    ] {
        let found = fs::metadata(tree.join(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, mode, "{name}");
    }
    let accounts = fs::read_to_string(tree.join("etc/passwd")).unwrap();
    assert!(accounts.starts_with("root:x:0:0:root:/root:/bin/sh\n"));
    assert_eq!(image.config.env, ["PATH=/bin"]);
    assert_eq!(image.config.command, ["/bin/sh"]);
}

#[test]
fn the_same_flake_gives_the_same_bytes_elsewhere() {
    let (one, other) = (Workbench::new(), Workbench::new());
    let first = one.build(&default_of(&one.flake("a", FLAKE))).unwrap();
    let flake = other.flake("another-directory", FLAKE);
    let second = other.build(&default_of(&flake)).unwrap();
    assert_eq!(first.digest, second.digest);
    assert_eq!(first.manifest, second.manifest);

    // A hit needs neither `nix` nor what it built.
    fs::rename(other.nix(), other.path("away")).unwrap();
    let again = other.build(&default_of(&flake)).unwrap();
    assert_eq!(again.digest, second.digest);
    assert_eq!(again.provenance, second.provenance);
    assert!(!other.nix().exists());
    // Without the image, what it was made of is built again.
    fs::remove_file(&second.path).unwrap();
    let anew = other.build(&default_of(&flake)).unwrap();
    assert_eq!(anew.digest, second.digest);

    // Another flake is built, and not taken for the one before.
    fs::write(
        flake.join("flake.nix"),
        FLAKE.replace("configured", "changed"),
    )
    .unwrap();
    let changed = other.build(&default_of(&flake)).unwrap();
    assert_ne!(changed.digest, second.digest);
}

#[test]
fn files_are_put_above_a_package() {
    let (one, other) = (Workbench::new(), Workbench::new());
    let flake = one.flake("a", FLAKE);
    let composed = one.compose(&default_of(&flake));
    let again = other.compose(&default_of(&other.flake("elsewhere", FLAKE)));
    assert_eq!(composed.manifest, again.manifest);

    let package = one.build(&default_of(&flake)).unwrap();
    let image = one.build(&composed.source().to_string()).unwrap();
    assert_eq!(composed.base_manifest, package.manifest);
    assert_eq!(image.config.env, package.config.env);
    assert_eq!(image.config.working_dir.as_deref(), Some("/app"));
    // What is below is the package, to its modes and times; the guest's `/bin` leads there.
    let (below, whole) = (one.path("below"), one.path("whole"));
    extracted(&package, &below);
    extracted(&image, &whole);
    assert_eq!(fs::read(whole.join("app/file")).unwrap(), b"above\n");
    fs::remove_dir_all(whole.join("app")).unwrap();
    let listed = |tree: &Path| {
        let listed = Command::new("find")
            .args([".", "-printf", "%p %m %l %y %s %T@\n"])
            .current_dir(tree)
            .output();
        let text = String::from_utf8(listed.unwrap().stdout).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        // That of the root is of who extracted it.
        lines.retain(|line| !line.starts_with(". "));
        lines.sort();
        lines
    };
    assert_eq!(listed(&whole), listed(&below));
    for path in &package.provenance.unwrap().closure {
        let inside = whole.join(path.path.trim_start_matches('/'));
        assert_eq!(nar_hash(&inside), path.nar_hash.hex(), "{}", path.path);
    }
}

#[test]
fn a_pin_holds_a_flake_to_what_it_was() {
    let bench = Workbench::new();
    let flake = bench.flake("flake", FLAKE);
    let pinned = format!("{}@sha256:{}", default_of(&flake), nar_hash(&flake));
    bench.build(&pinned).unwrap();

    fs::write(flake.join("more"), "").unwrap();
    let refused = bench.refused(&pinned);
    assert!(matches!(refused, NixError::Pin { .. }), "{refused:?}");
    let hint = refused.hint().unwrap();
    assert!(
        hint.contains(&format!("@sha256:{}", nar_hash(&flake))),
        "{hint}"
    );
}

/// A flake with an input, which is in `directory` where that is given.
fn flake_with_input(url: &str) -> String {
    let taken = "outputs = { self, words }:";
    FLAKE
        .replace("outputs = { self }:", taken)
        .replacen('{', &format!("{{ inputs.words.url = \"{url}\";"), 1)
        .replace("echo words >", "echo ${words.text} >")
}

#[test]
fn a_pinned_flake_needs_a_lock_of_all_its_inputs() {
    let bench = Workbench::new();
    let words = bench.flake("words", "{ outputs = { self }: { text = \"hello\"; }; }");
    let text = flake_with_input(&format!("path:{}", words.display()));
    let flake = bench.flake("flake", &text);
    let source = default_of(&flake);
    let pinned = || format!("{source}@sha256:{}", nar_hash(&flake));

    let refused = bench.refused(&pinned());
    match &refused {
        NixError::UnlockedInputs { inputs, .. } => assert_eq!(inputs, &["words"]),
        other => panic!("{other:?}"),
    }
    assert!(refused.hint().unwrap().contains("nix flake lock"));
    let mutable = bench.build(&source).unwrap();
    let unlocked = FlakeLock::Unlocked {
        inputs: vec!["words".into()],
    };
    assert_eq!(mutable.provenance.unwrap().lock, unlocked);
    assert!(!flake.join("flake.lock").exists(), "nothing writes there");

    let arguments = [
        "flake",
        "lock",
        "--extra-experimental-features",
        "nix-command flakes",
        "--store",
        &bench.path("locking").display().to_string(),
        &format!("path:{}", flake.display()),
    ];
    run("nix-bin", "nix", &arguments);
    let locked = bench.build(&pinned()).unwrap();
    // The lock is a file of the flake, and its sources are not.
    assert!(matches!(
        locked.provenance.unwrap().lock,
        FlakeLock::Locked { .. }
    ));

    // The lock holds: the input is no longer what it was.
    let other = Workbench::new();
    fs::write(
        words.join("flake.nix"),
        "{ outputs = { self }: { text = \"bye\"; }; }",
    )
    .unwrap();
    let refused = other.refused(&pinned());
    assert!(chain(&refused).contains("NAR hash mismatch"), "{refused:?}");

    // Without a lock it is looked at anew each time.
    fs::remove_file(flake.join("flake.lock")).unwrap();
    assert_ne!(bench.build(&source).unwrap().digest, mutable.digest);
}

#[test]
fn a_flake_that_is_fetched_is_locked_first() {
    let bench = Workbench::new();
    let flake = bench.flake("flake", FLAKE);
    let archive = bench.path("flake.tar.gz");
    let arguments = [
        "-czf",
        archive.to_str().unwrap(),
        "-C",
        bench.scratch.path().to_str().unwrap(),
        "flake",
    ];
    run("tar", "tar", &arguments);
    let source = format!("nix:file://{}#default", archive.display());
    let fetched = bench.build(&source).unwrap();
    let from_directory = bench.build(&default_of(&flake)).unwrap();
    assert_eq!(fetched.digest, from_directory.digest);
    let provenance = fetched.provenance.unwrap();
    assert!(
        provenance.flake.contains("narHash=sha256-"),
        "{provenance:?}"
    );
    assert_eq!(provenance.flake_nar_hash.hex(), nar_hash(&flake));
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    let bench = Workbench::new();
    let flake = bench.flake("flake", FLAKE);
    let attribute = |name: &str| format!("nix:{}#{name}", flake.display());

    let failing = bench.refused(&attribute("failing"));
    let text = chain(&failing);
    assert!(text.contains("the compiler is unhappy"), "{text}");
    assert!(text.contains("exit code 3"), "{text}");
    let hint = failing.hint().unwrap();
    let log = hint.split('`').nth(1).unwrap();
    assert!(fs::read_to_string(log).unwrap().contains("is unhappy"));

    let missing = bench.refused(&attribute("nonsense"));
    assert!(
        matches!(missing, NixError::NoSuchAttribute { .. }),
        "{missing:?}"
    );
    assert!(chain(&missing).contains("nonsense"));
    let one = bench.refused(&attribute("one-file"));
    assert!(matches!(one, NixError::NotATree { .. }), "{one:?}");
    let none = bench.refused(&attribute("no-programs"));
    assert!(matches!(none, NixError::NoPrograms { .. }), "{none:?}");
    let reserved = bench.refused(&attribute("reserved"));
    assert!(
        matches!(&reserved, NixError::Reserved { name, .. } if name == "dev"),
        "{reserved:?}"
    );

    let broken = bench.flake("broken", "{ outputs = ");
    let refused = bench.refused(&default_of(&broken));
    assert!(chain(&refused).contains("syntax error"), "{refused:?}");
    let refused = bench.refused(&default_of(&bench.path("absent")));
    assert!(matches!(refused, NixError::NoFlake { .. }), "{refused:?}");
    let odd = bench.flake("a b", FLAKE);
    let refused = bench.refused(&default_of(&odd));
    assert!(matches!(refused, NixError::FlakePath { .. }), "{refused:?}");
    let piped = bench.flake("piped", FLAKE);
    run(
        "coreutils",
        "mkfifo",
        &[piped.join("pipe").to_str().unwrap()],
    );
    let refused = bench.refused(&default_of(&piped));
    assert!(chain(&refused).contains("pipe"), "{refused:?}");

    // Nothing of a refused image stays.
    let blobs = fs::read_dir(bench.path("store/blobs/sha256")).unwrap();
    assert_eq!(blobs.count(), 0);
    assert_eq!(
        fs::read_dir(bench.path("store/staging")).unwrap().count(),
        0
    );
}

#[test]
fn a_build_without_end_is_ended_with_everything_it_started() {
    let bench = Workbench::new();
    let flake = bench.flake("flake", FLAKE);
    let started = Instant::now();
    let source = format!("nix:{}#looping", flake.display());
    let limit = Duration::from_secs(5);
    let refused = bench.build_within(&source, limit, Limits::default());
    assert!(started.elapsed() < Duration::from_secs(20));
    let Err(MaterializeError::Nix { source, .. }) = refused else {
        panic!("{refused:?}");
    };
    let NixError::Build {
        source: RunNixError::TimedOut { .. },
        ..
    } = &*source
    else {
        panic!("{source:?}");
    };
    let processes = String::from_utf8(run("procps", "ps", &["-eo", "args"]).stdout).unwrap();
    let left: Vec<_> = processes
        .lines()
        .filter(|line| line.contains("sleep 3171") || line.contains("#looping"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A small collection in the form of the real one, which cannot be fetched everywhere.
const COLLECTION: &str = r#"{
  outputs = { self }: let
    make = name: script: derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "${self}/busybox";
      args = [ "sh" "-ec" script ];
      busybox = "${self}/busybox";
    };
  in {
    legacyPackages.x86_64-linux = {
      shell = make "shell" "$busybox mkdir -p $out/bin; $busybox cp $busybox $out/bin/sh";
      more.greeter = make "greeter" ''
        $busybox mkdir -p $out/bin
        echo '#!/bin/sh' > $out/bin/greet
        $busybox chmod +x $out/bin/greet
      '';
      buildEnv = { name, paths }: make name ''
        $busybox mkdir -p $out/bin
        for path in ${toString paths}; do $busybox ln -s $path/bin/* $out/bin/; done
      '';
    };
  };
}
"#;

#[test]
fn packages_of_a_collection_become_an_image_by_the_catalog() {
    let bench = Workbench::new();
    let collection = bench.flake("collection", COLLECTION);
    let home = bench.path("home");
    fs::create_dir(&home).unwrap();
    let resolved = |nixpkgs: &str| {
        let text = format!("version = 1\n[nix_packages]\nnixpkgs = \"{nixpkgs}\"\n");
        fs::write(home.join("catalog.toml"), text).unwrap();
        let packages = vec!["shell".into(), "more.greeter".into()];
        let catalog = Catalog::load(&home, None).unwrap();
        let source = logical::resolve(&catalog, &LogicalImage::NixPackages { packages });
        source.unwrap().to_string()
    };
    let source = resolved(&format!("path:{}", collection.display()));
    let image = bench.build(&source).unwrap();
    let tree = bench.path("tree");
    extracted(&image, &tree);
    let output = image.provenance.unwrap().output;
    let programs = fs::read_dir(tree.join(output.trim_start_matches('/')).join("bin"));
    let mut programs: Vec<_> = programs
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    programs.sort();
    assert_eq!(programs, ["greet", "sh"]);

    let refused = bench.refused(&resolved("https://flakes.invalid/nixpkgs.tar.gz"));
    match &refused {
        NixError::Fetch {
            input, complaint, ..
        } => {
            assert_eq!(input.as_deref(), Some("nixpkgs"));
            assert!(complaint.contains("flakes.invalid"), "{complaint}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_fetched_is_said_by_name_and_at_once() {
    let bench = Workbench::new();
    // No host has this name (RFC 6761).
    let text = flake_with_input("https://flakes.invalid/words.tar.gz");
    let flake = bench.flake("flake", &text);
    let started = Instant::now();
    let refused = bench.refused(&default_of(&flake));
    assert!(started.elapsed() < Duration::from_secs(30));
    match &refused {
        NixError::Fetch {
            input, complaint, ..
        } => {
            assert_eq!(input.as_deref(), Some("words"));
            assert!(complaint.contains("flakes.invalid"), "{complaint}");
        }
        other => panic!("{other:?}"),
    }
    assert!(refused.hint().unwrap().contains("path:/DIRECTORY"));

    let pinned = format!("{}@sha256:{}", default_of(&flake), nar_hash(&flake));
    let refused = bench.refused(&pinned);
    assert!(
        matches!(refused, NixError::UnlockedInputs { .. }),
        "{refused:?}"
    );
    let refused = bench.refused("nix:https://flakes.invalid/flake.tar.gz#default");
    assert!(matches!(refused, NixError::Fetch { .. }), "{refused:?}");
    assert!(chain(&refused).contains("flakes.invalid"), "{refused:?}");
}

#[test]
fn what_was_changed_after_it_was_built_is_found() {
    let bench = Workbench::new();
    let flake = bench.flake("flake", FLAKE);
    let image = bench.build(&default_of(&flake)).unwrap();
    let output = image.provenance.unwrap().output;
    // Only the image is gone; `nix` still has what it built, and does not look at it again.
    fs::remove_file(&image.path).unwrap();
    let program = bench.built(&output).join("bin/busybox");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bytes = fs::read(&program).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&program, &bytes).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o555)).unwrap();

    let refused = bench.refused(&default_of(&flake));
    match &refused {
        NixError::Tampered { path, .. } => assert_eq!(*path, output),
        other => panic!("{other:?}"),
    }
    bytes[100_000] ^= 1;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&program, &bytes).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(
        bench.build(&default_of(&flake)).unwrap().digest,
        image.digest
    );

    // A link is part of the hash as well.
    fs::remove_file(&image.path).unwrap();
    let bin = bench.built(&output).join("bin");
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(bin.join("cat")).unwrap();
    symlink("/etc/passwd", bin.join("cat")).unwrap();
    let refused = bench.refused(&default_of(&flake));
    assert!(matches!(refused, NixError::Tampered { .. }), "{refused:?}");
}
