//! Writes a long source file, or says how long it takes to compile one.
//!
//! ```text
//! compile_time write python|typescript LINES > FILE
//! compile_time measure FILE ROUNDS
//! ```
//!
//! `measure` prints one line of JSON: the milliseconds of each round, without reading the file and
//! without starting a process. What a round is to be compared with, `python -c 'import ast; …'` and
//! `tsc --noEmit`, is a process: time `mvmctl check FILE` beside them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use mvm_compiler::{SourceFile, compile};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["write", "python", lines] => write(lines, python),
        ["write", "typescript", lines] => write(lines, typescript),
        ["measure", path, rounds] => measure(path, rounds),
        _ => Err("usage: compile_time write python|typescript LINES | measure FILE ROUNDS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn write(lines: &str, source: fn(usize) -> String) -> Result<(), Failure> {
    io::stdout().write_all(source(lines.parse()?).as_bytes())?;
    Ok(())
}

fn measure(path: &str, rounds: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().count();
    let files = [SourceFile {
        path: path.to_owned(),
        text,
    }];
    let mut milliseconds = Vec::new();
    for _ in 0..rounds.parse::<usize>()? {
        let begun = Instant::now();
        let compiled = compile(&files);
        milliseconds.push(begun.elapsed().as_secs_f64() * 1000.0);
        if compiled.workload.is_none() {
            return Err(format!("{path} does not compile: {:?}", compiled.diagnostics).into());
        }
    }
    println!(
        "{}",
        serde_json::json!({ "file": path, "lines": lines, "milliseconds": milliseconds })
    );
    Ok(())
}

/// How many functions are decorated; the others are what else a program has.
const DECLARED: usize = 20;

/// Repeats a block until there are so many lines.
fn fill(text: &mut String, lines: usize, block: impl Fn(usize) -> String) {
    let mut written = text.lines().count();
    let mut number = 0;
    loop {
        let block = block(number);
        written += block.lines().count();
        if written > lines {
            break;
        }
        text.push_str(&block);
        number += 1;
    }
}

fn python(lines: usize) -> String {
    let mut text = String::from(
        "import json\nimport os\nfrom typing import TypedDict\n\nimport mvm\n\nmvm.workload(id=\"long\")\n\n",
    );
    for number in 0..DECLARED {
        let _ = write!(
            text,
            r#"
class Order{number}(TypedDict):
    name: str
    count: float
    tags: list[str]


@mvm.app(
    name="app-{number}",
    image=mvm.python_image(python="3.12", packages=["git"]),
    resources=mvm.resources(cpu_cores=2, memory_mb=512, rootfs_size_mb=1024),
    env={{"MODE": "fast", "TOKEN": mvm.secret("token", hosts=["api.example.com"])}},
    network=mvm.network(mode="bridge", egress=mvm.egress([mvm.host_port("api.example.com", 443)])),
)
def entry{number}(order: Order{number}, depth: float = 1) -> dict[str, float]:
    return {{order["name"]: depth}}
"#
        );
    }
    fill(&mut text, lines, |number| {
        format!(
            r#"

def step{number}(values: list[float], factor: float = 2.0) -> dict[str, float]:
    """Adds up what is above zero."""
    total = 0.0
    for index, value in enumerate(values):
        if value > 0 and index % 2 == 0:
            total += value * factor
        elif value < -1:
            total -= sum(it for it in values[:index] if it > 0)
    result = {{"total": total, "mean": total / max(len(values), 1)}}
    return json.loads(json.dumps(result | {{"home": len(os.environ)}}))
"#
        )
    });
    text
}

fn typescript(lines: usize) -> String {
    let mut text = String::from(
        "import { readFileSync } from \"node:fs\";\n\nimport * as mvm from \"@mvm/sdk\";\n\nmvm.workload({ id: \"long\" });\n\n",
    );
    for number in 0..DECLARED {
        let _ = write!(
            text,
            r#"
interface Order{number} {{
  name: string;
  count: number;
  tags: string[];
}}

export const entry{number} = mvm.app({{
  name: "app-{number}",
  image: mvm.nodeImage({{ node: "22", packages: ["git"] }}),
  resources: mvm.resources({{ cpu_cores: 2, memory_mb: 512, rootfs_size_mb: 1024 }}),
  env: {{ MODE: "fast", TOKEN: mvm.secret("token", {{ hosts: ["api.example.com"] }}) }},
  network: mvm.network({{ mode: "bridge", egress: mvm.egress([mvm.hostPort("api.example.com", 443)]) }}),
}})(async (order: Order{number}, depth: number = 1): Promise<Record<string, number>> => {{
  return {{ [order.name]: depth }};
}});
"#
        );
    }
    fill(&mut text, lines, |number| {
        format!(
            r#"
/** Adds up what is above zero. */
export function step{number}(values: number[], factor = 2): Record<string, number> {{
  let total = 0;
  for (const [index, value] of values.entries()) {{
    if (value > 0 && index % 2 === 0) {{
      total += value * factor;
    }} else if (value < -1) {{
      total -= values.slice(0, index).reduce((sum, it) => (it > 0 ? sum + it : sum), 0);
    }}
  }}
  const size = readFileSync(`/proc/${{process.pid}}/status`, "utf8").length;
  return {{ total, mean: total / Math.max(values.length, 1), size }};
}}
"#
        )
    });
    text
}
