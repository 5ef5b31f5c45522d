//! Registries that lie, break off, stall, never end, or send elsewhere: each is refused by name or
//! recovered from, leaves the store and its cache clean, and keeps no good pull from working.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mvm_image::registry::{ConnectError, Patience, PullError, RegistryOptions};
use mvm_image::{
    Digest, Image, ImageSource, Limits, MaterializeError, MaterializeOptions, Silent, SourceError,
    materialize,
};
use serde_json::json;
use support::hostile_registry::{Asked, Ending, HostileRegistry, Reply, assert_clean, honest};
use support::registry_daemon::{make_certificates, write_login};
use support::{Bench, LAYER, Layout, MANIFEST, Member, chain, tar};

/// A registry without TLS, an image it has, and a client without patience.
struct Scene {
    bench: Bench,
    layout: Arc<Layout>,
    expected: Digest,
    registry: HostileRegistry,
    options: RegistryOptions,
}

const SIZE: usize = 300_000;

impl Scene {
    fn new() -> Self {
        let layer = tar(&[Member::file("data", &noise(SIZE))]);
        let layout = Arc::new(Layout::of(&[layer]));
        let own = Bench::new();
        let expected = own
            .build(&layout.write(&own.path("layout")))
            .unwrap()
            .digest;
        let served = Arc::clone(&layout);
        let registry = HostileRegistry::start(move |asked, _| honest(&served, asked));
        let options = RegistryOptions {
            insecure: vec![registry.host()],
            patience: Patience {
                answer: Duration::from_secs(2),
                stall: Duration::from_millis(400),
                pause: Duration::from_millis(10),
                tries: 3,
                ..Patience::default()
            },
            ..RegistryOptions::default()
        };
        Self {
            bench: Bench::new(),
            layout,
            expected,
            registry,
            options,
        }
    }

    /// Blobs are answered by `answer`, given the honest reply; everything else is honest.
    fn on_blob(&self, answer: impl Fn(&Asked, usize, Reply) -> Reply + Send + 'static) {
        let (layout, layer) = (Arc::clone(&self.layout), self.layer());
        self.registry.answer(move |asked, before| {
            let reply = honest(&layout, asked);
            match asked.path.ends_with(&layer) {
                true => answer(asked, before, reply),
                false => reply,
            }
        });
    }

    /// The same for the manifest.
    fn on_manifest(&self, answer: impl Fn(usize, Reply) -> Reply + Send + 'static) {
        let layout = Arc::clone(&self.layout);
        self.registry.answer(move |asked, before| {
            let reply = honest(&layout, asked);
            match asked.path.contains("/manifests/") {
                true => answer(before, reply),
                false => reply,
            }
        });
    }

    /// The digest of the layer.
    fn layer(&self) -> String {
        let largest = self
            .layout
            .files
            .iter()
            .max_by_key(|(_, bytes)| bytes.len());
        let (name, _) = largest.unwrap();
        name.replace("blobs/sha256/", "sha256:")
    }

    fn asked_for_layer(&self) -> Vec<Asked> {
        let layer = self.layer();
        let mut asked = self.registry.asked();
        asked.retain(|asked| asked.path.ends_with(&layer));
        asked
    }

    fn pull_of(&self, rest: &str) -> Result<Image, MaterializeError> {
        let text = format!("oci:{}/team/app{rest}", self.registry.host());
        let source: ImageSource = text.parse().unwrap();
        let options = MaterializeOptions {
            limits: Limits::default(),
            debian_layouts: &self.bench.path("debian"),
            nix: support::no_nix(),
            registry: &self.options,
            progress: &Silent,
        };
        materialize(&self.bench.store, &source, &options)
    }

    /// The failure of a pull that leaves everything clean, after which a good one works.
    fn refusal_of(&self, rest: &str) -> PullError {
        let error = match self.pull_of(rest) {
            Err(MaterializeError::Pull { source, .. }) => *source,
            Err(other) => panic!("{}", chain(&other)),
            Ok(_) => panic!("pulled"),
        };
        assert_clean(&self.bench);
        error
    }

