//! The verifier in Python (`tests/verify/mvm_verify.py`) and ours say the same of every plan,
//! receipt and log, good or damaged; and standard tools sign plans that are admitted.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mvm_admission::Admission;
use mvm_contract::{
    Digest, RunId, SandboxId, SigningKey,
    audit::{Chain, Event, EventKind, LogId, verify_log},
    canonical, dsse,
    plan::{LaunchPath, Profile},
    receipt::{
        self, EgressSummary, Exit, ExitReason, Isolation, Output, ReceiptFlaw, ReceiptPredicate,
    },
    trust::TrustRoots,
};

use crate::corpus::{self, Case};

/// The Python with the libraries that the tests use, when it is not the one that
/// `scripts/install-requirements test` made.
const MVM_TEST_PYTHON: &str = "MVM_TEST_PYTHON";
/// Within the span of every trusted key.
const NOW_MS: u64 = 1_800_000_000_000;

fn python() -> String {
    std::env::var(MVM_TEST_PYTHON).unwrap_or_else(|_| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let program = target.join("test-python/bin/python");
        assert!(program.exists(), "run `scripts/install-requirements test`");
        program.to_str().unwrap().to_owned()
    })
}

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Files for the other verifier, and what ours says of them.
struct Cases {
    folder: PathBuf,
    lines: String,
    expected: Vec<(String, String)>,
}

impl Cases {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            lines: String::new(),
            expected: Vec::new(),
        }
    }

    fn add(&mut self, kind: &str, name: &str, parts: &[&[u8]], rest: &[String], verdict: &str) {
        let mut line = vec![kind.to_owned()];
        for (number, bytes) in parts.iter().enumerate() {
            let path = self.folder.join(format!("{name}-{number}"));
            fs::write(&path, bytes).unwrap();
            line.push(path.to_str().unwrap().to_owned());
        }
        line.extend_from_slice(rest);
        self.lines.push_str(&serde_json::to_string(&line).unwrap());
        self.lines.push('\n');
        self.expected.push((name.to_owned(), verdict.to_owned()));
    }

    /// What the other says, translated, must be what ours says.
    fn compare(self, python: &str, translate: impl Fn(&str) -> String) {
        let script = corpus::repository().join("tests/verify/mvm_verify.py");
        let said = run(
            python,
            &[script.to_str().unwrap(), "-"],
            self.lines.as_bytes(),
        );
        let said: Vec<String> = String::from_utf8(said)
            .unwrap()
            .lines()
            .map(translate)
            .collect();
        assert_eq!(said.len(), self.expected.len(), "a verdict for each case");
        for ((name, expected), said) in self.expected.iter().zip(said) {
            assert_eq!(&said, expected, "{name}: Python left, Rust right");
        }
    }
}

#[test]
fn the_verifier_stays_small() {
    let script = corpus::repository().join("tests/verify/mvm_verify.py");
    let text = fs::read_to_string(script).unwrap();
    assert!(text.lines().count() <= 150, "{}", text.lines().count());
}

#[test]
fn plans_are_authentic_for_both_or_neither() {
    let python = python();
    let mut cases = Cases::new("plans");
    for (name, case) in corpus::attacks().into_iter().chain(corpus::good_plans()) {
        let built = case.build();
        let verdict = match built.admit() {
            // Above A-017 are the rules that need the plan's schema, a host, or its policy.
            Admission::Denied(denial) if denial.rule.number() <= 17 => denial.rule.to_string(),
            _ => "ok".to_owned(),
        };
        let roots = serde_json::to_vec(&built.roots).unwrap();
        let now = [built.now.to_string()];
        cases.add("plan", &name, &[&built.envelope, &roots], &now, &verdict);
    }
    cases.compare(&python, str::to_owned);
}

fn predicate() -> ReceiptPredicate {
    let output = |content: &[u8]| Output {
        digest: Digest::of(content),
        bytes: content.len() as u64,
    };
    ReceiptPredicate {
        run: RunId::from_random(1),
        sandbox: SandboxId::from_random(2),
        plan_digest: Digest::of(b"plan"),
        image_digest: Digest::of(b"image"),
        host: corpus::key("host").public_key().id(),
        principal: "ci@example.org".to_owned(),
        profile: Profile::Standard,
        launch_path: LaunchPath::Boot,
        started_at_ms: NOW_MS,
        duration_ms: 12,
        exit: Exit {
            reason: ExitReason::Exited,
            status: Some(3),
        },
        outputs: BTreeMap::from([
            ("stderr".to_owned(), output(b"")),
            ("stdout".to_owned(), output(b"42\n")),
        ]),
        egress: EgressSummary::default(),
        isolation: Isolation::Emulated,
        jail: BTreeMap::from([("seccomp".to_owned(), true)]),
    }
}

