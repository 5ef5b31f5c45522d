//! The helpers of mvm: one function each, from arguments to a part of a workload.

mod arguments;
mod entrypoint;
mod environment;
mod image;
mod lifecycle;
mod network;
mod resources;
mod storage;
mod unsupported;

use crate::{
    Diagnostic,
    syntax::Span,
    value::{Piece, Placed},
};

pub(crate) use arguments::{Arguments, Takes};
pub(crate) use entrypoint::{Schemas, format, json_of, language, warm_of};
pub(crate) use environment::variables;
pub(crate) use image::image_of;
pub(crate) use lifecycle::{hooks_of, restart_of};
pub(crate) use storage::{mounts_of, volume_of};
pub(crate) use unsupported::is_pointless;

/// A helper.
pub(crate) struct Helper {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) make: fn(&mut Arguments) -> Option<Placed<Piece>>,
}

/// Names that declare something and are no helpers.
pub(crate) const DECLARATIONS: [&str; 3] = ["workload", "app", "func"];

/// A helper with its positional and its further named arguments. `a|b` is an argument `a` that can
/// also be called `b`.
const fn helper(
    name: &'static str,
    positional: &'static [&'static str],
    named: &'static [&'static str],
    make: fn(&mut Arguments) -> Option<Placed<Piece>>,
) -> Helper {
    Helper {
        name,
        takes: Takes { positional, named },
        make,
    }
}

/// Every helper.
pub(crate) const HELPERS: &[Helper] = &[
    helper(
        "local_path",
        &["path"],
        &["include", "exclude"],
        image::local_path,
    ),
    helper("image", &["reference"], &[], image::image),
    helper("debian", &["name"], &[], image::debian),
    helper("oci_image", &["reference"], &["digest"], image::oci_image),
    helper(
        "python_image",
        &["python|version"],
        &["packages"],
        image::python_image,
    ),
    helper(
        "node_image",
        &["node|version"],
        &["packages"],
        image::node_image,
    ),
    helper("nix_packages", &["packages"], &[], image::nix_packages),
    helper(
        "resources",
        &[
            "vcpus|cpu_cores|cpu|cpus",
            "memory_mib|memory_mb",
            "disk_mib|rootfs_size_mb|rootfs_size_mib|disk_mb",
        ],
        &[],
        resources::resources,
    ),
    helper(
        "network",
        &["mode"],
        &["egress", "ports", "dns"],
        network::network,
    ),
    helper("egress", &["allowlist|hosts"], &[], network::egress),
    helper(
        "host_port",
        &["host", "port"],
        &["protocol|proto"],
        network::host_port,
    ),
    helper(
        "port",
        &["guest|guest_port"],
        &["host|host_port", "address", "proto|protocol"],
        network::port,
    ),
    helper("dns_none", &[], &[], network::dns_none),
    helper("dns_system", &[], &[], network::dns_system),
    helper(
        "dns_resolver",
        &["host", "port"],
        &[],
        network::dns_resolver,
    ),
    helper("literal", &["value"], &[], environment::literal),
    helper(
        "secret",
        &["name"],
        &["type", "hosts|allowed_hosts", "var"],
        environment::secret,
    ),
    helper(
        "hook",
        &["run|command|line"],
        &[
            "timeout_seconds|timeout|timeout_secs",
            "working_directory|working_dir",
            "environment|env",
        ],
        lifecycle::hook,
    ),
    helper(
        "health_check",
        &["command"],
        &[
            "interval_seconds|interval_secs|interval",
            "timeout_seconds|timeout_secs|timeout",
            "retries",
            "start_period_seconds|start_period_secs|start_period",
        ],
        lifecycle::health_check,
    ),
    helper("restart", &["policy"], &[], lifecycle::restart),
    helper(
        "entrypoint",
        &["command"],
        &[
            "name",
            "primary",
            "working_directory|working_dir",
            "environment|env",
        ],
        entrypoint::command,
    ),
    helper(
        "entrypoint_function",
        &["module", "function"],
        &[
            "name",
            "language",
            "format",
            "primary",
            "working_directory|working_dir",
            "environment|env",
            "arguments_schema|args_schema",
            "result_schema|return_schema",
            "warm|concurrency",
        ],
        entrypoint::function,
    ),
    helper(
        "warm_process",
        &[],
        &[
            "pool_size",
            "max_calls_per_worker",
            "max_memory_mib|max_rss_mb|max_rss_mib",
            "in_process",
        ],
        entrypoint::warm_process,
    ),
    helper("python_deps", &["lockfile"], &["tool"], image::python_deps),
    helper("node_deps", &["lockfile"], &["tool"], image::node_deps),
    helper("no_deps", &[], &[], image::no_deps),
    helper(
        "volume",
        &["name"],
        &["size_mib|size_mb", "persistent|persist"],
        storage::volume,
    ),
    helper("host_path", &["path"], &[], storage::host_path),
    helper("tmpfs", &["size_mib|size_mb"], &[], storage::tmpfs),
    helper(
        "mount",
        &["source", "target"],
        &["read_only", "mode"],
        storage::mount,
    ),
    helper(
        "file",
        &["path", "content|text"],
        &["content_base64|bytes_b64", "mode"],
        storage::file,
    ),
];

