import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";

import { NotFound, Sandbox, Server } from "../src/index.js";

const sdk = new URL("../src/index.js", import.meta.url).href;

/** Another program that uses the SDK; its first line of output is given. */
async function program(body: string): Promise<{ child: ChildProcess; line: string; ended: Promise<unknown> }> {
  const source = `import * as mvm from ${JSON.stringify(sdk)};\n${body}`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", source], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  return { child, line, ended };
}

async function isGone(id: string): Promise<boolean> {
  try {
    return (await (await Sandbox.connect(id)).info()).state === "destroyed";
  } catch (error) {
    if (error instanceof NotFound) return true;
    throw error;
  }
}

async function endsWithin(id: string, limitMs: number): Promise<void> {
  const since = Date.now();
  while (!(await isGone(id))) {
    assert.ok(Date.now() - since < limitMs, `${id} is still there after ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The processes whose parent is another. */
async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter((word) => word !== "").map(Number);
}

describe("a program", { timeout: 300_000 }, () => {
  it("takes its sandboxes with it when it is killed", async () => {
    const { child, line, ended } = await program(`
      const sandbox = await mvm.Sandbox.create();
      await sandbox.commands.start(["sleep", "600"]);
      const [child] = await sandbox.fork(1);
      console.log([sandbox.id, child.id].join(" "));
      setInterval(() => {}, 1000);`);
    const ids = line.split(" ");
    assert.equal(ids.length, 2);
    for (const id of ids) assert.equal(await isGone(id), false);
    const servers = await childrenOf(child.pid ?? 0);
    assert.equal(servers.length, 1);
    child.kill("SIGKILL");
    await ended;
    for (const id of ids) await endsWithin(id, 5000);
    for (const server of servers) {
      for (let tries = 0; ; tries += 1) {
        const alive = await readFile(`/proc/${server}/stat`, "utf8").catch(() => undefined);
        if (alive === undefined || alive.includes(") Z ")) break;
        assert.ok(tries < 100, "its server is still there");
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  });

  it("can end though it forgot what it made, which ends too", async () => {
    const { line, ended } = await program(`
      const sandbox = await mvm.Sandbox.create();
      const process = await sandbox.commands.start("while :; do echo x; sleep 0.1; done");
      for await (const event of process) break;
      console.log(sandbox.id);`);
    const since = Date.now();
    assert.deepEqual(await ended, [0, null]);
    assert.ok(Date.now() - since < 5000);
    await endsWithin(line, 5000);
  });

  it("leaves what it has detached", async () => {
    const { line, ended } = await program(`
      const sandbox = await mvm.Sandbox.create();
      const info = await sandbox.detach(120);
      console.log(sandbox.id + " " + info.ownership);`);
    const [id, ownership] = line.split(" ");
    assert.ok(id);
    await ended;
    assert.equal(ownership, "detached");
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const sandbox = await Sandbox.connect(id);
    const info = await sandbox.info();
    assert.deepEqual([info.state, info.ownership], ["running", "detached"]);
    assert.ok(info.expiresAtMs);
    await sandbox.destroy();
  });

  it("has no server before its first use, and one for all of it", async () => {
    const { child, line, ended } = await program(`
      import { readFileSync } from "node:fs";
      const children = () => readFileSync("/proc/self/task/" + process.pid + "/children", "utf8").trim();
      const before = children();
      await Promise.all([mvm.host(), mvm.host(), mvm.Sandbox.list()]);
      console.log(JSON.stringify([before, children().split(" ").length]));
      setTimeout(() => {}, 200);`);
    assert.deepEqual(JSON.parse(line), ["", 1]);
    assert.ok(child.pid);
    await ended;
  });

  it("starts another server when its own has ended", async () => {
    const { line, ended } = await program(`
      import { readFileSync } from "node:fs";
      const sandbox = await mvm.Sandbox.create();
      const running = await sandbox.commands.start(["sleep", "60"]);
      process.kill(Number(readFileSync("/proc/self/task/" + process.pid + "/children", "utf8")), "SIGKILL");
      const told = await running.wait().catch((error) => error.code);
      await new Promise((resolve) => setTimeout(resolve, 500));
      const host = await mvm.host();
      console.log(told + " " + sandbox.id + " " + (host.version !== ""));`);
    await ended;
    const [told, id, again] = line.split(" ");
    assert.deepEqual([told, again], ["TransportError", "true"]);
    await endsWithin(id ?? "", 5000);
  });
});

describe("a server", { timeout: 120_000 }, () => {
  it("that is not there is a TransportError with a hint", async () => {
    for (const url of ["unix:///no/such.sock", "http://127.0.0.1:9"]) {
      await assert.rejects(Sandbox.list({ server: Server.at(url) }), (error: unknown) => {
        const { code, retryable, hint } = error as { code: string; retryable: boolean; hint: string };
        assert.deepEqual([code, retryable], ["TransportError", true]);
        assert.match(hint, /mvmctl serve|socket/);
        return true;
      });
    }
  });

  it("that cannot be found says where it was looked for", async () => {
    const { line } = await program(`
      delete process.env.MVM_URL; delete process.env.MVM_MVMCTL; process.env.PATH = "/nonexistent";
      const one = await mvm.host().catch((error) => error);
      process.env.MVM_MVMCTL = "/no/mvmctl";
      const two = await mvm.host().catch((error) => error);
      process.env.MVM_MVMCTL = "/bin/false";
      const three = await mvm.host().catch((error) => error);
      console.log(JSON.stringify([one, two, three].map(({ code, message, hint }) => ({ code, message, hint }))));`);
    const errors = JSON.parse(line) as { code: string; message: string; hint: string }[];
    assert.deepEqual(errors.map(({ code }) => code), ["TransportError", "TransportError", "TransportError"]);
    assert.match(errors[0]?.message ?? "", /PATH/);
    assert.match(errors[1]?.message ?? "", /MVM_MVMCTL names `\/no\/mvmctl`/);
    assert.match(errors[2]?.message ?? "", /ended with code 1/);
    assert.ok(errors.every(({ hint }) => hint.length > 0));
  });
});