    fn refusal(&self) -> PullError {
        let error = self.refusal_of(":1");
        let (asked, layout) = (self.registry.asked(), Arc::clone(&self.layout));
        self.registry.answer(move |asked, _| honest(&layout, asked));
        self.succeeds();
        // For who wants to know what the failure consisted of.
        drop(asked);
        error
    }

    fn succeeds(&self) {
        let image = self
            .pull_of(":1")
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(image.digest, self.expected);
    }
}

/// Bytes that no compression makes smaller.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

macro_rules! assert_refused {
    ($error:expr, $pattern:pat) => {{
        let error = $error;
        assert!(matches!(error, $pattern), "{error:?}");
    }};
}

#[test]
fn a_tampered_blob_is_refused() {
    let scene = Scene::new();
    scene.on_blob(|_, _, mut reply| {
        reply.body[SIZE / 2] ^= 1;
        reply
    });
    assert_refused!(scene.refusal(), PullError::Digest { .. });
}

#[test]
fn another_manifest_than_was_asked_for_is_refused() {
    let scene = Scene::new();
    let digest = Digest::of(b"another");
    let layout = Arc::clone(&scene.layout);
    scene.registry.answer(move |asked, _| {
        let path = asked.path.replace(&digest.to_string(), "1");
        honest(
            &layout,
            &Asked {
                path,
                ..asked.clone()
            },
        )
    });
    assert_refused!(
        scene.refusal_of(&format!("@{digest}")),
        PullError::Digest { .. }
    );
    scene.succeeds();
}

#[test]
fn a_header_that_lies_about_the_digest_or_the_type_is_refused() {
    let scene = Scene::new();
    let lie = |name: &'static str, value: String| {
        move |_: usize, mut reply: Reply| {
            reply.headers.retain(|(header, _)| header != name);
            reply.header(name, &value)
        }
    };
    scene.on_manifest(lie("Docker-Content-Digest", Digest::of(b"x").to_string()));
    assert_refused!(scene.refusal(), PullError::StatedDigest { .. });

    let scene = Scene::new();
    let index = "application/vnd.oci.image.index.v1+json";
    scene.on_manifest(lie("Content-Type", index.into()));
    assert_refused!(scene.refusal(), PullError::StatedType { .. });

    // What cannot be compared counts for nothing; the bytes do.
    let scene = Scene::new();
    scene.on_manifest(lie(
        "Docker-Content-Digest",
        format!("sha512:{}", "0".repeat(128)),
    ));
    scene.succeeds();
}

#[test]
fn an_answer_that_stalls_or_drips_is_given_up() {
    let scene = Scene::new();
    scene.on_blob(|_, _, reply| reply.ending(Ending::StallAt(100_000)));
    let begun = Instant::now();
    assert_refused!(scene.refusal(), PullError::Stalled { .. });
    assert!(begun.elapsed() < Duration::from_secs(20));

    let scene = Scene::new();
    scene.on_blob(|_, _, reply| reply.ending(Ending::Drip));
    assert_refused!(scene.refusal(), PullError::Stalled { .. });

    let scene = Scene::new();
    scene.on_manifest(|_, reply| reply.ending(Ending::StallAt(10)));
    assert_refused!(scene.refusal(), PullError::Stalled { .. });
}

#[test]
fn a_blob_that_breaks_off_is_resumed_where_it_was() {
    let scene = Scene::new();
    scene.on_blob(|_, before, reply| match before {
        0 => reply.ending(Ending::CutAt(100_000)),
        1 => reply.ending(Ending::CutAt(50_000)),
        _ => reply,
    });
    scene.succeeds();
    let asked = scene.asked_for_layer();
    let ranges: Vec<_> = asked
        .iter()
        .map(|asked| asked.headers.get("range"))
        .collect();
    let at = |text: &str| Some(text.to_owned());
    let ranges: Vec<_> = ranges.into_iter().map(|range| range.cloned()).collect();
    assert_eq!(ranges, [None, at("bytes=100000-"), at("bytes=150000-")]);
}

