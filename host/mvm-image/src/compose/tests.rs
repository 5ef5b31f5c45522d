use std::sync::OnceLock;
use std::time::Duration;

use super::*;
use crate::limits::Limits;
use crate::materialize::materialize;
use crate::nix::NixOptions;
use crate::progress::Silent;
use crate::registry::RegistryOptions;

fn store(folder: &Path) -> Store {
    Store::open(folder.join("store")).unwrap()
}

fn options(folder: &Path) -> MaterializeOptions<'_> {
    static REGISTRY: OnceLock<RegistryOptions> = OnceLock::new();
    MaterializeOptions {
        limits: Limits::default(),
        debian_layouts: folder,
        nix: NixOptions {
            directory: Path::new("/nowhere"),
            offline: true,
            time_limit: Duration::ZERO,
        },
        registry: REGISTRY.get_or_init(RegistryOptions::default),
        progress: &Silent,
    }
}

/// A layout of one empty layer.
fn base(directory: &Path) -> ImageSource {
    fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    let layer = vec![0; 1024];
    let digest = Digest::of(&layer);
    fs::write(directory.join("blobs/sha256").join(digest.hex()), &layer).unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["A=b"], "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    oci::write_layout(
        directory,
        &config,
        &[json!({ "mediaType": LAYER, "digest": digest, "size": layer.len() })],
        None,
    )
    .unwrap();
    ImageSource::OciLayout {
        directory: directory.into(),
        reference: None,
    }
}

fn files(content: &str) -> LayerTree {
    let file = |content: LayerContent, mode| LayerFile { content, mode };
    let long = format!("app/{}/deep", "d".repeat(150));
    LayerTree::from([
        (
            "app/main.py".to_owned(),
            file(LayerContent::Bytes(content.into()), 0o644),
        ),
        (
            "app/link".to_owned(),
            file(LayerContent::Symlink("main.py".to_owned()), 0o777),
        ),
        ("app/empty".to_owned(), file(LayerContent::Directory, 0o755)),
        (long, file(LayerContent::Bytes(Vec::new()), 0o755)),
    ])
}

#[test]
fn the_same_files_are_the_same_image_wherever_they_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(&folder.path().join("base"));
    let make = |place: &str, content: &str| {
        let layouts = folder.path().join(place);
        fs::create_dir_all(&layouts).unwrap();
        let files = files(content);
        let composition = Composition {
            base: &base,
            files: &files,
            working_directory: Some("/app"),
            command: None,
        };
        compose(
            &store(folder.path()),
            &composition,
            &layouts,
            &options(folder.path()),
        )
        .unwrap()
    };
    let (one, two, other) = (make("one", "a"), make("two", "a"), make("one", "b"));
    assert_eq!(one.manifest, two.manifest);
    assert_ne!(one.manifest, other.manifest);
    assert_eq!(make("one", "a"), one, "what is there already stays");
    let left = fs::read_dir(folder.path().join("one")).unwrap().count();
    assert_eq!(left, 2, "nothing unfinished stays");

    let (store, options) = (store(folder.path()), options(folder.path()));
    let image = materialize(&store, &one.source(), &options).unwrap();
    assert_eq!(
        image.digest,
        materialize(&store, &two.source(), &options).unwrap().digest
    );
    assert_eq!(image.config.working_dir.as_deref(), Some("/app"));
    assert_eq!(image.config.command, ["sh"]);
    assert_eq!(image.config.env, ["A=b"]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(&folder.path().join("base"));
    let path = folder.path().join("data");
    for (now, is_same) in [("data", true), ("Data", false), ("dat", false)] {
        fs::write(&path, now).unwrap();
        let content = LayerContent::Host {
            path: path.clone(),
            size: 4,
            digest: Digest::of(b"data"),
        };
        let files = LayerTree::from([(
            "data".to_owned(),
            LayerFile {
                content,
                mode: 0o644,
            },
        )]);
        let composition = Composition {
            base: &base,
            files: &files,
            working_directory: None,
            command: None,
        };
        let layouts = folder.path().join("layouts");
        fs::create_dir_all(&layouts).unwrap();
        let made = compose(
            &store(folder.path()),
            &composition,
            &layouts,
            &options(folder.path()),
        );
        match made {
            Ok(_) => assert!(is_same, "{now}"),
            Err(ComposeError::Changed { path: told }) => {
                assert!(!is_same, "{now}");
                assert_eq!(told, path);
            }
            Err(error) => panic!("{error:?}"),
        }
        let unfinished = fs::read_dir(&layouts)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED));
        assert_eq!(unfinished.count(), 0);
    }
}
