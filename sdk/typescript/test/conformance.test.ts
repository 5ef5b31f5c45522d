import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import {
  MvmError,
  NotFound,
  Process,
  Sandbox,
  Snapshot,
  verifyReceipt,
  type Command,
  type CommandResult,
  type CreateOptions,
  type StartOptions,
} from "../src/index.js";
import { fields, number, optional, text, type Fields, type Scenario, type Step } from "./scenario.js";

const list =
  process.env["MVM_CONFORMANCE_SCENARIOS"] ??
  fileURLToPath(new URL("../../../../tests/conformance/scenarios.json", import.meta.url));
const results = process.env["MVM_CONFORMANCE_RESULTS"];

/** One run of a scenario: what its steps have made, by the names that they gave. */
class Run {
  readonly sandboxes = new Map<string, Sandbox>();
  readonly #processes = new Map<string, { process: Process; sandbox: Sandbox }>();
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #results = new Map<string, CommandResult>();

  async step(step: Step): Promise<void> {
    const { error } = step;
    if (error === undefined) {
      await this.#do(step);
      return;
    }
    await assert.rejects(this.#do(step), (thrown: unknown) => {
      assert.ok(thrown instanceof MvmError, String(thrown));
      assert.equal(thrown.code, error.code, String(thrown));
      return true;
    });
  }

  /** Destroys what the scenario left. */
  async end(): Promise<void> {
    for (const { process } of this.#processes.values()) process.close();
    for (const sandbox of this.sandboxes.values()) {
      await sandbox.destroy().catch((error: unknown) => {
        if (!(error instanceof NotFound)) throw error;
      });
    }
    for (const snapshot of this.#snapshots.values()) {
      await snapshot.remove().catch((error: unknown) => {
        if (!(error instanceof NotFound)) throw error;
      });
    }
  }

  async #do(step: Step): Promise<void> {
    switch (step.do) {
      case "create":
        this.sandboxes.set(text(step, "as"), await Sandbox.create(createOptions(fields(step, "with"))));
        return;
      case "connect":
        this.sandboxes.set(text(step, "as"), await Sandbox.connect(this.#sandbox(step, "of").id));
        return;
      case "run":
        return this.#run(step);
      case "start":
        return this.#start(step);
      case "send":
        return this.#process(step, "to").sendStdin(text(step, "text"));
      case "close_stdin":
        return this.#process(step).closeStdin();
      case "wait":
        expectResult(await this.#process(step).wait(), fields(step, "expect"));
        return;
      case "kill":
        return this.#process(step).kill(number(step, "signal"));
      case "resize":
        return this.#process(step).resize(number(step, "columns"), number(step, "rows"));
      case "reattach": {
        const { process, sandbox } = this.#started(step, "of");
        this.#processes.set(text(step, "as"), { process: await sandbox.commands.attach(process.id), sandbox });
        return;
      }
      case "write":
        await this.#sandbox(step).files.write(text(step, "path"), content(step));
        return;
      case "read":
        expectBytes(await this.#sandbox(step).files.read(text(step, "path")), fields(step, "expect"));
        return;
      case "list": {
        const entries = await this.#sandbox(step).files.list(text(step, "path"));
        assert.deepEqual(entries.map(({ name }) => name), fields(step, "expect")["names"]);
        return;
      }
      case "stat": {
        const entry = await this.#sandbox(step).files.stat(text(step, "path"));
        expectEntry(entry, fields(step, "expect"));
        return;
      }
      case "exists":
        assert.equal(await this.#sandbox(step).files.exists(text(step, "path")), step["expect"]);
        return;
      case "mkdir":
        return this.#sandbox(step).files.mkdir(text(step, "path"));
      case "remove":
        return this.#sandbox(step).files.remove(text(step, "path"), { recursive: step["recursive"] === true });
      case "rename":
        return this.#sandbox(step).files.rename(text(step, "from_path"), text(step, "to_path"));
      default:
        return this.#live(step);
    }
  }

  /** The steps of a sandbox's life. */
  async #live(step: Step): Promise<void> {
    switch (step.do) {
      case "pause":
      case "resume":
      case "cold":
      case "stop":
      case "destroy":
        await this.#sandbox(step, "of")[step.do]();
        return;
      case "set_ttl":
        await this.#sandbox(step, "of").setTtl(optional(step, "seconds") as number | undefined);
        return;
      case "detach":
        await this.#sandbox(step, "of").detach(optional(step, "ttl_seconds") as number | undefined);
        return;
      case "state":
        assert.equal(await stateOf(this.#sandbox(step, "of").id, text(step, "expect")), text(step, "expect"));
        return;
      case "snapshot": {
        const made = await this.#sandbox(step, "of").snapshot({ name: optional(step, "name") as string | undefined });
        this.#snapshots.set(text(step, "as"), made);
        return;
      }
      case "restore":
        this.sandboxes.set(text(step, "as"), await Sandbox.restore(this.#snapshot(step, "from")));
        return;
      case "fork": {
        const names = step["as"] as readonly string[];
        const children = await this.#sandbox(step, "of").fork(names.length);
        for (const [at, child] of children.entries()) this.sandboxes.set(names[at] ?? "", child);
        return;
      }
      case "remove_snapshot":
        return this.#snapshot(step, "of").remove();
      case "sleep":
        return new Promise((resolve) => setTimeout(resolve, number(step, "seconds") * 1000));
      case "receipt": {
        const result = this.#results.get(text(step, "of"));
        assert.ok(result?.receipt, "the run has no receipt");
        const check = await verifyReceipt(result.receipt);
        assert.ok(check.valid, JSON.stringify(check));
        assert.equal(check.runId, result.runId);
        return;
      }
      default:
        throw new Error(`this runner has no verb \`${step.do}\``);
    }
  }

  async #run(step: Step): Promise<void> {
    const { command, options } = commandOf(fields(step, "command"));
    const given = fields(step, "command")["stdin"];
    const stdin = typeof given === "string" ? given : undefined;
    const result = await this.#sandbox(step).commands.run(command, { ...options, stdin });
    if (typeof step["as"] === "string") this.#results.set(step["as"], result);
    expectResult(result, fields(step, "expect"));
  }

  async #start(step: Step): Promise<void> {
    const sandbox = this.#sandbox(step);
    const { command, options } = commandOf(fields(step, "command"));
    this.#processes.set(text(step, "as"), { process: await sandbox.commands.start(command, options), sandbox });
  }

  #sandbox(step: Step, field = "in"): Sandbox {
    return named(this.sandboxes, text(step, field));
  }

  #snapshot(step: Step, field: string): Snapshot {
    return named(this.#snapshots, text(step, field));
  }

  #started(step: Step, field: string): { process: Process; sandbox: Sandbox } {
    return named(this.#processes, text(step, field));
  }

  #process(step: Step, field = "of"): Process {
    return this.#started(step, field).process;
  }
}

function named<T>(map: ReadonlyMap<string, T>, name: string): T {
  const value = map.get(name);
  assert.ok(value !== undefined, `no step has made \`${name}\``);
  return value;
}

/** The fields of CREATE under the names of this SDK. */
function createOptions(given: Fields): CreateOptions {
  const { resources, working_directory, ttl_seconds, ...same } = given;
  const { vcpus, memory_mib, disk_mib } = (resources ?? {}) as Fields;
  const renamed = { vcpus, memoryMib: memory_mib, diskMib: disk_mib, workingDirectory: working_directory, ttlSeconds: ttl_seconds };
  return { ...same, ...renamed } as CreateOptions;
}

function commandOf(given: Fields): { command: Command; options: StartOptions } {
  const { argv, shell, working_directory, timeout_ms, grace_ms, ...same } = given;
  const renamed = { workingDirectory: working_directory, timeoutMs: timeout_ms, graceMs: grace_ms };
  return { command: (argv ?? shell) as Command, options: { ...same, ...renamed } as StartOptions };
}

function content(step: Step): string | Uint8Array {
  if (typeof step["text"] === "string") return step["text"];
  if (typeof step["base64"] === "string") return Buffer.from(step["base64"], "base64");
  const repeat = fields(step, "repeat");
  return Buffer.alloc(number(repeat, "count"), number(repeat, "byte"));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function expectBytes(bytes: Uint8Array, expect: Fields): void {
  if ("text" in expect) assert.equal(Buffer.from(bytes).toString(), expect["text"]);
  if ("base64" in expect) assert.equal(Buffer.from(bytes).toString("base64"), expect["base64"]);
  if ("bytes" in expect) assert.equal(bytes.length, expect["bytes"]);
  if ("sha256" in expect) assert.equal(sha256(bytes), expect["sha256"]);
}

function expectEntry(entry: { kind: string; size: number; mode: number }, expect: Fields): void {
  if ("kind" in expect) assert.equal(entry.kind, expect["kind"]);
  if ("size" in expect) assert.equal(entry.size, expect["size"]);
  if ("mode" in expect) assert.equal(entry.mode, Number.parseInt(String(expect["mode"]), 8));
}

function expectResult(result: CommandResult, expect: Fields): void {
  const seen: Fields = {
    exit_code: result.exitCode,
    stdout: result.stdoutText,
    stderr: result.stderrText,
    stdout_bytes: result.stdout.length,
    stdout_sha256: sha256(result.stdout),
    timed_out: result.timedOut,
    truncated: result.truncated,
  };
  const unknown = Object.keys(expect).filter((field) => !(field in seen));
  assert.deepEqual(unknown, [], "this runner does not know what is expected");
  assert.deepEqual(Object.fromEntries(Object.keys(expect).map((field) => [field, seen[field]])), expect);
}

/** A sandbox's state; one that is expected to be gone is given a moment. */
async function stateOf(id: string, expected: string): Promise<string> {
  const since = Date.now();
  for (;;) {
    let state: string;
    try {
      ({ state } = await (await Sandbox.connect(id)).info());
    } catch (error) {
      if (!(error instanceof NotFound)) throw error;
      state = "gone";
    }
    if (state === "destroyed") state = "gone";
    if (state === expected || Date.now() - since > 5000) return state;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const scenarios = JSON.parse(await readFile(list, "utf8")) as readonly Scenario[];

describe("conformance", { timeout: 900_000 }, () => {
  for (const scenario of scenarios) {
    it(scenario.name, async () => {
      const run = new Run();
      let passed = false;
      try {
        for (const [at, step] of scenario.steps.entries()) {
          await run.step(step).catch((cause: unknown) => {
            throw new Error(`step ${at}, ${JSON.stringify(step)}: ${String(cause)}`, { cause });
          });
        }
        passed = true;
      } finally {
        await run.end();
        if (results !== undefined) {
          const line = { surface: "typescript", scenario: scenario.name, row: scenario.row, passed };
          await appendFile(results, `${JSON.stringify(line)}\n`);
        }
      }
    });
  }
});
