//! Long source files that declare workloads, as a program has them: most of it declares nothing.

use std::fmt::Write as _;

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

pub(super) fn python(lines: usize) -> String {
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
    image=mvm.python_image(),
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

pub(super) fn typescript(lines: usize) -> String {
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
  image: mvm.nodeImage(),
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
