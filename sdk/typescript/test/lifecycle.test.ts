import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import {
  BackendUnsupported,
  host,
  InvalidArgument,
  MvmError,
  NotFound,
  plan,
  Sandbox,
  SandboxUnavailable,
  Snapshot,
} from "../src/index.js";

/** Whether a sandbox is gone: it is not there, or it says that it was destroyed. */
async function isGone(id: string): Promise<boolean> {
  try {
    return (await (await Sandbox.connect(id)).info()).state === "destroyed";
  } catch (error) {
    if (error instanceof NotFound) return true;
    throw error;
  }
}

describe("a sandbox", { timeout: 600_000 }, () => {
  let sandbox: Sandbox;
  before(async () => {
    sandbox = await Sandbox.create();
  });
  after(async () => {
    await sandbox.destroy();
  });

  it("is what was asked for", async () => {
    const name = `ts-${process.pid}`;
    const stages: string[] = [];
    await using made = await Sandbox.create({
      name,
      vcpus: 1,
      memoryMib: 256,
      environment: { GIVEN: "väl ue" },
      workingDirectory: "/tmp",
      user: "nobody",
      ttlSeconds: 600,
      onProgress: (stage) => stages.push(stage),
    });
    assert.equal(made.name, name);
    const said = await made.commands.run('echo "$GIVEN $PWD $(id -un)"');
    assert.equal(said.stdoutText, "väl ue /tmp nobody\n");
    const info = await (await Sandbox.connect(name)).info();
    assert.deepEqual([info.id, info.name, info.state, info.ownership], [made.id, name, "running", "leased"]);
    assert.deepEqual([info.resources.vcpus, info.resources.memoryMib], [1, 256]);
    assert.ok(Math.abs((info.expiresAtMs ?? 0) - Date.now() - 600_000) < 30_000);
    assert.ok((await Sandbox.list()).some(({ id }) => id === made.id));
    await assert.rejects(Sandbox.create({ name }), MvmError);
  });

  it("is refused what is not there yet, by name", async () => {
    for (const what of ["network", "secrets", "mounts", "ports"] as const) {
      const refused = Sandbox.create({ [what]: [{ any: "thing" }] });
      await assert.rejects(refused, (error: unknown) => {
        assert.ok(error instanceof BackendUnsupported, String(error));
        assert.ok(error.message.includes(what), error.message);
        return true;
      });
      await (await Sandbox.create({ [what]: null })).destroy();
    }
    await assert.rejects(Sandbox.create({ memoryMib: -1 }), InvalidArgument);
  });

  it("ends with its block, but not with a handle of it", async () => {
    let id: string;
    {
      await using made = await Sandbox.create();
      ({ id } = made);
      {
        await using other = await Sandbox.connect(made.id);
        assert.equal((await other.commands.run(["true"])).exitCode, 0);
      }
      assert.equal((await made.commands.run(["true"])).exitCode, 0);
    }
    assert.ok(await isGone(id));
    await assert.rejects(Sandbox.connect("no-such-sandbox"), NotFound);
  });

  it("ends when its block ends though it has ended before", async () => {
    await using made = await Sandbox.create();
    await made.destroy();
  });

  it("is not left over when its making is aborted or takes too long", async () => {
    const before = new Set((await Sandbox.list()).map(({ id }) => id));
    const control = new AbortController();
    setTimeout(() => {
      control.abort();
    }, 20);
    // Either the abort comes first, or the sandbox does; then it is this test's to end.
    await Sandbox.create({ memoryMib: 300, signal: control.signal }).then(
      (made) => made.destroy(),
      (error: unknown) => {
        assert.equal((error as Error).name, "AbortError");
      },
    );
    await assert.rejects(Sandbox.create({ memoryMib: 301, requestTimeoutMs: 5 }), { code: "Timeout" });
    let left: string[] = [];
    for (let tries = 0; tries < 50; tries += 1) {
      left = (await Sandbox.list())
        .filter((info) => !before.has(info.id) && [300, 301].includes(info.resources.memoryMib) && info.state !== "destroyed")
        .map(({ id }) => id);
      if (left.length === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.deepEqual(left, []);
  });

  it("is paused, cooled and resumed, with its processes", async () => {
    const process = await sandbox.commands.start("while :; do date +%s > /tmp/now; sleep 0.1; done", { detached: true });
    assert.equal((await sandbox.pause()).state, "paused");
    await assert.rejects(sandbox.commands.run(["true"]), SandboxUnavailable);
    assert.equal((await sandbox.resume()).state, "running");
    assert.equal((await sandbox.commands.run(["true"])).exitCode, 0);
    assert.equal(await process.poll(), undefined);
    process.close();
    assert.equal((await sandbox.cold()).state, "cold");
    assert.equal((await sandbox.resume()).state, "running");
    const again = await sandbox.commands.attach(process.id);
    assert.equal(again.pid, process.pid);
    await again.kill("SIGKILL");
    assert.equal((await again.wait()).signal, 9);
  });

  it("is forked, from itself and from a snapshot, and restored", async () => {
    await sandbox.files.write("/tmp/state", "before");
    const snapshot = await sandbox.snapshot({ name: `ts-snapshot-${process.pid}` });
    assert.equal(snapshot.sandbox, sandbox.id);
    assert.ok(snapshot.bytes > 0 && snapshot.pauseMs >= 0);
    await sandbox.files.write("/tmp/state", "after");
    assert.equal((await Snapshot.get(snapshot.name ?? "")).id, snapshot.id);
    assert.ok((await Snapshot.list()).some(({ id }) => id === snapshot.id));

    const children = await sandbox.fork(2);
    assert.equal(new Set([sandbox.id, ...children.map(({ id }) => id)]).size, 3);
    for (const [at, child] of children.entries()) {
      assert.equal(await child.files.readText("/tmp/state"), "after");
      await child.files.write("/tmp/state", `child ${at}`);
    }
    assert.equal(await sandbox.files.readText("/tmp/state"), "after");
    const [first, second] = children;
    assert.ok(first && second);
    await first.destroy();
    assert.equal(await second.files.readText("/tmp/state"), "child 1");
    await second.destroy();

    await using restored = await Sandbox.restore(snapshot, { ttlSeconds: 300 });
    assert.equal(await restored.files.readText("/tmp/state"), "before");
    assert.equal((await restored.info()).origin, "snapshot");
    for (const child of await Sandbox.forkSnapshot(snapshot, 2)) {
      assert.equal(await child.files.readText("/tmp/state"), "before");
      await child.destroy();
    }
    await snapshot.remove();
    await assert.rejects(Snapshot.get(snapshot.id), NotFound);
    await assert.rejects(Snapshot.remove(snapshot.id), NotFound);
    await assert.rejects(Sandbox.restore(snapshot), NotFound);
  });

  it("stops", async () => {
    await using made = await Sandbox.create();
    assert.equal(await made.stop({ graceMs: 2000 }), "now");
    await assert.rejects(made.commands.run(["true"]), MvmError);
  });

  it("ends at its time", async () => {
    const made = await Sandbox.create();
    assert.ok((await made.setTtl(1)).expiresAtMs);
    for (let tries = 0; !(await isGone(made.id)); tries += 1) {
      assert.ok(tries < 100, "it is still there");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await using kept = await Sandbox.create({ ttlSeconds: 100 });
    assert.equal((await kept.setTtl(null)).expiresAtMs, undefined);
    await assert.rejects(kept.detach(), InvalidArgument);
  });

  it("has metrics, a log and a host", async () => {
    const metrics = await sandbox.metrics();
    assert.ok(metrics.memoryBytes > 1_000_000 && metrics.cpuMs > 0 && metrics.diskBytes >= 0);
    let text = "";
    for await (const piece of sandbox.logs()) text += piece;
    assert.ok(text.length > 0);
    for await (const piece of sandbox.logs({ follow: true })) {
      assert.ok(piece.length > 0);
      break;
    }
    const follow = async (): Promise<void> => {
      for await (const piece of sandbox.logs({ follow: true, signal: AbortSignal.timeout(500) })) assert.ok(piece);
    };
    await assert.rejects(follow(), { name: "TimeoutError" });
    for await (const piece of sandbox.logs({ source: "machine" })) assert.equal(typeof piece, "string");
    const there = await host();
    assert.ok(there.version && there.accelerator && there.isolation && there.defaultImage);
  });

  it("has a plan before there is one", async () => {
    const planned = await plan({ memoryMib: 512 });
    assert.match(planned.digest, /^sha256:/);
    assert.equal(typeof planned.plan, "object");
    assert.equal((await plan({ memoryMib: 512, signal: undefined })).digest.length, planned.digest.length);
    await assert.rejects(plan({ network: { allow: ["x"] } }), BackendUnsupported);
  });
});
