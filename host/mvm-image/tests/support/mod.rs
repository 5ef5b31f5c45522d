//! Makes layers, layouts and archives byte by byte, so that tests can make
//! what no ordinary tool would write.
#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod hostile_registry;
pub mod registry_daemon;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mvm_image::{
    Digest, Image, ImageSource, Limits, MaterializeError, MaterializeOptions, Silent, Store,
    materialize,
};
use serde_json::{Value, json};

/// One tar member to be.
#[derive(Clone)]
pub struct Member {
    pub path: String,
    pub flag: u8,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
    pub mtime: u64,
    pub link: String,
    pub device: (u32, u32),
    pub content: Vec<u8>,
    pub pax: Vec<(String, Vec<u8>)>,
}

impl Member {
    fn new(path: &str, flag: u8, mode: u32) -> Self {
        Self {
            path: path.into(),
            flag,
            mode,
            user: 0,
            group: 0,
            mtime: 1_700_000_000,
            link: String::new(),
            device: (0, 0),
            content: Vec::new(),
            pax: Vec::new(),
        }
    }

    pub fn file(path: &str, content: &[u8]) -> Self {
        Self {
            content: content.into(),
            ..Self::new(path, b'0', 0o644)
        }
    }

    pub fn directory(path: &str) -> Self {
        Self::new(path, b'5', 0o755)
    }

    pub fn symlink(path: &str, target: &str) -> Self {
        Self {
            link: target.into(),
            ..Self::new(path, b'2', 0o777)
        }
    }

    pub fn hard_link(path: &str, target: &str) -> Self {
        Self {
            link: target.into(),
            ..Self::new(path, b'1', 0o644)
        }
    }

    pub fn device(path: &str, flag: u8, major: u32, minor: u32) -> Self {
        Self {
            device: (major, minor),
            ..Self::new(path, flag, 0o600)
        }
    }

    pub fn fifo(path: &str) -> Self {
        Self::new(path, b'6', 0o600)
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, user: u32, group: u32) -> Self {
        (self.user, self.group) = (user, group);
        self
    }

    pub fn mtime(mut self, mtime: u64) -> Self {
        self.mtime = mtime;
        self
    }