/// A helper that is not there, and why; it gets its place with [`Missing::at`].
#[derive(Debug)]
pub(crate) struct Missing {
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Missing {
    /// What is said at a place.
    pub(crate) fn at(self, span: Span) -> Diagnostic {
        let report = Diagnostic::error(self.code, span, self.message);
        match self.hint {
            Some(hint) => report.hint(hint),
            None => report,
        }
    }
}

/// The helper of a name.
pub(crate) fn helper_named(name: &str) -> Result<&'static Helper, Missing> {
    if let Some(helper) = HELPERS.iter().find(|helper| helper.name == name) {
        return Ok(helper);
    }
    if DECLARATIONS.contains(&name) {
        return Err(Missing {
            code: "E_NOT_A_VALUE",
            message: format!("`{name}` declares something and is not a value"),
            hint: Some("decorate a function with it, or let it stand alone".to_owned()),
        });
    }
    if let Some((code, message, hint)) = unsupported::helper(name) {
        return Err(Missing {
            code,
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
        });
    }
    let names = HELPERS.iter().map(|helper| helper.name).chain(DECLARATIONS);
    Err(Missing {
        code: "E_UNKNOWN_HELPER",
        message: format!("mvm has no helper `{name}`"),
        hint: nearest(name, names).map(|near| format!("did you mean `{near}`?")),
    })
}

/// The name most like another one, if one is.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A name is compared with a few dozen others; one that is far too long is like none of them.
    if name.len() > 64 {
        return None;
    }
    names
        .map(|other| (distance(name, other), other))
        .filter(|(distance, other)| *distance <= 1 + other.len().max(name.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// How many letters are put in, left out, changed or swapped with their neighbour (Damerau and
/// Levenshtein, neighbours only).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let changed = usize::from(left[i - 1] != right[j - 1]);
                    let mut best = (rows[i - 1][j] + 1)
                        .min(rows[i][j - 1] + 1)
                        .min(rows[i - 1][j - 1] + changed);
                    let swapped = i > 1
                        && j > 1
                        && left[i - 1] == right[j - 2]
                        && left[i - 2] == right[j - 1];
                    if swapped {
                        best = best.min(rows[i - 2][j - 2] + 1);
                    }
                    best
                }
            };
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_alike_are_found() {
        let names = || HELPERS.iter().map(|helper| helper.name);
        assert_eq!(nearest("egres", names()), Some("egress"));
        assert_eq!(nearest("local_apth", names()), Some("local_path"));
        assert_eq!(nearest("quantum", names()), None);
    }
}
