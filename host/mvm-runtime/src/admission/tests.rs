//! What reaches a supervisor is not believed, whoever sent it and whichever way it launches.

use std::path::Path;

use mvm_contract::{
    SandboxSpec, SigningKey,
    audit::SignedRecord,
    dsse::{self, Envelope, PLAN_TYPE},
    plan::TimeLimits,
};

use super::*;
use crate::{audit, plan::GuestSoftware};

struct Bench {
    _root: tempfile::TempDir,
    home: Home,
    host: Host,
    spec: SandboxSpec,
    software: GuestSoftware,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = Home::open(root.path()).unwrap();
        let host = Host::detect(&home.cache(), None).unwrap();
        Self {
            _root: root,
            home,
            host,
            spec: SandboxSpec::default(),
            software: GuestSoftware::of(Digest::of(b"kernel"), Digest::of(b"initramfs")),
        }
    }

    fn launch<'a>(&'a self, path: LaunchPath, image: &'a str) -> Launch<'a> {
        let snapshot = path.starts_from_snapshot();
        Launch {
            spec: &self.spec,
            image_digest: image,
            image_path: Path::new("/image"),
            software: &self.software,
            path,
            snapshot: snapshot.then(|| Digest::of(b"snapshot")),
        }
    }

    fn denied(&self, envelope: &str, launch: &Launch<'_>) -> String {
        let id = SandboxId::from_random(1);
        let (home, host) = (&self.home, &self.host);
        match admit(home, host, envelope, launch, Seal::Holds, &id) {
            Err(AdmissionError::Denied(denial)) => denial.rule.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The rules of the denials in the log, and how many admissions are in it.
    fn recorded(&self) -> (Vec<String>, usize) {
        let segments = audit::segments(&self.home).unwrap();
        let log = std::fs::read(&segments[0].log).unwrap();
        let events: Vec<_> = log
            .split(|byte| *byte == b'\n')
            .filter_map(SignedRecord::read)
            .map(|signed| signed.record.event)
            .collect();
        let admitted = |event: &&Event| event.kind == EventKind::PlanAdmitted;
        (
            events
                .iter()
                .filter_map(|event| event.rule.clone())
                .collect(),
            events.iter().filter(admitted).count(),
        )
    }
}

#[test]
fn a_supervisor_believes_no_envelope_on_any_way_of_launching() {
    let bench = Bench::new();
    let signer = keys::host_signer(&bench.home).unwrap();
    let stranger = SigningKey::from_seed(&[7; 32]);
    let image = Digest::of(b"image").to_string();
    let mut expected = Vec::new();
    for path in LaunchPath::ALL {
        let launch = bench.launch(path, &image);
        let sign = |key: &SigningKey| {
            let limits = TimeLimits::default();
            plan::propose(&launch, Profile::Standard, limits, 60, key).unwrap()
        };
        let good = sign(&signer);
        let envelope = Envelope::read(good.as_bytes()).unwrap();
        let payload = envelope.unverified_payload().to_vec();
        let resealed = |payload_type: &str, payload: &[u8]| {
            let sealed = dsse::seal(payload_type, payload, &signer).unwrap();
            String::from_utf8(sealed).unwrap()
        };
        let edited = |from: &str, to: &str| {
            let text = String::from_utf8(payload.clone()).unwrap();
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            resealed(PLAN_TYPE, changed.as_bytes())
        };
        let attacks = [
            (String::new(), "A-002"),
            (
                good.replacen("\"payload\":\"e", "\"payload\":\"f", 1),
                "A-011",
            ),
            (sign(&stranger), "A-006"),
            (resealed("application/json", &payload), "A-005"),
            (edited("{\"agent_version\"", "{ \"agent_version\""), "A-016"),
            (edited("\"version\":1", "\"version\":2"), "A-017"),
            (
                edited("{\"agent_version\"", "{\"aaa\":1,\"agent_version\""),
                "A-018",
            ),
            (edited("\"not_after\":1", "\"not_after\":0"), "A-012"),
            // No store has it: what is signed by this host is not believed of this host either.
            (good, "A-037"),
        ];
        for (envelope, rule) in attacks {
            assert_eq!(bench.denied(&envelope, &launch), rule, "{path:?}");
            expected.push(rule.to_owned());
        }
    }
    // Each denial is in the log under its rule; nothing was admitted, and no nonce is spent.
    assert_eq!(bench.recorded(), (expected, 0));
}
