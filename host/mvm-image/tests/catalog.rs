//! What a store has, and taking it out again: images that share layers, tags that moved, pulls that
//! failed.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use mvm_image::catalog::{self, CatalogImage, ExportError, ExportFormat};
use mvm_image::registry::{PullPolicy, RegistryOptions};
use mvm_image::{Digest, Image, Limits, MaterializeOptions, Silent, materialize};
use support::hostile_registry::{Ending, HostileRegistry, honest};
use support::{Bench, Layout, Member, tar};

fn layout(own: &str) -> Layout {
    let shared = tar(&[Member::file("shared", &[7; 50_000])]);
    Layout::of(&[shared, tar(&[Member::file("own", own.as_bytes())])])
}

/// A registry whose tag `1` can move.
struct Scene {
    bench: Bench,
    registry: HostileRegistry,
}

impl Scene {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            registry: HostileRegistry::start(|_, _| unreachable!("nothing is served yet")),
        }
    }

    fn serve(&self, layout: &Arc<Layout>) {
        let layout = Arc::clone(layout);
        self.registry.answer(move |asked, _| honest(&layout, asked));
    }

    fn source(&self, rest: &str) -> String {
        format!("oci:{}/app{rest}", self.registry.host())
    }

    fn pull(&self, rest: &str) -> Option<Image> {
        let mut registry = RegistryOptions {
            pull: PullPolicy::Always,
            insecure: vec![self.registry.host()],
            ..RegistryOptions::default()
        };
        registry.patience.pause = Duration::from_millis(1);
        let options = MaterializeOptions {
            limits: Limits::default(),
            debian_layouts: &self.bench.path("debian"),
            nix: support::no_nix(),
            registry: &registry,
            progress: &Silent,
        };
        let source = self.source(rest).parse().unwrap();
        materialize(&self.bench.store, &source, &options).ok()
    }

    fn list(&self) -> Vec<CatalogImage> {
        catalog::list(&self.bench.store).unwrap()
    }

    fn find(&self, digest: Digest) -> Option<CatalogImage> {
        self.list().into_iter().find(|image| image.digest == digest)
    }

    fn remove(&self, digest: Digest) -> catalog::Freed {
        let clearing = self.bench.store.clear(Duration::ZERO).unwrap().unwrap();
        catalog::remove(&self.bench.store, &digest, &clearing).unwrap()
    }

    fn pulled(&self) -> usize {
        let folder = self.bench.path("store/pulled/blobs/sha256");
        fs::read_dir(folder).unwrap().count()
    }
}

#[test]
fn an_image_goes_with_what_was_pulled_for_it_alone() {
    let scene = Scene::new();
    let (one, two) = (Arc::new(layout("one")), Arc::new(layout("two")));
    scene.serve(&one);
    let first = scene.pull(":1").unwrap();
    scene.serve(&two);
    let second = scene.pull(":1").unwrap();
    let pinned = format!("@{}", second.manifest);
    assert_eq!(scene.pull(&pinned).unwrap().digest, second.digest);

    // The tag moved: its first image has no source any more.
    let listed = scene.find(first.digest).unwrap();
    assert_eq!(
        (listed.sources.len(), listed.manifests.clone()),
        (0, vec![first.manifest])
    );
    let listed = scene.find(second.digest).unwrap();
    let mut sources = vec![scene.source(":1"), scene.source(&pinned)];
    sources.sort();
    assert_eq!(listed.sources, sources);
    assert!(listed.pulled_bytes > 50_000 && listed.broken.is_none());
    // Manifest, config and two layers each, of which one is the same.
    assert_eq!(scene.pulled(), 7);

    let freed = scene.remove(first.digest);
    assert_eq!(freed.files, 1 + 3);
    assert_eq!(scene.pulled(), 4);
    assert!(scene.find(first.digest).is_none());
    // The other one is whole, and made anew from what is here.
    fs::remove_file(&second.path).unwrap();
    scene.registry.answer(|_, _| unreachable!("all is here"));
    assert_eq!(scene.pull(&pinned).unwrap().digest, second.digest);

    scene.remove(second.digest);
    assert_eq!((scene.list().len(), scene.pulled()), (0, 0));
    let left = |folder: &str| support::files_below(&scene.bench.path(folder));
    assert!(left("store/blobs").is_empty() && left("store/records").is_empty());
    assert!(left("store/pulled/records").is_empty());
}