#[test]
fn receipts_are_good_for_both_or_neither() {
    let python = python();
    let built = Case::default().build();
    let good = predicate().seal(&corpus::key("host")).unwrap();
    let mut early = predicate();
    early.started_at_ms = 1;
    let payload = |edit: fn(String) -> String| {
        let envelope: serde_json::Value = serde_json::from_slice(&good).unwrap();
        let text = decode(envelope["payload"].as_str().unwrap());
        let edited = edit(text.clone());
        assert_ne!(edited, text);
        dsse::seal(
            dsse::STATEMENT_TYPE,
            edited.as_bytes(),
            &corpus::key("host"),
        )
        .unwrap()
    };
    let text = String::from_utf8(good.clone()).unwrap();
    let flipped = text.replacen("\"payload\":\"eyJf", "\"payload\":\"eyJg", 1);
    assert_ne!(flipped, text);
    let damaged: [(&str, Vec<u8>); 13] = [
        ("good", good.clone()),
        (
            "witness",
            predicate().seal(&corpus::key("witness")).unwrap(),
        ),
        ("plan-key", predicate().seal(&corpus::key("ci")).unwrap()),
        (
            "stranger",
            predicate().seal(&corpus::key("stranger")).unwrap(),
        ),
        ("early", early.seal(&corpus::key("host")).unwrap()),
        ("flipped", flipped.into_bytes()),
        ("empty", Vec::new()),
        ("plan", built.envelope.clone()),
        ("spaced", payload(|text| text + " ")),
        (
            "exit-edited",
            payload(|text| text.replace("\"_type\":\"https", "\"_type\":\"http")),
        ),
        (
            "subject-edited",
            payload(|text| text.replace("\"name\":\"plan\"", "\"name\":\"plane\"")),
        ),
        (
            "other-predicate",
            payload(|text| text.replace("receipt:v1", "receipt:v2")),
        ),
        (
            "no-digest",
            payload(|text| text.replace("\"plan_digest\"", "\"plan_digist\"")),
        ),
    ];
    let mut cases = Cases::new("receipts");
    let roots = serde_json::to_vec(&built.roots).unwrap();
    for (name, envelope) in damaged {
        let verdict = match receipt::verify(&envelope, &built.roots) {
            Ok(_) => "ok",
            Err(flaw) => flaw.as_str(),
        };
        assert_eq!(
            verdict == "ok",
            ["good", "witness"].contains(&name),
            "{name}"
        );
        cases.add("receipt", name, &[&envelope, &roots], &[], verdict);
    }
    cases.compare(&python, |said| {
        let flaw = match said {
            "A-001" | "A-002" | "A-003" | "A-004" => ReceiptFlaw::NotAnEnvelope,
            "A-005" => ReceiptFlaw::PayloadType,
            "A-006" | "A-007" => ReceiptFlaw::UnknownKey,
            "A-011" => ReceiptFlaw::Signature,
            said => return said.to_owned(),
        };
        flaw.as_str().to_owned()
    });
}

fn decode(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    String::from_utf8(bytes.unwrap()).unwrap()
}

/// A log of `count` records, and its end.
fn log(count: u64, kind: EventKind, identity: u128, key: &SigningKey) -> (Vec<Vec<u8>>, Chain) {
    let mut chain = Chain::start(LogId::from_random(identity), None);
    let mut lines = Vec::new();
    for number in 0..count {
        let (line, next) = chain
            .append(Event::new(kind), NOW_MS + number, key)
            .unwrap();
        lines.push(line);
        chain = next;
    }
    (lines, chain)
}