#[test]
fn a_registry_that_cannot_resume_is_begun_anew() {
    let scene = Scene::new();
    let layout = Arc::clone(&scene.layout);
    let whole = move |asked: &Asked| {
        let mut asked = asked.clone();
        asked.headers.remove("range");
        honest(&layout, &asked)
    };
    // It ignores the range, refuses it, or gives another.
    let ignoring = whole.clone();
    scene.on_blob(move |asked, before, reply| match before {
        0 => reply.ending(Ending::CutAt(100_000)),
        _ => ignoring(asked),
    });
    scene.succeeds();

    let scene = Scene::new();
    scene.on_blob(|_, before, reply| match before {
        0 => reply.ending(Ending::CutAt(100_000)),
        1 => Reply::new(416, b""),
        _ => reply,
    });
    scene.succeeds();
    assert_eq!(scene.asked_for_layer()[2].headers.get("range"), None);

    let scene = Scene::new();
    scene.on_blob(move |asked, before, reply| match before {
        0 => reply.ending(Ending::CutAt(100_000)),
        1 => {
            let mut other = reply;
            other.headers.clear();
            other.header("Content-Range", "bytes 0-9/10")
        }
        _ => whole(asked),
    });
    scene.succeeds();
}

#[test]
fn pieces_of_two_blobs_are_not_put_together() {
    let scene = Scene::new();
    scene.on_blob(|_, before, mut reply| match before {
        0 => {
            reply.body[5] ^= 1;
            reply.ending(Ending::CutAt(100_000))
        }
        _ => reply,
    });
    // The whole is fetched once more.
    scene.succeeds();
    assert_eq!(scene.asked_for_layer().len(), 3);
}

#[test]
fn a_blob_that_always_breaks_off_fails_after_some_tries() {
    let scene = Scene::new();
    scene.on_blob(|_, _, reply| reply.ending(Ending::CutAt(10)));
    let error = scene.refusal_of(":1");
    assert_refused!(
        &error,
        PullError::Broken { .. } | PullError::Truncated { .. }
    );
    assert_eq!(scene.asked_for_layer().len(), 3);
    assert!(error.hint().is_some());
}

#[test]
fn lengths_that_lie_are_refused() {
    for difference in [-1_i64, 1, 1 << 40] {
        let scene = Scene::new();
        scene.on_blob(move |_, _, reply| {
            let length = reply.body.len() as i64 + difference;
            reply.header("Content-Length", &length.to_string())
        });
        assert_refused!(scene.refusal(), PullError::ContentLength { .. });
    }
}

#[test]
fn what_never_ends_is_cut() {
    let scene = Scene::new();
    scene.on_blob(|_, _, reply| reply.ending(Ending::Endless));
    assert_refused!(scene.refusal(), PullError::TooLong { .. });

    let scene = Scene::new();
    scene.on_manifest(|_, reply| reply.ending(Ending::Endless));
    assert_refused!(scene.refusal(), PullError::DocumentSize { .. });

    let scene = Scene::new();
    scene.on_manifest(|_, reply| reply.header("Content-Length", &(1_u64 << 40).to_string()));
    assert_refused!(scene.refusal(), PullError::DocumentSize { .. });
}

#[test]
fn what_is_no_http_is_not_asked_again() {
    let scene = Scene::new();
    scene.on_manifest(|_, reply| reply.ending(Ending::Garbage));
    assert_refused!(scene.refusal_of(":1"), PullError::Broken { .. });
    assert_eq!(scene.registry.asked().len(), 1);
}

#[test]
fn redirects_end_and_lead_somewhere() {
    let scene = Scene::new();
    let layer = scene.layer();
    scene.on_blob(move |_, _, _| Reply::redirect(&format!("/v2/team/app/blobs/{layer}")));
    assert_refused!(scene.refusal(), PullError::Redirects { .. });

    for location in [
        "ftp://127.0.0.1/x",
        "relative",
        "//127.0.0.1/x",
        "http://u:p@127.0.0.1/x",
    ] {
        let scene = Scene::new();
        scene.on_blob(move |_, _, _| Reply::redirect(location));
        assert_refused!(scene.refusal(), PullError::RedirectNowhere { .. });
    }
    let scene = Scene::new();
    scene.on_blob(|_, _, _| Reply::new(302, b""));
    assert_refused!(scene.refusal(), PullError::RedirectNowhere { .. });

    // Without TLS, no more than loopback addresses, whoever says so.
    let scene = Scene::new();
    scene.on_blob(|_, _, _| Reply::redirect("http://192.0.2.1/x"));
    assert_refused!(
        scene.refusal(),
        PullError::Connect {
            source: ConnectError::NotLoopback { .. },
            ..
        }
    );
}

