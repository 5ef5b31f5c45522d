//! Functions in TypeScript, declared, built without their types and called in microVMs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path};

use mvm_vm_tests::Bench;
use serde_json::json;

const APP: &str = r#"import * as mvm from "@mvm/sdk";
import type { Money } from "./types";
import { Currency, rounded } from "./money.js";
import { helper } from "./lib/helper.mjs";

mvm.workload({ id: "shop" });

interface Order {
  items: number[];
  currency?: "EUR" | "USD";
}

class Till {
  constructor(private readonly factor: number) {}
  total(items: readonly number[]): number {
    return items.reduce((sum, item) => sum + item, 0) * this.factor;
  }
}

export const price = mvm.func({ name: "till", primary: true })(
  async (order: Order, factor = 1): Promise<{ amount: number; currency: string }> => {
    const money: Money = { amount: rounded(new Till(factor).total(order.items)), currency: Currency.Euro };
    console.log("priced", helper<string>("once"));
    return money satisfies Money;
  },
);

export const fails = mvm.func({ name: "till" })((reason: string): void => {
  throw new RangeError(reason);
});
"#;

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("app.ts", APP);
    write(
        "types.ts",
        "export interface Money { amount: number; currency: string }\n",
    );
    write(
        "money.ts",
        "export enum Currency { Euro = \"EUR\" }\nexport const rounded = (it: number): number => Math.round(it * 100) / 100;\n",
    );
    write(
        "lib/helper.mts",
        "export function helper<T>(it: T): T { return it; }\n",
    );
    folder
}

fn from(folder: &Path) -> String {
    folder.join("app.ts").display().to_string()
}

#[test]
fn a_function_in_typescript_is_called() {
    let bench = Bench::new();
    let project = project();
    let from = from(project.path());
    let run = bench
        .run([
            "invoke",
            "till",
            r#"{"order": {"items": [1.111, 2]}, "factor": 2}"#,
            "--from",
            &from,
        ])
        .exits(0);
    assert_eq!(run.json(), json!({"amount": 6.22, "currency": "EUR"}));
    assert!(run.stderr.ends_with("priced once\n"), "{}", run.stderr);

    let refused = bench.run([
        "invoke",
        "till",
        r#"{"order": {"items": ["one"]}}"#,
        "--from",
        &from,
    ]);
    refused.refused_with(&["/order/items/0", "number"]);

    let raised = bench
        .run([
            "--json",
            "invoke",
            "till.fails",
            r#"["on purpose"]"#,
            "--from",
            &from,
        ])
        .exits(1)
        .json();
    assert_eq!(raised["error"]["type"], "RangeError");
    let traceback = raised["error"]["traceback"].as_str().unwrap();
    let line = APP
        .lines()
        .position(|it| it.contains("RangeError"))
        .unwrap()
        + 1;
    assert!(
        traceback.contains(&format!("/app/app.ts:{line}:")),
        "{traceback}"
    );
}

#[test]
fn typescript_that_cannot_be_run_is_refused_when_it_is_built() {
    let bench = Bench::new();
    let project = project();
    let from = from(project.path());
    let build = || bench.run(["build", &from]);
    fs::write(project.path().join("lib/broken.ts"), "const = 1;\n").unwrap();
    build().refused_with(&["app/lib/broken.ts", ":1:7", "exclude"]);
    fs::remove_file(project.path().join("lib/broken.ts")).unwrap();
    fs::write(project.path().join("app.js"), "").unwrap();
    build().refused_with(&["app/app.ts", "app/app.js", "would be one module"]);
}
