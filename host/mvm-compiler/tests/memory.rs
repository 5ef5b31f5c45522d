//! Memory grows with the file, not with the product of its parts. A program of its own: what it
//! takes at most is that of the process.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;

use mvm_compiler::{SourceFile, compile};

/// The most that any file may take, in MiB.
const LIMIT: u64 = 200;

#[test]
fn many_names_of_a_module_with_a_long_name_take_little() {
    let long = "a".repeat(200_000);
    let names = |separator: &str| {
        let names: Vec<_> = (0..20_000).map(|number| format!("b{number}")).collect();
        names.join(separator)
    };
    let names = names(", ");
    for (path, text) in [
        ("app.py", format!("from {long} import {names}\n")),
        ("app.py", format!("from {long}, {names}\n")),
        ("app.ts", format!("import {{ {names} }} from \"{long}\";\n")),
        ("app.rs", format!("use {long}::{{{names}}};\n")),
    ] {
        let compiled = compile(&[SourceFile {
            path: path.to_owned(),
            text,
        }]);
        assert!(compiled.workload.is_none(), "it declares nothing");
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak: u64 = peak
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        assert!(peak / 1024 < LIMIT, "{path}: {} MiB", peak / 1024);
    }
}
