//! Images from a real registry: Debian's `docker-registry`, over TLS, with a password, filled by
//! `skopeo`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use mvm_image::registry::{ConnectError, CredentialError, PullError, PullPolicy, RegistryOptions};
use mvm_image::{
    Digest, Image, ImageSource, Limits, MaterializeError, MaterializeOptions, Progress, materialize,
};
use serde_json::json;
use support::registry_daemon::{RegistryDaemon, write_login};
use support::{Bench, LAYER, Layout, Member, chain, gzip, tar};

/// Keeps what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn stage(&self, stage: &str, total: Option<u64>) {
        self.0.lock().unwrap().push(format!("{stage} {total:?}"));
    }
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.into());
    }
}

impl Heard {
    fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

fn pull_heard(
    bench: &Bench,
    text: &str,
    registry: &RegistryOptions,
    progress: &Heard,
) -> Result<Image, MaterializeError> {
    let source: ImageSource = text.parse().unwrap();
    let options = MaterializeOptions {
        limits: Limits::default(),
        debian_layouts: &bench.path("debian"),
        nix: support::no_nix(),
        registry,
        progress,
    };
    materialize(&bench.store, &source, &options)
}

fn pull(bench: &Bench, text: &str, registry: &RegistryOptions) -> Result<Image, MaterializeError> {
    pull_heard(bench, text, registry, &Heard::default())
}

fn pull_error(bench: &Bench, text: &str, registry: &RegistryOptions) -> PullError {
    match pull(bench, text, registry) {
        Err(MaterializeError::Pull { source, .. }) => *source,
        Err(other) => panic!("{}", chain(&other)),
        Ok(_) => panic!("{text} was pulled"),
    }
}

/// Three layers, so that they are pulled at the same time, one of them twice.
fn layout(text: &str) -> Layout {
    let lower = tar(&[
        Member::directory("bin"),
        Member::file("bin/sh", &[9; 300_000]),
        Member::file("gone", b"x"),
    ]);
    let upper = tar(&[
        Member::file(".wh.gone", b""),
        Member::file("text", text.as_bytes()),
    ]);
    let layer = |media_type: String, stored: Vec<u8>, unpacked: &[u8]| {
        (media_type, stored, Digest::of(unpacked))
    };
    let layers = [
        layer(format!("{LAYER}+gzip"), gzip(&lower), &lower),
        layer(LAYER.to_owned(), upper.clone(), &upper),
        layer(format!("{LAYER}+gzip"), gzip(&lower), &lower),
        layer(LAYER.to_owned(), upper.clone(), &upper),
    ];
    let mut layout = Layout::empty();
    let manifest = layout.add_image(&layers, json!({}));
    layout.manifests.push(manifest);
    layout
}

fn write(bench: &Bench, name: &str, layout: &Layout) -> (String, Image) {
    let source = layout.write(&bench.path(name));
    let image = Bench::new().build(&source).unwrap();
    (bench.path(name).display().to_string(), image)
}

#[test]
fn a_tag_and_a_digest_give_the_image_of_the_layout() {
    let Some(daemon) = RegistryDaemon::start() else {
        return;
    };
    let (bench, options) = (Bench::new(), daemon.options());
    let (from, original) = write(&bench, "layout", &layout("one"));
    daemon.push(&from, "team/app:1", &[]);

    let heard = Heard::default();
    let by_tag = pull_heard(&bench, &daemon.reference("team/app:1"), &options, &heard).unwrap();
    assert_eq!(by_tag.digest, original.digest);
    assert_eq!(by_tag.config, original.config);
    assert_eq!(by_tag.manifest, original.manifest);
    let said = heard.all();
    assert!(said.contains("pulling layers Some("), "{said}");
    let meaning = format!("{} is `{}`", "/team/app:1`", original.manifest);
    assert!(said.contains(&meaning), "{said}");

    // By digest, into another store; and then with nobody to ask.
    let pinned = daemon.reference(&format!("team/app@{}", original.manifest));
    let other = Bench::new();
    assert_eq!(
        pull(&other, &pinned, &options).unwrap().digest,
        original.digest
    );
    let tag = daemon.reference("team/app:1");
    drop(daemon);
    let offline = RegistryOptions::default();
    assert_eq!(
        pull(&other, &pinned, &offline).unwrap().digest,
        original.digest
    );
    assert_eq!(
        pull(&bench, &tag, &offline).unwrap().digest,
        original.digest
    );
    assert_eq!(
        pull(&bench, &pinned, &offline).unwrap().digest,
        original.digest
    );
    // A tag that this store never saw.
    let never = RegistryOptions {
        pull: PullPolicy::Never,
        ..offline
    };
    assert!(matches!(
        pull_error(&other, &tag, &never),
        PullError::NotPulled { .. }
    ));
    assert_eq!(
        pull(&other, &pinned, &never).unwrap().digest,
        original.digest
    );
}

#[test]
fn a_tag_that_moved_is_followed_when_that_is_asked_for() {
    let Some(daemon) = RegistryDaemon::start() else {
        return;
    };
    let (bench, missing) = (Bench::new(), daemon.options());
    let always = RegistryOptions {
        pull: PullPolicy::Always,
        ..missing.clone()
    };
    let tag = daemon.reference("app:latest");
    let (from, first) = write(&bench, "first", &layout("one"));
    daemon.push(&from, "app:latest", &[]);
    assert_eq!(pull(&bench, &tag, &missing).unwrap().digest, first.digest);
    let (from, second) = write(&bench, "second", &layout("two"));
    daemon.push(&from, "app:latest", &[]);
    let heard = Heard::default();
    assert_eq!(
        pull_heard(&bench, &tag, &missing, &heard).unwrap().digest,
        first.digest
    );
    assert!(heard.all().contains("pulled before"), "{}", heard.all());
    assert_eq!(pull(&bench, &tag, &always).unwrap().digest, second.digest);
    assert_eq!(pull(&bench, &tag, &missing).unwrap().digest, second.digest);
    // The tag that goes without saying.
    assert_eq!(
        pull(&bench, &daemon.reference("app"), &missing)
            .unwrap()
            .digest,
        second.digest
    );
}

#[test]
fn an_index_gives_the_image_of_this_platform() {
    let Some(daemon) = RegistryDaemon::start() else {
        return;
    };
    let (bench, options) = (Bench::new(), daemon.options());
    let mut both = layout("ours");
    let ours = both.manifests[0].clone();
    let upper = tar(&[Member::file("text", b"theirs")]);
    let layers = [(LAYER.to_owned(), upper.clone(), Digest::of(&upper))];
    let theirs = both.add_image(&layers, json!({"architecture": "arm64"}));
    let with = |mut descriptor: serde_json::Value, architecture: &str| {
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    };
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({
        "schemaVersion": 2, "mediaType": index_type,
        "manifests": [with(theirs.clone(), "arm64"), with(ours, "amd64")],
    });
    let index = both.add_json(index_type, &index);
    both.manifests = vec![index.clone()];
    let (from, original) = write(&bench, "both", &both);
    daemon.push(&from, "app:multi", &["--all"]);
    let image = pull(&bench, &daemon.reference("app:multi"), &options).unwrap();
    assert_eq!(
        (image.digest, image.manifest),
        (original.digest, original.manifest)
    );
    // The digest of an index pins as well.
    let pinned = daemon.reference(&format!("app@{}", index["digest"].as_str().unwrap()));
    assert_eq!(
        pull(&Bench::new(), &pinned, &options).unwrap().digest,
        original.digest
    );

    let theirs = daemon.reference(&format!("app@{}", theirs["digest"].as_str().unwrap()));
    let error = pull_error(&bench, &theirs, &options);
    assert!(chain(&error).contains("linux/arm64"), "{}", chain(&error));
}

#[test]
fn who_is_not_trusted_or_not_known_gets_nothing() {
    let Some(daemon) = RegistryDaemon::start() else {
        return;
    };
    let (bench, options) = (Bench::new(), daemon.options());
    let (from, original) = write(&bench, "layout", &layout("one"));
    daemon.push(&from, "app:1", &[]);
    let tag = daemon.reference("app:1");

    let no_credentials = RegistryOptions {
        docker_config: None,
        ..options.clone()
    };
    let error = pull_error(&bench, &tag, &no_credentials);
    assert!(
        matches!(error, PullError::NoCredentials { .. }),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("login"));

    let wrong = bench.path("wrong");
    write_login(&wrong, &daemon.host(), "puller", "hunter2");
    let error = pull_error(
        &bench,
        &tag,
        &RegistryOptions {
            docker_config: Some(wrong),
            ..options.clone()
        },
    );
    assert!(matches!(error, PullError::Unauthorized { .. }), "{error:?}");
    assert!(!format!("{error:?} {}", chain(&error)).contains("hunter2"));

    let untrusting = RegistryOptions {
        certificates: Vec::new(),
        ..options.clone()
    };
    let error = pull_error(&bench, &tag, &untrusting);
    let unknown_authority = matches!(
        &error,
        PullError::Connect {
            source: ConnectError::Tls(_),
            ..
        }
    );
    assert!(
        unknown_authority && chain(&error).contains("UnknownIssuer"),
        "{}",
        chain(&error)
    );
    assert!(error.hint().unwrap().contains("certs.d"));

    let error = pull_error(&bench, &daemon.reference("app:none"), &options);
    assert!(matches!(error, PullError::NotFound { .. }), "{error:?}");
    let missing = daemon.reference(&format!("app@{}", Digest::of(b"none")));
    assert!(matches!(
        pull_error(&bench, &missing, &options),
        PullError::NotFound { .. }
    ));

    assert_eq!(files(&bench), Vec::<std::path::PathBuf>::new());
    assert_eq!(
        pull(&bench, &tag, &options).unwrap().digest,
        original.digest
    );
}

/// What is in the store and in the cache of pulled blobs.
fn files(bench: &Bench) -> Vec<std::path::PathBuf> {
    bench.stored_files()
}

#[test]
fn a_helper_program_gives_the_password() {
    let Some(daemon) = RegistryDaemon::start() else {
        return;
    };
    let (bench, options) = (Bench::new(), daemon.options());
    let (from, original) = write(&bench, "layout", &layout("one"));
    daemon.push(&from, "app:1", &[]);
    let tag = daemon.reference("app:1");
    let name = format!("mvm-test-{}", std::process::id());
    let program =
        std::path::PathBuf::from("/usr/local/bin").join(format!("docker-credential-{name}"));
    let with_helper = |script: &str| {
        if fs::write(&program, format!("#!/bin/sh\n{script}\n")).is_err() {
            eprintln!(
                "skipped: `/usr/local/bin` cannot be written to, and helpers come from the PATH"
            );
            return None;
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let docker = bench.path("helped");
        fs::create_dir_all(&docker).unwrap();
        let configuration = json!({"credHelpers": {daemon.host(): name}});
        fs::write(docker.join("config.json"), configuration.to_string()).unwrap();
        let mut options = RegistryOptions {
            docker_config: Some(docker),
            ..options.clone()
        };
        options.patience.credential_helper = std::time::Duration::from_millis(500);
        Some(options)
    };
    let outcome = std::panic::catch_unwind(|| {
        let Some(slow) = with_helper("sleep 30") else {
            return;
        };
        let error = pull_error(&bench, &tag, &slow);
        let timed_out = matches!(
            &error,
            PullError::Credentials {
                source: CredentialError::HelperTime { .. },
                ..
            }
        );
        assert!(timed_out, "{error:?}");
        let silent =
            with_helper("echo 'credentials not found in native keychain'; exit 1").unwrap();
        assert!(matches!(
            pull_error(&bench, &tag, &silent),
            PullError::NoCredentials { .. }
        ));
        let script = format!(
            "[ \"$(cat)\" = '{}' ] && [ \"$1\" = get ] || exit 3\n\
             echo '{{\"ServerURL\":\"x\",\"Username\":\"puller\",\"Secret\":\"correct horse\"}}'",
            daemon.host()
        );
        let mut good = with_helper(&script).unwrap();
        good.patience.credential_helper = std::time::Duration::from_secs(20);
        assert_eq!(pull(&bench, &tag, &good).unwrap().digest, original.digest);
    });
    let _ = fs::remove_file(&program);
    outcome.unwrap();
}

#[test]
fn a_cache_that_was_changed_is_not_believed() {
    let Some(daemon) = RegistryDaemon::start() else {
        return;
    };
    let (bench, options) = (Bench::new(), daemon.options());
    let (from, original) = write(&bench, "layout", &layout("one"));
    daemon.push(&from, "app:1", &[]);
    let tag = daemon.reference("app:1");
    pull(&bench, &tag, &options).unwrap();
    // The image goes, and every blob that it was made of is another.
    fs::remove_dir_all(bench.path("store/blobs")).unwrap();
    fs::create_dir_all(bench.path("store/blobs/sha256")).unwrap();
    for blob in support::files_below(&bench.path("store/pulled/blobs")) {
        let length = fs::metadata(&blob).unwrap().len() as usize;
        fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&blob, vec![b'x'; length]).unwrap();
    }
    assert_eq!(
        pull(&bench, &tag, &options).unwrap().digest,
        original.digest
    );
}
