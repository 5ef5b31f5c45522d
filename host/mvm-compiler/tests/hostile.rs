//! Inputs made to overflow, hang or mislead the front ends: each comes to findings, in bounded time.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::{Duration, Instant};

use mvm_compiler::{Compilation, MAX_SOURCE_BYTES, Severity, SourceFile, compile, to_javascript};
use proptest::prelude::*;

/// What is nested: what stands before, what is repeated, what stands inside, what closes each.
const TYPESCRIPT: &[[&str; 4]] = &[
    ["x = ", "[", "", "]"],
    ["x = ", "(", "1", ")"],
    ["type T = ", "[", "", "]"],
    ["type T = ", "(", "1", ")"],
    ["x = ", "`${", "1", "}`"],
    ["x = ", "{ a: ", "1", "}"],
    ["", "{", "", "}"],
    ["x = ", "!", "1", ""],
    ["x = ", "- ", "1", ""],
    ["x = ", "a ? b : ", "1", ""],
    ["x = ", "a => ", "1", ""],
    ["x = ", "async () => ", "1", ""],
    ["x = ", "() => {", "1", "}"],
    ["x = ", "a ** ", "1", ""],
    ["x = ", "a + ", "1", ""],
    ["x = ", "a = ", "1", ""],
    ["x = a", ".b", "", ""],
    ["x = a", "()", "", ""],
    ["x = a", "[0]", "", ""],
    ["x = ", "typeof ", "1", ""],
    ["x = ", "new ", "A", ""],
    ["x = ", "await ", "1", ""],
    ["x = ", "a < ", "1", ""],
    ["x = ", "(a = (", "1", "))"],
    ["x = ", "(a, ", "1", ")"],
    ["x = ", "<T,>(a) => ", "1", ""],
    ["x = ", "function () { return ", "1", "}"],
    ["x = ", "class { a = ", "1", "}"],
    ["type T = ", "A<", "B", ">"],
    ["type T = ", "keyof ", "A", ""],
    ["type T = ", "() => ", "A", ""],
    ["type T = ", "A extends B ? C : ", "D", ""],
    ["type T = ", "A | ", "B", ""],
    ["type T = A", "[]", "", ""],
    ["let ", "[", "a", "] = 1"],
    ["", "if (a) ", ";", ""],
    ["", "if (a) ; else ", ";", ""],
    ["", "a: ", ";", ""],
    ["", "do ", ";", " while (1)"],
    ["", "namespace A {", "", "}"],
    ["", "@f(", "1", ")"],
    ["x = '", "\\", "", "'"],
    ["", "/*", "", "*/"],
    ["x = ", "/", "", ""],
    ["x = ", "'", "", ""],
    ["import { ", "a, ", "b } from 'c'", ""],
    ["export const f = ", "mvm.app({})(", "g", ")"],
];

const RUST: &[[&str; 4]] = &[
    ["const X: A = ", "[", "1", "]"],
    ["const X: A = ", "(", "1", ")"],
    ["const X: A = ", "!", "1", ""],
    ["const X: A = ", "- ", "1", ""],
    ["const X: A = ", "&", "a", ""],
    ["const X: A = ", "|| ", "1", ""],
    ["const X: A = ", "f(", "1", ")"],
    ["const X: A = ", "async {", "1", "}"],
    ["const X: A = a", "?", "", ""],
    ["const X: A = a", ".b()", "", ""],
    ["type T = ", "(", "u8", ")"],
    ["type T = ", "[", "u8", "]"],
    ["type T = ", "&", "u8", ""],
    ["type T = ", "A<", "B", ">"],
    ["type T = ", "fn() -> ", "u8", ""],
    ["type T = ", "<", "A", " as B>::C"],
    ["type T = ", "impl A<B = ", "u8", ">"],
    ["fn f() { ", "{", "", "}"],
    ["fn f() { ", "a = ", "1", ""],
    ["fn f() { ", "break ", "1", ""],
    ["fn f() { ", "if a {} else ", "{}", ""],
    ["fn f() { x = ", "a + ", "1", ""],
    ["fn f() { ", "match a { _ => ", "1", "}"],
    ["fn f() { let ", "(", "a", ") = 1"],
    ["use ", "a::{", "b", "}"],
    ["use ", "a::", "b", ""],
    ["", "mod a {", "", "}"],
    ["", "fn f() {", "", "}"],
    ["", "m!{", "", "}"],
    ["", "/*", "", "*/"],
    ["#[mvm::app(x = ", "[", "1", "])] fn f() {}"],
    ["#[mvm::app(x = ", "a(", "1", "))] fn f() {}"],
    ["mvm::workload!(", "{ a: ", "1", "}"],
];