#[test]
fn another_server_is_shown_no_credentials() {
    let mut scene = Scene::new();
    let docker = scene.bench.path("docker");
    write_login(&docker, &scene.registry.host(), "puller", "hunter2");
    scene.options.docker_config = Some(docker);
    let layout = Arc::clone(&scene.layout);
    let elsewhere = HostileRegistry::start(move |asked, before| match before {
        0 => honest(&layout, asked).ending(Ending::CutAt(100_000)),
        _ => honest(&layout, asked),
    });
    let host = elsewhere.host();
    let (layout, layer) = (Arc::clone(&scene.layout), scene.layer());
    scene.registry.answer(move |asked, _| {
        if !asked.headers.contains_key("authorization") {
            return Reply::new(401, b"").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        match asked.path.ends_with(&layer) {
            true => Reply::redirect(&format!(
                "http://{host}/v2/x/blobs/{layer}?signature=secret"
            )),
            false => honest(&layout, asked),
        }
    });
    scene.succeeds();
    let seen = elsewhere.asked();
    assert_eq!(seen.len(), 2);
    for asked in seen {
        assert!(!asked.headers.contains_key("authorization"), "{asked:?}");
        assert!(!format!("{asked:?}").contains("hunter2"));
    }
    // Nor is it when it asks for some, and nobody is told of the signature.
    elsewhere.answer(|_, _| Reply::new(401, b"").header("WWW-Authenticate", "Basic realm=\"x\""));
    let scene = Scene {
        bench: Bench::new(),
        ..scene
    };
    let error = scene.refusal_of(":1");
    assert_refused!(&error, PullError::Status { status: 401, .. });
    assert!(!format!("{error:?} {}", chain(&error)).contains("secret"));
    assert!(
        elsewhere
            .asked()
            .iter()
            .all(|asked| !asked.headers.contains_key("authorization"))
    );
}

#[test]
fn a_token_is_fetched_with_the_password_and_the_registry_sees_only_the_token() {
    let mut scene = Scene::new();
    let docker = scene.bench.path("docker");
    write_login(&docker, &scene.registry.host(), "puller", "hunter2");
    scene.options.docker_config = Some(docker);
    let tokens = HostileRegistry::start(|asked, before| {
        match asked.headers.get("authorization").map(String::as_str) {
            // `puller:hunter2`
            Some("Basic cHVsbGVyOmh1bnRlcjI=") if before == 0 => Reply::new(503, b""),
            Some("Basic cHVsbGVyOmh1bnRlcjI=") => Reply::new(200, br#"{"token":"t0ken"}"#),
            _ => Reply::new(401, b""),
        }
    });
    let realm = format!("http://{}/token", tokens.host());
    let layout = Arc::clone(&scene.layout);
    let demanding = move |asked: &Asked, _| match asked.headers.get("authorization") {
        Some(shown) if shown == "Bearer t0ken" => honest(&layout, asked),
        _ => Reply::new(401, b"").header(
            "WWW-Authenticate",
            &format!("Bearer realm=\"{realm}\",service=\"a b\",scope=\"repository:other:*\""),
        ),
    };
    scene.registry.answer(demanding.clone());
    scene.succeeds();
    // For this repository and no more, whatever is asked for.
    let asked = tokens.asked();
    assert_eq!(
        asked[0].path,
        "/token?scope=repository%3Ateam%2Fapp%3Apull&service=a+b"
    );
    assert!(scene.registry.asked().iter().all(|asked| {
        asked
            .headers
            .get("authorization")
            .is_none_or(|shown| shown == "Bearer t0ken")
    }));

    // Another password; none; and a realm that sends elsewhere with it.
    let docker = scene.bench.path("other");
    write_login(&docker, &scene.registry.host(), "puller", "wrong");
    let scene = Scene {
        bench: Bench::new(),
        options: RegistryOptions {
            docker_config: Some(docker),
            ..scene.options.clone()
        },
        ..scene
    };
    assert_refused!(scene.refusal_of(":1"), PullError::Unauthorized { .. });
    let scene = Scene {
        options: RegistryOptions {
            docker_config: None,
            ..scene.options.clone()
        },
        ..scene
    };
    assert_refused!(scene.refusal_of(":1"), PullError::NoCredentials { .. });
    tokens.answer(|_, _| Reply::redirect("/elsewhere"));
    assert_refused!(
        scene.refusal_of(":1"),
        PullError::Status { status: 307, .. }
    );
    tokens.answer(|_, _| Reply::new(200, b"no token"));
    assert_refused!(scene.refusal_of(":1"), PullError::Token { .. });
}

#[test]
fn what_is_asked_for_over_tls_is_not_got_without_it() {
    let mut scene = Scene::new();
    let directory = scene.bench.path("certificates");
    std::fs::create_dir_all(&directory).unwrap();
    make_certificates(&directory);
    let layout = Arc::clone(&scene.layout);
    let tls = HostileRegistry::start_tls(&directory, move |asked, _| honest(&layout, asked));
    let trusted = directory.join(tls.host());
    std::fs::create_dir_all(&trusted).unwrap();
    std::fs::copy(directory.join("ca.crt"), trusted.join("ca.crt")).unwrap();
    scene.options.certificates = vec![directory.clone()];
    let plain = std::mem::replace(&mut scene.registry, tls);
    let (layout, layer, host) = (Arc::clone(&scene.layout), scene.layer(), plain.host());
    scene.on_blob(move |_, _, _| Reply::redirect(&format!("http://{host}/v2/x/blobs/{layer}")));
    assert_refused!(scene.refusal_of(":1"), PullError::Downgrade { .. });
    assert!(plain.asked().is_empty());

    let realm = format!("Bearer realm=\"http://{}/token\"", plain.host());
    scene
        .registry
        .answer(move |_, _| Reply::new(401, b"").header("WWW-Authenticate", &realm));
    let scene = Scene {
        bench: Bench::new(),
        ..scene
    };
    assert_refused!(scene.refusal_of(":1"), PullError::Downgrade { .. });
    assert!(plain.asked().is_empty());

    scene
        .registry
        .answer(move |asked, _| honest(&layout, asked));
    scene.succeeds();
}

#[test]
fn a_registry_that_is_busy_is_asked_again_when_it_says() {
    let scene = Scene::new();
    scene.on_manifest(|before, reply| match before {
        0 => Reply::new(429, b"").header("Retry-After", "1"),
        _ => reply,
    });
    let begun = Instant::now();
    scene.succeeds();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let scene = Scene::new();
    scene.on_manifest(|_, _| Reply::new(429, b"").header("Retry-After", "3600"));
    assert_refused!(scene.refusal(), PullError::TooBusy { .. });

    let scene = Scene::new();
    scene.on_blob(|_, before, reply| match before {
        0 => Reply::new(500, b""),
        1 => Reply::new(503, b"").header("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"),
        _ => reply,
    });
    scene.succeeds();

    let scene = Scene::new();
    scene.on_manifest(|_, _| Reply::new(500, b""));
    assert_refused!(
        scene.refusal_of(":1"),
        PullError::Status { status: 500, .. }
    );
    assert_eq!(scene.registry.asked().len(), 3);
    scene.on_manifest(|_, _| Reply::new(400, b""));
    assert_refused!(
        scene.refusal_of(":1"),
        PullError::Status { status: 400, .. }
    );
    assert_eq!(scene.registry.asked().len(), 1);
}

/// A registry whose tag `1` is this document.
fn refusal_of_document(scene: &Scene, layout: Layout) -> PullError {
    scene
        .registry
        .answer(move |asked, _| honest(&layout, asked));
    scene.refusal_of(":1")
}

#[test]
fn manifests_that_cannot_be_are_refused() {
    let scene = Scene::new();
    let is_digest = |error: &PullError| {
        matches!(
            error,
            PullError::Image {
                source: SourceError::Digest { .. },
                ..
            }
        )
    };
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut layout = Layout::empty();
        for (name, bytes) in &scene.layout.files {
            layout.files.insert(name.clone(), bytes.clone());
        }
        let digest = scene.layout.manifests[0]["digest"].as_str().unwrap();
        let bytes = &scene.layout.files[&digest.replace("sha256:", "blobs/sha256/")];
        let mut manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        change(&mut manifest);
        let manifest = layout.add_json(MANIFEST, &manifest);
        layout.manifests.push(manifest);
        layout
    };
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let error = refusal_of_document(
        &scene,
        with(&|it| it["layers"][0]["digest"] = json!(sha512)),
    );
    assert!(is_digest(&error), "{error:?}");
    let error = refusal_of_document(&scene, with(&|it| it["config"]["digest"] = json!(sha512)));
    assert!(is_digest(&error), "{error:?}");

    // Both an index and a manifest: whoever reads it chooses.
    let error = refusal_of_document(&scene, with(&|it| it["manifests"] = json!([])));
    let ambiguous = matches!(
        &error,
        PullError::Image {
            source: SourceError::MediaType { .. },
            ..
        }
    );
    assert!(ambiguous, "{error:?}");

    let error = refusal_of_document(
        &scene,
        with(&|it| it["layers"][0]["size"] = json!(1_u64 << 60)),
    );
    assert_refused!(error, PullError::LayerBytes { .. });
    let error = refusal_of_document(
        &scene,
        with(&|it| it["config"]["size"] = json!(1_u64 << 60)),
    );
    assert_refused!(
        error,
        PullError::Image {
            source: SourceError::DocumentSize { .. },
            ..
        }
    );
    let error = refusal_of_document(&scene, with(&|it| it["config"]["size"] = json!(1)));
    assert_refused!(
        error,
        PullError::Image {
            source: SourceError::SizeMismatch { .. },
            ..
        }
    );
    // The layer is longer than its descriptor says.
    let error = refusal_of_document(&scene, with(&|it| it["layers"][0]["size"] = json!(10)));
    assert_refused!(error, PullError::ContentLength { .. });
    // Nothing of a layer that is not supported is fetched.
    let error = refusal_of_document(
        &scene,
        with(&|it| it["layers"][0]["mediaType"] = json!(format!("{LAYER}+encrypted"))),
    );
    assert_refused!(
        error,
        PullError::Image {
            source: SourceError::MediaType { .. },
            ..
        }
    );
    assert!(scene.asked_for_layer().is_empty());
}

#[test]
fn a_registry_without_tls_is_spoken_to_when_it_is_named_and_allowed() {
    let scene = Scene::new();
    let options = RegistryOptions {
        refuse_insecure: true,
        ..scene.options.clone()
    };
    let scene = Scene { options, ..scene };
    assert_refused!(scene.refusal_of(":1"), PullError::InsecureRefused { .. });
    assert!(scene.registry.asked().is_empty());

    let options = RegistryOptions {
        insecure: Vec::new(),
        refuse_insecure: false,
        ..scene.options.clone()
    };
    let scene = Scene { options, ..scene };
    assert_refused!(scene.refusal_of(":1"), PullError::Connect { .. });

    // Naming a host far away does not help.
    let options = RegistryOptions {
        insecure: vec!["192.0.2.1".into()],
        ..scene.options.clone()
    };
    let source: ImageSource = "oci:192.0.2.1/app".parse().unwrap();
    let options = MaterializeOptions {
        limits: Limits::default(),
        debian_layouts: &scene.bench.path("debian"),
        nix: support::no_nix(),
        registry: &options,
        progress: &Silent,
    };
    let error = materialize(&scene.bench.store, &source, &options).unwrap_err();
    assert!(
        chain(&error).contains("only loopback addresses"),
        "{}",
        chain(&error)
    );
}
