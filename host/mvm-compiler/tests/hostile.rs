//! Text that is made to harm: it costs time and memory within bounds, never panics, and is never run.

use std::time::{Duration, Instant};

use mvm_compiler::{Compilation, MAX_SOURCE_BYTES, Severity, SourceFile, compile, render};
use proptest::prelude::*;

/// Far more than any of these takes on a slow, busy machine in an unoptimized build.
const PATIENCE: Duration = Duration::from_secs(60);

fn compiled(text: impl Into<String>) -> Compilation {
    let files = [SourceFile {
        path: "app.py".to_owned(),
        text: text.into(),
    }];
    let start = Instant::now();
    let compiled = compile(&files);
    let rendered = render::text(&files, &compiled.diagnostics, false);
    let lines = render::json_lines(&files, &compiled.diagnostics);
    let sarif = render::sarif(&files, &compiled.diagnostics);
    assert!(start.elapsed() < PATIENCE);
    for text in [&rendered, &lines, &sarif.to_string()] {
        assert!(text.len() < 8 * 1024 * 1024, "{} bytes", text.len());
        assert!(
            !text.contains('\u{1b}') && !text.contains('\0'),
            "control characters of the source reach the terminal"
        );
    }
    assert!(
        compiled.workload.is_some()
            || compiled
                .diagnostics
                .iter()
                .any(|it| it.severity == Severity::Error),
        "nothing, and nothing said"
    );
    assert!(
        !codes(&compiled).contains(&"E_INTERNAL"),
        "the compiler itself failed"
    );
    compiled
}

fn codes(compiled: &Compilation) -> Vec<&'static str> {
    compiled.diagnostics.iter().map(|it| it.code).collect()
}

/// A declaration that is as it should be, with something in it.
fn app(inside: &str) -> String {
    format!(
        "import mvm\nmvm.workload(id='w')\n@mvm.app(name='a', image='debian:python'{inside})\ndef a() -> None: ...\n"
    )
}

