//! What other declarations of this form can say and this version cannot: refused by name, with what
//! to do instead, never ignored.

/// A code, what is not supported, and what to do instead.
type Refusal = (&'static str, &'static str, &'static str);

/// Helpers that are refused.
pub(super) fn helper(name: &str) -> Option<Refusal> {
    Some(match name {
        "addon_use" | "addon" => (
            "E_UNSUPPORTED_ADDONS",
            "addons are not supported",
            "declare another app, or put what the addon does into the image",
        ),
        "ai_policy" | "ai_budget" => (
            "E_UNSUPPORTED_AI_POLICY",
            "policies and budgets of models are not supported",
            "grant the model's host with `egress` and bind its key to that host with `secret`",
        ),
        "peer" | "peers" => (
            "E_UNSUPPORTED_PEERS",
            "connections between apps are not supported",
            "offer a port of one app and grant its host and port to the other",
        ),
        "derive_schema" => (
            "E_UNSUPPORTED_DERIVE_SCHEMA",
            "schemas are derived from type hints without a helper",
            "leave it out, and give the parameters type hints",
        ),
        "workload_ref" | "session" | "current_session_id" => (
            "E_UNSUPPORTED_SESSIONS",
            "workloads are not reached from a declaration",
            "call the function with `.remote(…)`, or use the runtime SDK",
        ),
        "emit_json" | "reset" => (
            "E_UNSUPPORTED_EMIT",
            "a declaration writes nothing itself",
            "run `mvmctl compile` on the file",
        ),
        "nix_derivation" => (
            "E_UNSUPPORTED_SOURCE",
            "a Nix expression is not a source",
            "use `image(\"nix:FLAKE#ATTRIBUTE\")` for the image and `local_path` for the source",
        ),
        "external" => (
            "E_UNSUPPORTED_MOUNT",
            "storage of other providers cannot be mounted",
            "use `volume`, `host_path` or `tmpfs`",
        ),
        _ => return None,
    })
}

/// Arguments that are refused.
pub(super) fn argument(helper: &str, name: &str) -> Option<Refusal> {
    Some(match (helper, name) {
        ("app" | "func", "addons") => self::helper("addon_use")?,
        ("app" | "func", "threat_tier") => (
            "E_UNSUPPORTED_THREAT_TIER",
            "`threat_tier` is not supported: every app is untrusted",
            "leave it out; a policy of the host says what plans may do",
        ),
        ("network", "peers") => self::helper("peers")?,
        ("network", "ai") => self::helper("ai_policy")?,
        ("func" | "entrypoint_function", "extra_imports") => (
            "E_UNSUPPORTED_EXTRA_IMPORTS",
            "`extra_imports` is not supported",
            "import the modules in the function's module",
        ),
        ("warm_process", "max_queue_depth") => (
            "E_UNSUPPORTED_QUEUE_DEPTH",
            "`max_queue_depth` is not supported",
            "leave it out; a call waits for a free worker until its own timeout",
        ),
        ("workload", "extensions") => (
            "E_UNSUPPORTED_EXTENSIONS",
            "`extensions` are not supported",
            "leave them out",
        ),
        ("secret", "sigv4") => (
            "E_UNSUPPORTED_SIGV4_FIELDS",
            "the fields of AWS signatures belong to the secret, not to its declaration",
            "store them with the secret, and say `type=\"sigv4\"` here",
        ),
        _ => return None,
    })
}

/// Whether a call that stands alone says nothing about the workload, so that it can be passed over
/// with a note.
pub(crate) fn is_pointless(helper: &str) -> bool {
    matches!(helper, "emit_json" | "reset")
}