const RUST_PIECES: &[&str] = &[
    "use mvm::{self, app};\n",
    "mvm::workload!(id = \"w\");\n",
    "#[mvm::app(",
    "#[mvm::func]\n",
    "#![mvm::workload(id = 1)]",
    "name = \"x\"",
    "env(A = \"b\", ",
    "image = debian(\"python\")",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ")]\n",
    "pub fn f(a: i64, b: Option<T>) -> Result<T, E> {",
    "#[derive(Serialize)]\n#[serde(rename_all = \"camelCase\")]\nstruct T { a_b: u8 }\n",
    "#[derive(Deserialize)]\nenum T { A, B }\n",
    "const A: &str = ",
    "r#\"x\"#",
    "'a",
    "'",
    "\"",
    "<",
    ">",
    "::",
    ", ",
    ";\n",
    "..",
    "é",
    "0x",
    "1e999",
    "impl A {",
    "mod a {",
    "\n",
];

fn compiled(path: &str, text: String) -> Compilation {
    let begun = Instant::now();
    let compiled = compile(&[SourceFile {
        path: path.to_owned(),
        text,
    }]);
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{path} took {:?}",
        begun.elapsed()
    );
    let failed = compiled
        .diagnostics
        .iter()
        .any(|it| it.severity == Severity::Error);
    assert_eq!(failed, compiled.workload.is_none());
    assert!(
        !compiled
            .diagnostics
            .iter()
            .any(|it| it.code == "E_INTERNAL")
    );
    compiled
}

fn nest(path: &str, forms: &[[&str; 4]], depth: usize) {
    for [before, repeated, inside, closing] in forms {
        for closed in [false, true] {
            let closing = if closed { *closing } else { "" };
            let text = format!(
                "{before}{}{inside}{}",
                repeated.repeat(depth),
                closing.repeat(depth)
            );
            javascript(path, &text);
            compiled(path, text);
        }
    }
}