#[test]
fn nesting_of_every_kind_is_refused() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("{1:", "}"),
        ("-", ""),
        ("not ", ""),
        ("~", ""),
        ("lambda: ", ""),
        ("a if b else ", ""),
        ("a.", ""),
        ("a + ", ""),
        ("a ** ", ""),
        ("a and ", ""),
        ("a < ", ""),
        ("f(", ")"),
        ("await ", ""),
        ("*", ""),
        ("a[", "]"),
        ("[*", "]"),
        ("(yield ", ")"),
        ("f'{", "}'"),
        ("x := ", ""),
        ("mvm.local_path(", ")"),
    ] {
        for count in [200, 5_000, 100_000] {
            let nested = format!("{}1{}", open.repeat(count), close.repeat(count));
            for text in [
                format!("x = {nested}\n"),
                format!("def f(a: {nested}): ...\n"),
                app(&format!(", source={nested}")),
                format!("x = {}", open.repeat(count)),
                format!("match x:\n case {nested}: pass\n"),
            ] {
                let compiled = compiled(text);
                if count == 100_000 {
                    let codes = codes(&compiled);
                    assert!(
                        codes
                            .iter()
                            .any(|it| matches!(*it, "E_TOO_DEEP" | "E_SYNTAX")),
                        "{open}: {codes:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn nesting_of_statements_is_refused() {
    for statement in [
        "if a:",
        "def f():",
        "class C:",
        "for a in b:",
        "try:",
        "with a:",
        "match a:",
    ] {
        let nested: String = (0..2_000)
            .map(|depth| format!("{}{statement}\n", " ".repeat(depth)))
            .collect();
        assert!(
            codes(&compiled(nested)).contains(&"E_TOO_DEEP"),
            "{statement}"
        );
        // On one line they nest without indentation.
        compiled(statement.repeat(50_000));
    }
    let branches = format!("if a: pass\n{}", "elif b: pass\n".repeat(50_000));
    compiled(branches);
    compiled("@a\n".repeat(100_000) + "def f(): ...\n");
}

#[test]
fn constants_that_hold_each_other_are_bounded() {
    let mut text = "import mvm\nA0 = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']\n".to_owned();
    for index in 1..40 {
        let before = vec![format!("A{}", index - 1); 8].join(", ");
        text.push_str(&format!("A{index} = [{before}]\n"));
    }
    text.push_str("@mvm.app(name='a', depends_on=A39)\ndef a(): ...\n");
    assert!(codes(&compiled(text)).contains(&"E_TOO_LARGE"));

    let mut text = "import mvm\nT0 = 'abcdefgh'\n".to_owned();
    for index in 1..60 {
        text.push_str(&format!("T{index} = T{0} + T{0}\n", index - 1));
    }
    text.push_str("@mvm.app(name=T59)\ndef a(): ...\n");
    assert!(codes(&compiled(text)).contains(&"E_TOO_LARGE"));

    let mut text = "import mvm\nC0 = 'a'\n".to_owned();
    for index in 1..100_000 {
        text.push_str(&format!("C{index} = C{}\n", index - 1));
    }
    text.push_str("@mvm.app(name=C99999)\ndef a(): ...\n");
    assert!(codes(&compiled(text)).contains(&"E_TOO_DEEP"));
}

#[test]
fn types_that_hold_each_other_are_bounded() {
    let mut text = "import mvm\nT0 = tuple[int, int]\n".to_owned();
    for index in 1..50 {
        let before = vec![format!("T{}", index - 1); 50].join(", ");
        text.push_str(&format!("T{index} = tuple[{before}]\n"));
    }
    text.push_str("@mvm.app(name='a')\ndef a(");
    for index in 0..50 {
        text.push_str(&format!("a{index}: T{index}, "));
    }
    text.push_str("): ...\n");
    let compiled = compiled(text);
    assert!(codes(&compiled).contains(&"W_SCHEMA_LEFT_OUT"));
    assert!(compiled.workload.is_some());
}

#[test]
fn what_is_too_large_is_refused() {
    let compiled = compiled("#".repeat(MAX_SOURCE_BYTES + 1));
    assert_eq!(codes(&compiled), ["E_TOO_LARGE"]);
}

#[test]
fn texts_of_every_kind_are_read() {
    for text in [
        String::new(),
        "\0".to_owned(),
        "\u{feff}".to_owned(),
        format!("\u{feff}{}", app("")),
        app("").replace('\n', "\r\n"),
        app("").replace('\n', "\r"),
        format!("x = '{}'\n{}", "a".repeat(1_000_000), app("")),
        format!("{}{}", "\\\n".repeat(1000), app("")),
        format!("x = 1{}\n{}", "0".repeat(100_000), app("")),
        app(", resources=mvm.resources(vcpus=99999999999999999999999999)"),
        app(", resources=mvm.resources(vcpus=-9223372036854775808)"),
        app(", resources=mvm.resources(vcpus=0x7fffffffffffffff, memory_mb=1e999, disk_mib=1j)"),
        app(", args_schema={'const': 9007199254740993}"),
        app(", env={'A': '\\x1b[31m', '\\x1b': 'x'}"),
        app(", nam\u{65}\u{301}='x'"),
        format!("größe = 'x'\n日本 = größe\n{}", app(", depends_on=[日本]")),
        "import mvm\n@mvm.app(name='\u{202e}evil\x1b[2J')\ndef a(): ...\n".to_owned(),
        "import mvm\n@mvm.app(\x1b[2J)\ndef a(): ...\n".to_owned(),
        "mvm".repeat(100_000),
        "@mvm.app".repeat(10_000),
        "import mvm\n".repeat(50_000) + "@mvm.app\ndef a(): ...\n",
        "import mvm\n@mvm.app(name='x')\ndef a(".to_owned() + &"a, ".repeat(50_000) + "): ...\n",
        "import mvm\n".to_owned() + &"@mvm.app(x=1)\ndef a(): ...\n".repeat(5_000),
        "%matplotlib inline\n!ls\n".to_owned(),
        "x = t'{1}'\nlazy import mvm\n".to_owned(),
        app(&format!(", depends_on=[{}]", "'x', ".repeat(100_000))),
        app(&format!(
            ", {}",
            (0..20_000)
                .map(|it| format!("k{it}=1, "))
                .collect::<String>()
        )),
    ] {
        compiled(text);
    }
}

#[test]
fn a_byte_order_mark_and_other_line_ends_change_nothing() {
    let plain = compiled(app("")).workload;
    assert!(plain.is_some());
    assert_eq!(compiled(format!("\u{feff}{}", app(""))).workload, plain);
    assert_eq!(compiled(app("").replace('\n', "\r\n")).workload, plain);
}

#[test]
fn nothing_of_a_file_is_run() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("was-imported");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!(
        "import mvm, socket\n\
         open({:?}, 'w').write('x')\n\
         socket.create_connection(('127.0.0.1', {port}))\n\
         while True:\n    pass\n{}",
        marker.display(),
        app("").replace("import mvm\n", "")
    );
    assert!(compiled(text).workload.is_some());
    assert!(!marker.exists(), "the file was run");
    let connected = listener.accept();
    assert_eq!(
        connected.unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "the file was run"
    );
}

#[test]
fn more_findings_than_can_be_read_are_counted() {
    let text = "import mvm\n".to_owned() + &"mvm.no_deps()\n".repeat(1_000);
    let compiled = compiled(text);
    assert_eq!(compiled.diagnostics.len(), 101);
    assert_eq!(
        compiled.diagnostics.last().map(|it| it.code),
        Some("N_MORE")
    );
}

/// Pieces that declarations are made of, put together without sense.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "import mvm",
        "from mvm import app as a",
        "@mvm.app",
        "@mvm.func",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n    ",
        ":",
        ",",
        "=",
        "name=",
        "'a'",
        "f'{x}'",
        "def f",
        "class C",
        "x: int = 1",
        "*",
        "**",
        "mvm.network",
        "mvm.resources",
        "mvm.secret",
        "mvm.volume",
        "mvm.mount",
        "entrypoint=",
        "env=",
        "mode='none'",
        "-> list[int]",
        "|",
        "None",
        "\"\"\"",
        "1",
        "-1",
        "mvm",
        ".",
        "if True",
        "lambda",
        "…",
        "\0",
        "\t",
        "#",
        "\\",
        "type X = int",
        "mvm.workload(id='w')",
        "async ",
        "return",
        "yield",
        "TypedDict",
        "@dataclass",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,200}") {
        compiled(text);
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        compiled(String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_declaration_is_too_odd(text in pieces()) {
        compiled(text);
    }

    #[test]
    fn a_declaration_cut_off_anywhere_is_read(
        cut in 0_usize..400,
        inside in prop::sample::select(vec![
            ", network=mvm.network(mode='bridge', egress=mvm.egress([mvm.host_port('a.example', 443)]))",
            ", env={'A': mvm.secret('a', hosts=['a.example'])}, before_start=mvm.hook(['a', 'b'])",
            ", mounts=[mvm.mount(mvm.volume('v', size_mib=1), '/v')], files=[mvm.file('/f', 'x')]",
        ]),
    ) {
        let mut text = app(inside);
        text.truncate(cut.min(text.len()));
        compiled(text);
    }
}
