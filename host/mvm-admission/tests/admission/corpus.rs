//! Cases of `tests/attacks/`: changes of one good request, declared in JSON. The keys are made of
//! their names, so that every run signs the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
};
use mvm_admission::{Admission, EnvelopeBytes, Feature, HostFacts, ImageFacts, Request, Seal};
use mvm_contract::{
    Digest, SigningKey, canonical,
    dsse::{self, PLAN_TYPE},
    plan::{ImageVerdict, LaunchPath},
    policy::HostPolicy,
    receipt::Isolation,
    trust::TrustRoots,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A snapshot of the base host.
const SAVED: &str = "sha256:7777777777777777777777777777777777777777777777777777777777777777";

/// What a case changes of the base, in the order of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Case {
    /// In an attack: what is done.
    pub(crate) attack: String,
    /// In an attack: the rule that stops it.
    pub(crate) rule: String,
    /// In a good plan: what it is.
    pub(crate) plan: String,
    now: Option<u64>,
    sign_as: Option<String>,
    payload_type: Option<String>,
    roots: Edit,
    policy: Edit,
    host: Edit,
    /// Changes of the plan, by JSON pointer.
    set: BTreeMap<String, Value>,
    remove: Vec<String>,
    /// Replacements in the plan's canonical bytes, before they are signed.
    payload: Vec<(String, String)>,
    /// What is signed instead of a plan.
    payload_text: Option<String>,
    payload_bytes: Option<String>,
    /// Replacements in the plan's bytes after they were signed.
    payload_after_signing: Vec<(String, String)>,
    envelope_edit: Edit,
    /// Another spelling of the payload's base64.
    envelope_base64: Option<String>,
    /// Replacements in the envelope's text.
    envelope: Vec<(String, String)>,
    /// White space at its end.
    pad_envelope: usize,
    /// The envelope, hexadecimal.
    envelope_bytes: Option<String>,
}

/// Changes of a document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Edit {
    copy: BTreeMap<String, String>,
    set: BTreeMap<String, Value>,
    remove: Vec<String>,
}

/// A request, whole.
pub(crate) struct Built {
    pub(crate) envelope: Vec<u8>,
    pub(crate) roots: TrustRoots,
    pub(crate) policy: HostPolicy,
    pub(crate) host: HostFacts,
    pub(crate) spent: BTreeSet<String>,
    pub(crate) now: u64,
}

impl Built {
    pub(crate) fn admit(&self) -> Admission {
        mvm_admission::admit(&self.request(&self.envelope))
    }

    pub(crate) fn request<'a>(&'a self, envelope: &'a [u8]) -> Request<'a> {
        Request {
            envelope: EnvelopeBytes::new(envelope),
            roots: &self.roots,
            policy: &self.policy,
            host: &self.host,
            replay: &self.spent,
            now: self.now,
        }
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every case of one kind, by the name of its folder.
fn cases(folder: &Path, file: &str) -> BTreeMap<String, Case> {
    let mut cases = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !path.is_dir() || name == "admitted" {
            continue;
        }
        let text = fs::read_to_string(path.join(file)).unwrap();
        let case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        cases.insert(name, case);
    }
    cases
}

pub(crate) fn attacks() -> BTreeMap<String, Case> {
    cases(&repository().join("tests/attacks"), "attack.json")
}

pub(crate) fn good_plans() -> BTreeMap<String, Case> {
    cases(&repository().join("tests/attacks/admitted"), "plan.json")
}

pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(seed_digest(name).as_bytes())
}

/// The private key's bytes, hexadecimal.
pub(crate) fn seed(name: &str) -> String {
    seed_digest(name).hex()
}

fn seed_digest(name: &str) -> Digest {
    Digest::of(format!("mvm test key {name}").as_bytes())
}

impl Case {
    pub(crate) fn build(&self) -> Built {
        self.build_for(None)
    }

    /// Whether it is of one way of launching: it names it, or spells these very bytes otherwise.
    pub(crate) fn is_of_one_path(&self) -> bool {
        let mut changed = self.set.keys();
        changed.any(|pointer| pointer.starts_with("/origin")) || self.envelope_base64.is_some()
    }

    /// The same, launched in another way than the base is.
    pub(crate) fn build_for(&self, path: Option<LaunchPath>) -> Built {
        let text = fs::read_to_string(repository().join("tests/attacks/base.json")).unwrap();
        let mut base: Value = serde_json::from_str(&text).unwrap();
        if let Some(path) = path {
            base["plan"]["origin"] = json!({ "path": path });
            if path.starts_from_snapshot() {
                base["plan"]["origin"]["snapshot"] = SAVED.into();
            }
        }
        self.roots.apply(&mut base["roots"]);
        self.policy.apply(&mut base["policy"]);
        self.host.apply(&mut base["host"]);
        for (pointer, value) in &self.set {
            set(&mut base["plan"], pointer, value.clone());
        }
        for pointer in &self.remove {
            remove(&mut base["plan"], pointer);
        }
        name_keys(&mut base);
        Built {
            envelope: self.sign(&base),
            roots: TrustRoots::read(&serde_json::to_vec(&base["roots"]).unwrap()).unwrap(),
            policy: HostPolicy::read(&serde_json::to_vec(&base["policy"]).unwrap()).unwrap(),
            host: host_facts(&base["host"]),
            spent: serde_json::from_value(base["spent"].clone()).unwrap(),
            now: self.now.unwrap_or_else(|| base["now"].as_u64().unwrap()),
        }
    }