#[test]
fn an_index_stays_as_long_as_the_image_it_leads_to() {
    let scene = Scene::new();
    let mut both = layout("one");
    let mut ours = both.manifests[0].clone();
    ours["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = both.add_json(
        index_type,
        &serde_json::json!({"schemaVersion": 2, "mediaType": index_type, "manifests": [ours]}),
    );
    both.manifests = vec![index];
    scene.serve(&Arc::new(both));
    let image = scene.pull(":1").unwrap();
    assert_eq!(scene.pulled(), 5);
    let clearing = scene.bench.store.clear(Duration::ZERO).unwrap().unwrap();
    let freed = catalog::sweep_pulled(&scene.bench.store, &clearing).unwrap();
    drop(clearing);
    assert_eq!((freed.files, scene.pulled()), (0, 5));
    scene.remove(image.digest);
    assert_eq!(scene.pulled(), 0);
}

#[test]
fn what_a_failed_pull_left_is_swept_and_a_pull_keeps_sweepers_away() {
    let scene = Scene::new();
    let served = Arc::new(layout("one"));
    let answered = Arc::clone(&served);
    scene.registry.answer(move |asked, _| {
        let reply = honest(&answered, asked);
        match reply.body.len() > 50_000 {
            true => reply.ending(Ending::CutAt(10)),
            false => reply,
        }
    });
    assert!(scene.pull(":1").is_none());
    assert!(scene.pulled() > 0 && scene.list().is_empty());

    let hold = scene.bench.store.hold().unwrap();
    assert!(
        scene
            .bench
            .store
            .clear(Duration::from_millis(50))
            .unwrap()
            .is_none()
    );
    drop(hold);
    let clearing = scene.bench.store.clear(Duration::ZERO).unwrap().unwrap();
    catalog::sweep_pulled(&scene.bench.store, &clearing).unwrap();
    assert_eq!(scene.pulled(), 0);
}

#[test]
fn an_export_is_the_image_again_and_replaces_nothing() {
    let scene = Scene::new();
    scene.serve(&Arc::new(layout("one")));
    let image = scene.pull(":1").unwrap();
    let listed = scene.find(image.digest).unwrap();
    let export = |format, name: &str| {
        catalog::export(&scene.bench.store, &listed, format, &scene.bench.path(name))
    };
    export(ExportFormat::Erofs, "image.erofs").unwrap();
    let bytes = fs::read(scene.bench.path("image.erofs")).unwrap();
    assert_eq!(Digest::of(&bytes), image.digest);
    export(ExportFormat::OciArchive, "image.tar").unwrap();
    export(ExportFormat::OciArchive, "again.tar").unwrap();
    assert_eq!(
        fs::read(scene.bench.path("image.tar")).unwrap(),
        fs::read(scene.bench.path("again.tar")).unwrap()
    );
    let archive = format!("oci-archive:{}", scene.bench.path("image.tar").display());
    let imported = Bench::new().build(&archive.parse().unwrap()).unwrap();
    assert_eq!(
        (imported.digest, imported.manifest),
        (image.digest, image.manifest)
    );
    let there = export(ExportFormat::Erofs, "image.tar");
    assert!(matches!(there, Err(ExportError::Exists { .. })));

    // An image of which no layers are here.
    let local = scene
        .bench
        .build(&layout("local").write(&scene.bench.path("local")))
        .unwrap();
    let local = scene.find(local.digest).unwrap();
    let path = scene.bench.path("local.tar");
    let refused = catalog::export(&scene.bench.store, &local, ExportFormat::OciArchive, &path);
    assert!(matches!(refused, Err(ExportError::NotPulled { .. })) && !path.exists());
}