    pub fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.pax.push((key.into(), value.into()));
        self
    }

    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    fn write(&self, tar: &mut Vec<u8>) {
        let mut pax = self.pax.clone();
        if self.path.len() > 100 {
            pax.push(("path".into(), self.path.clone().into()));
        }
        if self.link.len() > 100 {
            pax.push(("linkpath".into(), self.link.clone().into()));
        }
        if !pax.is_empty() {
            let records: Vec<u8> = pax
                .iter()
                .flat_map(|(key, value)| pax_record(key, value))
                .collect();
            let extension = Self {
                content: records,
                ..Self::new("pax", b'x', 0o644)
            };
            extension.write(tar);
        }
        let size = self.content.len();
        tar.extend(self.header(size));
        tar.extend(&self.content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }

    fn header(&self, size: usize) -> [u8; 512] {
        let mut block = [0; 512];
        let mut text = |at: usize, length: usize, bytes: &[u8]| {
            let count = bytes.len().min(length);
            block[at..at + count].copy_from_slice(&bytes[..count]);
        };
        text(0, 100, self.path.as_bytes());
        text(100, 8, format!("{:07o}\0", self.mode).as_bytes());
        text(108, 8, &number(u64::from(self.user)));
        text(116, 8, &number(u64::from(self.group)));
        text(124, 12, format!("{size:011o}\0").as_bytes());
        text(136, 12, format!("{:011o}\0", self.mtime).as_bytes());
        text(148, 8, b"        ");
        text(156, 1, &[self.flag]);
        text(157, 100, self.link.as_bytes());
        text(257, 8, b"ustar\x0000");
        text(329, 8, &number(u64::from(self.device.0)));
        text(337, 8, &number(u64::from(self.device.1)));
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Octal where it fits, GNU's binary form otherwise.
fn number(value: u64) -> [u8; 8] {
    if value < 0o7_777_777 {
        let mut field = [0; 8];
        field.copy_from_slice(format!("{value:07o}\0").as_bytes());
        return field;
    }
    let mut field = value.to_be_bytes();
    field[0] |= 0x80;
    field
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while body + length.to_string().len() != length {
        length = body + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// A whole archive with its end marker.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        member.write(&mut bytes);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An OCI layout in memory: file names to bytes.
pub struct Layout {
    pub files: BTreeMap<String, Vec<u8>>,
    pub manifests: Vec<Value>,
}

impl Layout {
    pub fn empty() -> Self {
        let marker = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
        Self {
            files: BTreeMap::from([("oci-layout".into(), marker)]),
            manifests: Vec::new(),
        }
    }

    /// One image of these uncompressed layers.
    pub fn of(layers: &[Vec<u8>]) -> Self {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| (LAYER.to_owned(), layer.clone(), Digest::of(layer)))
            .collect();
        let mut layout = Self::empty();
        let manifest = layout.add_image(&layers, json!({}));
        layout.manifests.push(manifest);
        layout
    }

    /// One image of one stored layer whose unpacked bytes are `unpacked`.
    pub fn of_stored(media_type: &str, stored: Vec<u8>, unpacked: &[u8]) -> Self {
        let mut layout = Self::empty();
        let layers = [(media_type.to_owned(), stored, Digest::of(unpacked))];
        let manifest = layout.add_image(&layers, json!({}));
        layout.manifests.push(manifest);
        layout
    }

    pub fn add_blob(&mut self, bytes: Vec<u8>) -> (String, usize) {
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        self.files
            .insert(format!("blobs/sha256/{}", digest.hex()), bytes);
        (digest.to_string(), size)
    }

    pub fn add_json(&mut self, media_type: &str, value: &Value) -> Value {
        let (digest, size) = self.add_blob(serde_json::to_vec(value).unwrap());
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    /// Adds layers (media type, bytes, digest when unpacked), a config with
    /// `overrides` on top, and a manifest, whose descriptor it returns.
    pub fn add_image(&mut self, layers: &[(String, Vec<u8>, Digest)], overrides: Value) -> Value {
        let mut descriptors = Vec::new();
        for (media_type, stored, _) in layers {
            let (digest, size) = self.add_blob(stored.clone());
            descriptors.push(json!({"mediaType": media_type, "digest": digest, "size": size}));
        }
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|(_, _, unpacked)| unpacked.to_string())
            .collect();
        let mut config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["A=b"], "Cmd": ["/bin/sh"], "WorkingDir": "/w", "User": "1:2"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        for (key, value) in overrides.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config = self.add_json("application/vnd.oci.image.config.v1+json", &config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors,
        });
        self.add_json(MANIFEST, &manifest)
    }

    /// The blob of the only layer of the only image.
    pub fn layer_mut(&mut self) -> &mut Vec<u8> {
        let hex = |text: &Value| text.as_str().unwrap().replace("sha256:", "blobs/sha256/");
        let manifest = &self.files[&hex(&self.manifests[0]["digest"])];
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        self.files
            .get_mut(&hex(&manifest["layers"][0]["digest"]))
            .unwrap()
    }

    fn all_files(&self) -> BTreeMap<String, Vec<u8>> {
        let index = json!({"schemaVersion": 2, "manifests": self.manifests});
        let mut files = self.files.clone();
        files
            .entry("index.json".into())
            .or_insert(serde_json::to_vec(&index).unwrap());
        files
    }

    pub fn write(&self, directory: &Path) -> ImageSource {
        for (name, bytes) in self.all_files() {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        ImageSource::OciLayout {
            directory: directory.into(),
            reference: None,
        }
    }

    pub fn archive(&self) -> Vec<u8> {
        let members: Vec<_> = self
            .all_files()
            .iter()
            .map(|(name, bytes)| Member::file(name, bytes))
            .collect();
        tar(&members)
    }
}

/// A scratch directory with a store in it.
pub struct Bench {
    pub scratch: tempfile::TempDir,
    pub store: Store,
}

impl Bench {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(scratch.path().join("store")).unwrap();
        Self { scratch, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn build(&self, source: &ImageSource) -> Result<Image, MaterializeError> {
        self.build_within(source, Limits::default())
    }

    pub fn build_within(
        &self,
        source: &ImageSource,
        limits: Limits,
    ) -> Result<Image, MaterializeError> {
        let debian_layouts = self.path("debian");
        let options = MaterializeOptions {
            limits,
            debian_layouts: &debian_layouts,
            nix: no_nix(),
            registry: &mvm_image::registry::RegistryOptions::default(),
            progress: &Silent,
        };
        materialize(&self.store, source, &options)
    }

    pub fn build_layers(&self, layers: &[Vec<u8>]) -> Result<Image, MaterializeError> {
        self.build(&Layout::of(layers).write(&self.path("layout")))
    }

    /// Every file in the store, of whatever kind.
    pub fn stored_files(&self) -> Vec<PathBuf> {
        stored_below(self.store.root())
    }
}

/// Every file of a store, but for the lock that says who uses it, which stays.
pub fn stored_below(store: &Path) -> Vec<PathBuf> {
    let mut files = files_below(store);
    files.retain(|path| !path.ends_with("in-use.lock"));
    files
}

pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path))
        } else {
            files.push(path)
        }
    }
    files
}

/// An error and all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Runs a tool that the tests need, which `package` brings.
pub fn run(package: &str, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run `{program}` ({error}); install it with `apt install {package}`")
        });
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub fn fsck(image: &Path, arguments: &[&str]) {
    let image = image.to_str().unwrap();
    let output = run("erofs-utils", "fsck.erofs", &[arguments, &[image]].concat());
    // It exits with zero whatever it finds in the superblock.
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("<E>"), "{said}");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// For sources that need no `nix`.
pub fn no_nix() -> mvm_image::nix::NixOptions<'static> {
    mvm_image::nix::NixOptions {
        directory: Path::new("/nowhere"),
        offline: true,
        time_limit: std::time::Duration::ZERO,
    }
}