#[test]
fn logs_are_the_same_to_both() {
    let python = python();
    let (host, witness) = (corpus::key("host"), corpus::key("witness"));
    let roots: TrustRoots = Case::default().build().roots;
    let roots_text = serde_json::to_vec(&roots).unwrap();
    let mut cases = Cases::new("logs");
    let mut seen = BTreeMap::<String, usize>::new();
    let mut add = |name: String, log: &[u8], note: Option<&[u8]>| {
        let verdict = verify_log(log, note, &roots).as_str();
        *seen.entry(verdict.to_owned()).or_default() += 1;
        let mut parts = vec![log, &roots_text];
        parts.extend(note);
        cases.add("log", &name, &parts, &[], verdict);
    };
    for count in 0..9 {
        let (lines, chain) = log(count, EventKind::PlanAdmitted, 1, &host);
        let note = chain.checkpoint(&witness);
        let other = log(count, EventKind::PlanDenied, 1, &host).0;
        let bytes = lines.concat();
        add(format!("sealed-{count}"), &bytes, Some(&note));
        add(format!("unsealed-{count}"), &bytes, None);
        add(format!("forked-{count}"), &other.concat(), Some(&note));
        let (longer, _) = log(count + 2, EventKind::PlanAdmitted, 1, &host);
        add(format!("behind-{count}"), &longer.concat(), Some(&note));
        for place in 0..lines.len() {
            let mut edited = lines.clone();
            let text = String::from_utf8(edited[place].clone()).unwrap();
            edited[place] = text.replace("admitted", "denied").into_bytes();
            add(
                format!("edited-{count}-{place}"),
                &edited.concat(),
                Some(&note),
            );
            let mut removed = lines.clone();
            removed.remove(place);
            add(
                format!("removed-{count}-{place}"),
                &removed.concat(),
                Some(&note),
            );
            let mut swapped = lines.clone();
            swapped.swap(0, place);
            add(
                format!("swapped-{count}-{place}"),
                &swapped.concat(),
                Some(&note),
            );
            let mut spliced = lines.clone();
            spliced[place..].clone_from_slice(&other[place..]);
            add(format!("spliced-{count}-{place}"), &spliced.concat(), None);
            let mut repeated = lines.clone();
            repeated.push(lines[place].clone());
            add(
                format!("repeated-{count}-{place}"),
                &repeated.concat(),
                Some(&note),
            );
        }
        if count > 0 {
            add(format!("torn-{count}"), &bytes[..bytes.len() - 1], None);
            add(
                format!("cut-{count}"),
                &bytes[..bytes.len() - 9],
                Some(&note),
            );
        }
        let foreign = log(count, EventKind::PlanAdmitted, 2, &host).1;
        add(
            format!("foreign-{count}"),
            &bytes,
            Some(&foreign.checkpoint(&host)),
        );
        for signer in ["ci", "stranger"] {
            let signer_key = corpus::key(signer);
            let note = chain.checkpoint(&signer_key);
            add(format!("sealed-by-{signer}-{count}"), &bytes, Some(&note));
            let (lines, chain) = log(count, EventKind::PlanAdmitted, 1, &signer_key);
            let note = chain.checkpoint(&host);
            add(format!("by-{signer}-{count}"), &lines.concat(), Some(&note));
        }
        let text = String::from_utf8(note.clone()).unwrap();
        for (from, to) in [
            ("\u{2014} ", "- "),
            ("\n\n", "\nmore\n\n"),
            ("audit/", "audit/0"),
        ] {
            let damaged = text.replacen(from, to, 1);
            add(
                format!("note-{}-{count}", from.len()),
                &bytes,
                Some(damaged.as_bytes()),
            );
        }
        add(
            format!("blank-line-{count}"),
            &[&bytes[..], b"\n"].concat(),
            Some(&note),
        );
    }
    for verdict in [
        "intact",
        "unsealed",
        "edited",
        "untrusted",
        "forked",
        "reordered",
        "removed",
        "checkpoint-invalid",
        "truncated",
    ] {
        assert!(seen.contains_key(verdict), "no log is {verdict}");
    }
    cases.compare(&python, str::to_owned);
}

#[test]
fn plans_that_standard_tools_sign_are_admitted() {
    let script = corpus::repository().join("tests/verify/sign_plan.py");
    for library in ["cryptography", "securesystemslib"] {
        let python = python();
        let built = Case::default().build();
        let Admission::Admitted(admitted) = built.admit() else {
            panic!("denied");
        };
        let plan = canonical::to_bytes(admitted.plan()).unwrap();
        let arguments = [script.to_str().unwrap(), library, &corpus::seed("ci")];
        let envelope = run(&python, &arguments, &plan);
        match mvm_admission::admit(&built.request(&envelope)) {
            Admission::Admitted(other) => assert_eq!(other.digest(), admitted.digest()),
            Admission::Denied(denial) => panic!("{library}: {} {}", denial.rule, denial.reason),
        }
    }
}
