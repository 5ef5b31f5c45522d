//! The codes of findings, with what each means. Codes of rules of the workload itself are those of
//! `mvm_contract::workload::WorkloadFlaw`.

/// Every code of the compiler's own, in alphabetical order.
pub const CODES: &[(&str, &str)] = &[
    (
        "E_APP_ARGUMENT_TWICE",
        "a further function of an app says something of the whole app",
    ),
    (
        "E_ARGUMENT_CHOICE",
        "an argument is not one of the words it can be",
    ),
    (
        "E_ARGUMENT_MISSING",
        "an argument that is needed is not given",
    ),
    (
        "E_ARGUMENT_RANGE",
        "a number is larger or smaller than its argument can be",
    ),
    ("E_ARGUMENT_TWICE", "one thing is given twice"),
    (
        "E_ARGUMENT_TYPE",
        "a value is of another type than its argument",
    ),
    (
        "E_CONDITIONAL",
        "whether something is declared is not known before the file runs",
    ),
    ("E_CONSTANT_CYCLE", "a constant is made of itself"),
    ("E_DECORATED_TWICE", "a function is declared twice"),
    (
        "E_DOCUMENT",
        "the workload is larger or deeper than a document can be",
    ),
    (
        "E_FILES_APART",
        "files of one workload are in several directories",
    ),
    (
        "E_FILE_OUTSIDE_SOURCE",
        "a function's file is not in the app's source",
    ),
    ("E_INTERNAL", "the compiler itself failed"),
    ("E_KEY_TWICE", "a map has a key twice"),
    (
        "E_LANGUAGE",
        "a function is said to be in another language than it is",
    ),
    (
        "E_LOCKFILE_NOT_FOUND",
        "a lockfile is not where it is said to be",
    ),
    ("E_NESTED", "a declaration is not at the top level"),
    (
        "E_NOTHING_DECORATED",
        "a declaration of a function decorates none",
    ),
    ("E_NOT_A_DECORATOR", "a helper decorates a function"),
    ("E_NOT_A_VALUE", "a declaration is used as a value"),
    ("E_NOT_CALLED", "a helper is named and not called"),
    (
        "E_NOT_CONSTANT",
        "an expression has no value before the file runs",
    ),
    (
        "E_NOT_EXPORTED",
        "a function cannot be reached from outside of its module",
    ),
    ("E_NO_APP_NAME", "a function's name makes no name of an app"),
    (
        "E_NO_WORKLOAD_ID",
        "a file's name makes no name of a workload",
    ),
    (
        "E_REASSIGNED",
        "a name is bound several times, or its value changes",
    ),
    ("E_STAR_IMPORT", "the names of mvm are imported all at once"),
    ("E_SYNTAX", "the text is not of its language"),
    ("E_TOO_DEEP", "the text or its constants nest too deeply"),
    (
        "E_TOO_LARGE",
        "the file, or what it declares, is larger than is looked at",
    ),
    (
        "E_TOO_MANY_ARGUMENTS",
        "a call has more positional arguments than are taken",
    ),
    (
        "E_UNKNOWN_ARGUMENT",
        "an argument has a name that is not taken",
    ),
    ("E_UNKNOWN_HELPER", "mvm has no such helper"),
    ("E_UNKNOWN_NAME", "a name is not bound in the file"),
    ("E_UNPINNED_DEPS", "an entry of a lockfile has no hash"),
    ("E_UNREADABLE_LOCKFILE", "a lockfile is not of its form"),
    ("E_UNSUPPORTED_ADDONS", "addons are not supported"),
    (
        "E_UNSUPPORTED_AI_POLICY",
        "policies and budgets of models are not supported",
    ),
    ("E_UNSUPPORTED_BYTES", "bytes cannot be passed as JSON"),
    (
        "E_UNSUPPORTED_CONCURRENCY_IN_PROCESS_MODE",
        "workers that answer several calls at once are not supported",
    ),
    (
        "E_UNSUPPORTED_DERIVE_SCHEMA",
        "schemas are derived without a helper",
    ),
    (
        "E_UNSUPPORTED_EMIT",
        "declarations write nothing themselves",
    ),
    (
        "E_UNSUPPORTED_EXTENSIONS",
        "extensions of workloads are not supported",
    ),
    (
        "E_UNSUPPORTED_EXTRA_IMPORTS",
        "further imports of a function are not supported",
    ),
    (
        "E_UNSUPPORTED_FORMAT",
        "formats of arguments other than JSON are not supported",
    ),
    (
        "E_UNSUPPORTED_FUNCTION",
        "something else than a function that answers once is declared",
    ),
    ("E_UNSUPPORTED_LANGUAGE", "the file's language is not read"),
    (
        "E_UNSUPPORTED_MOUNT",
        "storage of other providers is not supported",
    ),
    (
        "E_UNSUPPORTED_NETWORK_CUSTOM",
        "networks of other providers are not supported",
    ),
    (
        "E_UNSUPPORTED_NETWORK_HOST",
        "an app never shares the host's network",
    ),
    (
        "E_UNSUPPORTED_PARAMETER",
        "a parameter cannot be given as JSON by name",
    ),
    (
        "E_UNSUPPORTED_PEERS",
        "connections between apps are not supported",
    ),
    (
        "E_UNSUPPORTED_PORT_PROTOCOL",
        "ports of other protocols than TCP are not supported",
    ),
    (
        "E_UNSUPPORTED_QUEUE_DEPTH",
        "bounded queues of calls are not supported",
    ),
    (
        "E_UNSUPPORTED_REQUIRE",
        "mvm is loaded in a way that says no names",
    ),
    (
        "E_UNSUPPORTED_SESSIONS",
        "workloads are not reached from declarations",
    ),
    (
        "E_UNSUPPORTED_SIGV4_FIELDS",
        "fields of AWS signatures are not declared",
    ),
    (
        "E_UNSUPPORTED_SOURCE",
        "sources of other kinds are not supported",
    ),
    (
        "E_UNSUPPORTED_THREAT_TIER",
        "tiers of trust are not supported",
    ),
    (
        "E_UNSUPPORTED_TYPE",
        "a type has values that JSON cannot hold",
    ),
    ("E_UNUSED", "what a helper gives is not used"),
    ("E_VARIABLE_NAMES", "a secret's variable has two names"),
    ("E_VOLUME_CONFLICT", "a volume is declared in two ways"),
    ("E_WORKLOAD_TWICE", "the workload is named twice"),
    ("N_APP_NAME", "an app is named after its function"),
    ("N_MORE", "there are more findings than are shown"),
    ("N_PASSED_OVER", "a call does nothing here"),
    (
        "N_PRIMARY",
        "the first entrypoint is taken as the primary one",
    ),
    ("N_WORKLOAD_ID", "the workload is named after its file"),
    (
        "W_SCHEMA_LEFT_OUT",
        "a type is deeper than a schema can be; any value is taken",
    ),
    (
        "W_UNKNOWN_HINT",
        "a type has no form in JSON that is known; any value is taken",
    ),
];

/// What a code of the compiler's own means.
#[must_use]
pub fn meaning(code: &str) -> Option<&'static str> {
    let found = CODES.iter().find(|(it, _)| *it == code);
    found.map(|(_, meaning)| *meaning)
}
