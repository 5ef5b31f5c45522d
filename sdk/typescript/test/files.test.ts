import assert from "node:assert/strict";
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { InvalidArgument, NotFound, Sandbox, type FileChange } from "../src/index.js";

describe("files", { timeout: 300_000 }, () => {
  let sandbox: Sandbox;
  let local: string;
  let count = 0;
  /** A directory of the sandbox for one test. */
  let here: string;
  before(async () => {
    sandbox = await Sandbox.create();
    local = await mkdtemp(join(tmpdir(), "mvm-files-"));
  });
  beforeEach(async () => {
    count += 1;
    here = `/work-${count}`;
    await sandbox.files.mkdir(here);
  });
  after(async () => {
    await sandbox.destroy();
    await rm(local, { recursive: true });
  });

  it("are written and read as text and bytes", async () => {
    const { files } = sandbox;
    assert.equal(await files.write(`${here}/ä b?&#%.txt`, "grüß €"), 10);
    assert.equal(await files.readText(`${here}/ä b?&#%.txt`), "grüß €");
    const bytes = Uint8Array.from({ length: 2_500_000 }, (_, at) => (at * 7 + (at >> 9)) & 255);
    await files.write(`${here}/bytes`, bytes);
    assert.ok(Buffer.from(await files.read(`${here}/bytes`)).equals(bytes));
    const part = await files.read(`${here}/bytes`, { offset: 1_000_000, length: 5 });
    assert.ok(Buffer.from(part).equals(bytes.subarray(1_000_000, 1_000_005)));
    await files.write(`${here}/empty`, "");
    assert.equal((await files.read(`${here}/empty`)).length, 0);
  });

  it("stream in both directions", async () => {
    const { files } = sandbox;
    async function* pieces(): AsyncGenerator<Uint8Array | string> {
      for (let at = 0; at < 40; at += 1) {
        await Promise.resolve();
        yield at % 2 === 0 ? Buffer.alloc(100_000, at) : "text";
      }
    }
    assert.equal(await files.write(`${here}/big`, pieces()), 20 * 100_004);
    let length = 0;
    for await (const chunk of files.readStream(`${here}/big`)) length += chunk.length;
    assert.equal(length, 20 * 100_004);
    for await (const chunk of files.readStream(`${here}/big`)) {
      assert.ok(chunk.length > 0);
      break;
    }
    assert.equal(await files.write(`${here}/list`, ["a", "b"]), 2);
  });

  it("appear whole or not at all", async () => {
    const { files } = sandbox;
    await files.write(`${here}/kept`, "old");
    const mine = new Error("mine");
    async function* breaking(): AsyncGenerator<string> {
      await Promise.resolve();
      yield "new";
      throw mine;
    }
    await assert.rejects(files.write(`${here}/kept`, breaking()), mine);
    const control = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        yield Buffer.alloc(10_000);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    setTimeout(() => {
      control.abort();
    }, 200);
    await assert.rejects(files.write(`${here}/kept`, endless(), { signal: control.signal }), { name: "AbortError" });
    assert.equal(await files.readText(`${here}/kept`), "old");
    assert.deepEqual((await files.list(here)).map(({ name }) => name), ["kept"]);
  });

  it("are looked at, made, renamed and removed", async () => {
    const { files } = sandbox;
    await files.write(`${here}/a/b/c`, "12345", { mode: 0o751 });
    const entry = await files.stat(`${here}/a/b/c`);
    assert.deepEqual([entry.name, entry.kind, entry.size, entry.mode, entry.userId], ["c", "file", 5, 0o751, 0]);
    assert.ok(Math.abs(entry.modifiedAtMs - Date.now()) < 60_000, `${entry.modifiedAtMs}`);
    await files.mkdir(`${here}/d`, { mode: 0o700 });
    await sandbox.commands.run(["ln", "-s", "a/b/c", `${here}/l`]);
    assert.deepEqual((await files.list(here)).map(({ name, kind }) => [name, kind]), [
      ["a", "directory"],
      ["d", "directory"],
      ["l", "symlink"],
    ]);
    assert.deepEqual([(await files.stat(`${here}/l`)).target, (await files.stat(`${here}/l`, { follow: true })).size], ["a/b/c", 5]);
    await files.rename(`${here}/a/b/c`, `${here}/moved`);
    assert.deepEqual([await files.exists(`${here}/moved`), await files.exists(`${here}/a/b/c`)], [true, false]);
    await assert.rejects(files.remove(`${here}/a`));
    await files.remove(`${here}/a`, { recursive: true });
    await files.remove(`${here}/moved`);
    assert.deepEqual((await files.list(here)).map(({ name }) => name), ["d", "l"]);
  });

  it("are told apart when they are missing or of another kind", async () => {
    const { files } = sandbox;
    await assert.rejects(files.read("/no/such"), NotFound);
    await assert.rejects(files.stat("/no/such"), NotFound);
    await assert.rejects(files.list("/no/such"), NotFound);
    await assert.rejects(files.remove("/no/such"), NotFound);
    await assert.rejects(files.rename("/no/such", "/tmp/x"), NotFound);
    await assert.rejects(files.write("/no/such", "x", { makeParents: false }), NotFound);
    await assert.rejects(files.read("/etc"), InvalidArgument);
    await assert.rejects(files.read("relative"), InvalidArgument);
    await assert.rejects(files.upload("/no/such/local", here), NotFound);
    await assert.rejects(files.exists("/etc", { signal: AbortSignal.abort(new Error("stop")) }), /stop/);
  });

  it("go up and come down as trees", async () => {
    const from = join(local, "from");
    await mkdir(join(from, "sub", "empty"), { recursive: true });
    await writeFile(join(from, "run.sh"), "#!/bin/sh\necho hi\n");
    await chmod(join(from, "run.sh"), 0o755);
    await writeFile(join(from, "sub", "data"), Buffer.alloc(700_000, 5));
    await symlink("/etc/hostname", join(from, "sub", "link"));
    const up = await sandbox.files.upload(from, `${here}/tree`);
    assert.deepEqual([up.files, up.bytes, up.skipped], [2, 700_018, [join(from, "sub", "link")]]);
    assert.equal((await sandbox.commands.run([`${here}/tree/run.sh`])).stdoutText, "hi\n");

    await sandbox.commands.run(`cd ${here}/tree && ln -s sub/data in && ln -s ../run.sh sub/up && ln -s /etc/passwd out && mkfifo p`);
    const to = join(local, "to");
    const down = await sandbox.files.download(`${here}/tree`, to);
    assert.deepEqual([down.files, down.bytes, [...down.skipped].sort()], [2, 700_018, [`${here}/tree/out`, `${here}/tree/p`]]);
    assert.deepEqual((await readdir(to)).sort(), ["in", "run.sh", "sub"]);
    assert.equal((await lstat(join(to, "run.sh"))).mode & 0o777, 0o755);
    assert.deepEqual([await readlink(join(to, "in")), (await readdir(join(to, "sub"))).sort()], ["sub/data", ["data", "empty", "up"]]);
    assert.equal(await readFile(join(to, "sub", "up"), "utf8"), "#!/bin/sh\necho hi\n");

    await sandbox.files.upload(join(from, "run.sh"), `${here}/one`);
    await sandbox.files.download(`${here}/one`, join(local, "one"));
    assert.equal(await readFile(join(local, "one"), "utf8"), "#!/bin/sh\necho hi\n");
  });

  it("come down to nowhere else than the target", async () => {
    const elsewhere = join(local, "elsewhere");
    const target = join(local, "target");
    await mkdir(elsewhere);
    await mkdir(target);
    await symlink(elsewhere, join(target, "sub"));
    await symlink(join(elsewhere, "f"), join(target, "f"));
    await sandbox.commands.run(`mkdir ${here}/t && echo x > ${here}/t/f`);
    await sandbox.files.download(`${here}/t`, target);
    assert.deepEqual(await readdir(elsewhere), []);
    assert.equal(await readFile(join(target, "f"), "utf8"), "x\n");
    await sandbox.commands.run(`mkdir ${here}/t/sub && echo x > ${here}/t/sub/g`);
    await assert.rejects(sandbox.files.download(`${here}/t`, target), InvalidArgument);
    assert.deepEqual(await readdir(elsewhere), []);
  });

  it("are watched", async () => {
    const { files } = sandbox;
    await files.write(`${here}/old`, "1");
    await files.write(`${here}/gone`, "1");
    const changes = await files.watch(here, { intervalMs: 50, recursive: true });
    await files.write(`${here}/sub/new`, "1");
    await files.write(`${here}/old`, "22");
    await files.remove(`${here}/gone`);
    const seen = new Map<string, FileChange["kind"]>();
    for await (const { path, kind } of changes) {
      seen.set(path.slice(here.length), kind);
      if (seen.size === 4) break;
    }
    assert.deepEqual([...seen].sort(), [["/gone", "removed"], ["/old", "changed"], ["/sub", "created"], ["/sub/new", "created"]]);
    const reason = new Error("enough");
    const ending = await files.watch(`${here}/not-yet`, { intervalMs: 50, signal: AbortSignal.timeout(300) });
    await assert.rejects(ending.next(), { name: "TimeoutError" });
    const aborted = files.watch(here, { signal: AbortSignal.abort(reason) });
    await assert.rejects(aborted, reason);
  });
});
