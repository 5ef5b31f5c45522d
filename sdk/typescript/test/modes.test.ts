import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const sdk = new URL("../src/index.js", import.meta.url).href;
const mvmctl = process.env["MVM_MVMCTL"] ?? "mvmctl";

const script = `
import { Sandbox } from ${JSON.stringify(sdk)};
const sandbox = await Sandbox.create({ image: "debian:python" });
await sandbox.files.write("/srv/greeting", "hello");
const result = await sandbox.commands.run(["cat", "/srv/greeting"]);
console.error("saw", result.exitCode, result.stdout.length);
await sandbox.destroy();
`;

async function inFolder<T>(body: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "mvm-modes-"));
  try {
    const path = join(folder, "greet.mjs");
    await writeFile(path, script);
    return await body(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("mvmctl run of a script", { timeout: 120_000 }, () => {
  it("records what it asks for", async () => {
    const { stdout, stderr } = await inFolder((path) => run(mvmctl, ["run", "--mode", "record", path]));
    const workload = JSON.parse(stdout) as { id: string; apps: { files: unknown; entrypoints: { command: string[] }[] }[] };
    assert.equal(workload.id, "greet");
    assert.deepEqual(workload.apps[0]?.files, [{ path: "/srv/greeting", content_base64: "aGVsbG8=" }]);
    assert.deepEqual(workload.apps.flatMap((app) => app.entrypoints.map((entrypoint) => entrypoint.command)), [["cat", "/srv/greeting"]]);
    assert.match(stderr, /saw 0 0/);
  });

  it("tells by which plan it would be admitted", async () => {
    const { stdout } = await inFolder((path) => run(mvmctl, ["--json", "run", "--mode", "plan", path]));
    const { plan } = JSON.parse(stdout) as { plan: { image: { source: string } } };
    assert.equal(plan.image.source, "debian:python");
  });

  it("runs it", async () => {
    const { stderr } = await inFolder((path) => run(mvmctl, ["run", path]));
    assert.match(stderr, /saw 0 5/);
  });
});