    fn sign(&self, base: &Value) -> Vec<u8> {
        if let Some(bytes) = &self.envelope_bytes {
            return hex::decode(bytes).unwrap();
        }
        let mut payload = canonical::to_bytes(&base["plan"]).unwrap();
        replace(&mut payload, &self.payload);
        if let Some(text) = &self.payload_text {
            payload = text.clone().into_bytes();
        }
        if let Some(bytes) = &self.payload_bytes {
            payload = hex::decode(bytes).unwrap();
        }
        let signer = self.sign_as.as_deref();
        let signer = key(signer.unwrap_or_else(|| base["sign_as"].as_str().unwrap()));
        let payload_type = self.payload_type.as_deref().unwrap_or(PLAN_TYPE);
        let sealed = dsse::seal(payload_type, &payload, &signer).unwrap();
        let mut envelope: Value = serde_json::from_slice(&sealed).unwrap();
        if !self.payload_after_signing.is_empty() {
            replace(&mut payload, &self.payload_after_signing);
            envelope["payload"] = STANDARD.encode(&payload).into();
        }
        if let Some(spelling) = &self.envelope_base64 {
            let other = match spelling.as_str() {
                "url-safe" => URL_SAFE.encode(&payload),
                "unpadded" => STANDARD_NO_PAD.encode(&payload),
                _ => panic!("no spelling `{spelling}`"),
            };
            assert_ne!(envelope["payload"], other.as_str(), "{}", self.attack);
            envelope["payload"] = other.into();
        }
        self.envelope_edit.apply(&mut envelope);
        name_keys(&mut envelope);
        let mut bytes = canonical::to_bytes(&envelope).unwrap();
        replace(&mut bytes, &self.envelope);
        bytes.resize(bytes.len() + self.pad_envelope, b' ');
        bytes
    }
}

impl Edit {
    fn apply(&self, document: &mut Value) {
        for (from, to) in &self.copy {
            let value = document.pointer(from).unwrap().clone();
            set(document, to, value);
        }
        for (pointer, value) in &self.set {
            set(document, pointer, value.clone());
        }
        for pointer in &self.remove {
            remove(document, pointer);
        }
    }
}

fn parent<'a>(document: &'a mut Value, pointer: &str) -> (&'a mut Value, String) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = document
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("nothing at `{pointer}`"));
    (parent, field.to_owned())
}

fn set(document: &mut Value, pointer: &str, value: Value) {
    match parent(document, pointer) {
        (Value::Array(items), _) => items.push(value),
        (object, field) => object[field.as_str()] = value,
    }
}

fn remove(document: &mut Value, pointer: &str) {
    let (object, field) = parent(document, pointer);
    let removed = object.as_object_mut().unwrap().remove(&field);
    assert!(removed.is_some(), "nothing at `{pointer}`");
}

fn replace(bytes: &mut Vec<u8>, replacements: &[(String, String)]) {
    for (from, to) in replacements {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        assert!(text.contains(from), "`{from}` is not in `{text}`");
        *bytes = text.replace(from, to).into_bytes();
    }
}

/// Puts keys where `$key:NAME` and identifiers where `$id:NAME` stands.
fn name_keys(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("$key:") {
                *text = key(name).public_key().to_string();
            } else if let Some(name) = text.strip_prefix("$id:") {
                *text = key(name).public_key().id().to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(name_keys),
        Value::Object(fields) => fields.values_mut().for_each(name_keys),
        _ => {}
    }
}

fn host_facts(value: &Value) -> HostFacts {
    let seal = |sealed: &Value| match sealed.as_bool().unwrap() {
        true => Seal::Holds,
        false => Seal::Broken,
    };
    let digest = |text: &Value| text.as_str().unwrap().parse::<Digest>().unwrap();
    let sealed = |part: &Value| (digest(&part["digest"]), seal(&part["sealed"]));
    let feature = |name: &Value| match name.as_str().unwrap() {
        "egress" => Feature::Egress,
        "ingress" => Feature::Ingress,
        "secrets" => Feature::Secrets,
        "mounts" => Feature::Mounts,
        "workload" => Feature::Workload,
        name => panic!("no feature `{name}`"),
    };
    let verdict = |image: &Value| -> ImageVerdict {
        serde_json::from_value(image["verdict"].clone()).unwrap()
    };
    let image = |(name, image): (&String, &Value)| {
        let facts = ImageFacts {
            verdict: verdict(image),
            seal: seal(&image["sealed"]),
        };
        (name.parse().unwrap(), facts)
    };
    let snapshots = value["snapshots"].as_object().unwrap().iter();
    HostFacts {
        key: value["key"].as_str().unwrap().parse().unwrap(),
        isolation: match value["isolation"].as_str().unwrap() {
            "hardware" => Isolation::Hardware,
            _ => Isolation::Emulated,
        },
        features: value["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(feature)
            .collect(),
        images: value["images"]
            .as_object()
            .unwrap()
            .iter()
            .map(image)
            .collect(),
        kernel: sealed(&value["kernel"]),
        initramfs: sealed(&value["initramfs"]),
        agent_version: value["agent_version"].as_str().unwrap().to_owned(),
        snapshots: snapshots
            .map(|(name, sealed)| (name.parse().unwrap(), seal(sealed)))
            .collect(),
    }
}
