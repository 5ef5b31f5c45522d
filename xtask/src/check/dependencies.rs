//! Dependencies between the crates of the workspace go one way.

use cargo_metadata::{DependencyKind, Metadata};

use super::Finding;

/// Which of our crates a crate may use. A crate that is not in the table may use none; new crates
/// are entered here, which is where their place is decided.
const ALLOWED: &[(&str, &[&str])] = &[
    ("mvm-contract", &[]),
    ("mvm-wire", &[]),
    ("mvm-compiler", &["mvm-contract"]),
    ("mvm-admission", &["mvm-contract"]),
    ("mvm-image", &["mvm-contract"]),
    ("mvm-vmm", &["mvm-contract"]),
    ("mvm-egress", &["mvm-contract"]),
    (
        "mvm-runtime",
        &[
            "mvm-admission",
            "mvm-image",
            "mvm-vmm",
            "mvm-egress",
            "mvm-wire",
            "mvm-contract",
        ],
    ),
    (
        "mvm-workload",
        &["mvm-runtime", "mvm-image", "mvm-compiler", "mvm-contract"],
    ),
    (
        "mvm-api",
        &[
            "mvm-runtime",
            "mvm-workload",
            "mvm-compiler",
            "mvm-contract",
        ],
    ),
    (
        "mvmctl",
        &[
            "mvm-runtime",
            "mvm-workload",
            "mvm-api",
            "mvm-compiler",
            "mvm-contract",
        ],
    ),
    ("mvm", &["mvm-runtime", "mvm-contract"]),
    ("mvm-agent", &["mvm-wire"]),
    ("xtask", &[]),
];

/// Folders whose crates may use everything: they ship nothing.
const FREE: [&str; 2] = ["tests", "bench"];

pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let packages = metadata.workspace_packages();
    let ours: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut findings = Vec::new();
    for package in &packages {
        let folder = package
            .manifest_path
            .strip_prefix(&metadata.workspace_root)
            .unwrap_or(&package.manifest_path);
        if folder
            .components()
            .next()
            .is_some_and(|first| FREE.contains(&first.as_str()))
        {
            continue;
        }
        let name = package.name.as_str();
        let allowed = ALLOWED
            .iter()
            .find(|(name_in_table, _)| *name_in_table == name);
        if allowed.is_none() {
            findings.push(Finding::new(
                package.manifest_path.as_std_path(),
                format!("crate `{name}` is not in the dependency table of `xtask/src/check/dependencies.rs`"),
            ));
        }
        let allowed = allowed.map_or(&[][..], |(_, allowed)| allowed);
        for dependency in &package.dependencies {
            // Tests may look at a crate from anywhere; what ships may not.
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let used = dependency.name.as_str();
            if ours.contains(&used) && !allowed.contains(&used) {
                findings.push(Finding::new(
                    package.manifest_path.as_std_path(),
                    format!("`{name}` may not depend on `{used}`"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_circle() {
        fn reaches(from: &str, to: &str, depth: usize) -> bool {
            assert!(depth < ALLOWED.len(), "a circle through `{from}`");
            let uses = ALLOWED
                .iter()
                .find(|(name, _)| *name == from)
                .map_or(&[][..], |(_, uses)| uses);
            uses.iter()
                .any(|used| *used == to || reaches(used, to, depth + 1))
        }
        for (name, _) in ALLOWED {
            assert!(!reaches(name, name, 0), "`{name}` reaches itself");
        }
    }
}