/// TypeScript comes to JavaScript or to findings, too.
fn javascript(path: &str, text: &str) {
    if path.ends_with(".rs") || path.ends_with(".py") {
        return;
    }
    let begun = Instant::now();
    let written = to_javascript(&SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    assert!(begun.elapsed() < Duration::from_secs(60), "{path}");
    if let Err(found) = written {
        assert!(found.iter().all(|it| it.code != "E_INTERNAL"), "{path}");
        assert!(!found.is_empty());
    }
}

#[test]
fn typescript_nested_a_little_and_a_lot() {
    for depth in [20, 60, 120, 3_000, 40_000] {
        nest("app.ts", TYPESCRIPT, depth);
    }
}

#[test]
fn rust_nested_a_little_and_a_lot() {
    for depth in [20, 60, 120, 3_000, 40_000] {
        nest("app.rs", RUST, depth);
    }
}

#[test]
fn long_numbers_are_findings() {
    let number = "5".repeat(200_000);
    for path in ["app.py", "app.ts", "app.rs"] {
        compiled(path, format!("x = {number}"));
        compiled(path, format!("const X: u8 = {number};"));
        compiled(path, format!("x = {number}n"));
        compiled(path, format!("x = 0.{number}e{number}"));
    }
    let found = compiled("app.rs", format!("const X: u8 = {number};"));
    assert!(found.diagnostics.iter().any(|it| it.code == "E_TOO_LARGE"));
}

#[test]
fn a_megabyte_of_brackets_is_a_finding() {
    for path in ["app.ts", "app.tsx", "app.js", "app.cjs"] {
        let found = compiled(path, "[".repeat(1024 * 1024));
        let codes: Vec<_> = found.diagnostics.iter().map(|it| it.code).collect();
        assert!(codes.contains(&"E_TOO_LARGE"), "{path}: {codes:?}");
        let found = compiled(path, "[".repeat(10_000));
        let codes: Vec<_> = found.diagnostics.iter().map(|it| it.code).collect();
        assert!(codes.contains(&"E_TOO_DEEP"), "{path}: {codes:?}");
    }
    let closed = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let found = compiled("app.rs", format!("const X: A = {closed};"));
    assert!(found.diagnostics.iter().any(|it| it.code == "E_TOO_DEEP"));
}

/// Text that the measure takes for a text or a comment, and the parser for code.
#[test]
fn brackets_that_the_measure_does_not_see_have_a_stack() {
    for hidden in [
        "if (a) /'/; '", // a regular expression where the measure sees a division
        "if (a) /`/; `",
        "if (a) /\"/; \"",
    ] {
        compiled("app.ts", format!("{hidden}{}", "[".repeat(60_000)));
        compiled("app.ts", format!("{hidden}{}", "new ".repeat(60_000)));
    }
    compiled("app.tsx", format!("x = <a>'</a>; {}", "[".repeat(60_000)));
    compiled("app.ts", format!("x = {}1", "new\u{a0}".repeat(60_000)));
}

fn pieces(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|it| it.concat())
}

const TYPESCRIPT_PIECES: &[&str] = &[
    "import * as mvm from \"@mvm/sdk\";\n",
    "import { app as a, secret } from '@mvm/sdk';\n",
    "export const f = mvm.app({ ",
    "export default mvm.app({})(",
    "})(",
    "async function f(a: number, b?: string): Promise<{ x: T }> {",
    "(a, b = 1) => a",
    ");\n",
    "}",
    "name: \"x\"",
    "image: mvm.nodeImage()",
    "interface T { a: number }\n",
    "type T = ",
    "T",
    "Record<string, ",
    ">",
    "<",
    "[",
    "]",
    "(",
    ")",
    "{",
    "`${",
    "`",
    "'",
    "\\",
    "/",
    "é",
    "\u{feff}",
    "\u{2028}",
    "0x",
    "1e999",
    "...",
    ", ",
    " | ",
    "const a = ",
    "mvm.workload({ id: \"w\" });\n",
    "\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_panics(text in ".{0,300}", path in prop::sample::select(&["a.ts", "a.tsx", "a.js", "a.rs", "a.py"][..])) {
        javascript(path, &text);
        compiled(path, text);
    }

    #[test]
    fn no_typescript_panics(text in pieces(TYPESCRIPT_PIECES)) {
        javascript("app.ts", &text);
        javascript("app.tsx", &text);
        compiled("app.ts", text.clone());
        compiled("app.jsx", text);
    }

    #[test]
    fn no_rust_panics(text in pieces(RUST_PIECES)) {
        compiled("app.rs", text);
    }

    #[test]
    fn repeated_typescript_ends(
        text in prop::collection::vec(prop::sample::select(TYPESCRIPT_PIECES), 1..5),
        times in 1_usize..3_000,
    ) {
        let text = text.concat().repeat(times);
        javascript("app.ts", &text);
        compiled("app.ts", text);
    }

    #[test]
    fn repeated_rust_ends(
        text in prop::collection::vec(prop::sample::select(RUST_PIECES), 1..5),
        times in 1_usize..3_000,
    ) {
        compiled("app.rs", text.concat().repeat(times));
    }
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let found = compiled("app.ts", " ".repeat(MAX_SOURCE_BYTES + 1));
    assert!(found.diagnostics.iter().any(|it| it.code == "E_TOO_LARGE"));
}
