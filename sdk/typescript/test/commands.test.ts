import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { CommandFailed, CommandResult, InvalidArgument, NotFound, Sandbox, verifyReceipt, type ProcessEvent } from "../src/index.js";

/** The bytes that a command wrote to a stream, from its events. */
function written(events: readonly ProcessEvent[], stream: "stdout" | "stderr"): string {
  const bytes = events.flatMap((event) => (event.kind === "output" && event.stream === stream ? [event.bytes] : []));
  return Buffer.concat(bytes).toString();
}

describe("commands", { timeout: 300_000 }, () => {
  let sandbox: Sandbox;
  before(async () => {
    sandbox = await Sandbox.create();
  });
  after(async () => {
    await sandbox.destroy();
  });

  it("run to a result", async () => {
    const result = await sandbox.commands.run(["sh", "-c", "printf out; printf err >&2; exit 3"]);
    assert.deepEqual([result.exitCode, result.stdoutText, result.stderrText], [3, "out", "err"]);
    assert.deepEqual([result.signal, result.timedOut, result.truncated], [undefined, false, false]);
    assert.ok(result.durationMs > 0);
    assert.match(result.runId ?? "", /^run-/);
    assert.ok(result.auditId);
    assert.equal(result.receipt, undefined);
  });

  it("run a line of the shell, with environment, directory, user and input", async () => {
    const result = await sandbox.commands.run('printf "%s %s %s " "$A_b" "$PWD" "$(id -un)"; cat', {
      environment: { A_b: "ä c" },
      workingDirectory: "/tmp",
      user: "nobody",
      stdin: "in ö",
    });
    assert.equal(result.stdoutText, "ä c /tmp nobody in ö");
  });

  it("carry bytes unchanged, and much input that is read slowly or never", async () => {
    const bytes = Uint8Array.from({ length: 3 * 1024 * 1024 }, (_, at) => (at * 31 + (at >> 8)) & 255);
    const same = await sandbox.commands.run(["cat"], { stdin: bytes });
    assert.ok(Buffer.from(same.stdout).equals(bytes));
    const unread = await sandbox.commands.run(["true"], { stdin: bytes });
    assert.equal(unread.exitCode, 0);
    const empty = await sandbox.commands.run(["cat"], { stdin: "" });
    assert.deepEqual([empty.exitCode, empty.stdout.length], [0, 0]);
  });

  it("throw with `check`, with the result", async () => {
    const failed = sandbox.commands.run("echo bad >&2; exit 7", { check: true });
    await assert.rejects(failed, (error: unknown) => {
      assert.ok(error instanceof CommandFailed && error.result instanceof CommandResult);
      assert.equal(error.code, "CommandFailed");
      assert.deepEqual([error.result.exitCode, error.result.stderrText], [7, "bad\n"]);
      return true;
    });
    assert.equal((await sandbox.commands.run("exit 0", { check: true })).exitCode, 0);
  });

  it("say that a program is not there or cannot be executed", async () => {
    await assert.rejects(sandbox.commands.run(["/no/such"]), NotFound);
    await assert.rejects(sandbox.commands.run(["/etc/passwd"]), InvalidArgument);
  });

  it("end at their timeout", async () => {
    const result = await sandbox.commands.run("echo begun; sleep 60", { timeoutMs: 1000 });
    assert.deepEqual([result.timedOut, result.exitCode, result.stdoutText], [true, 124, "begun\n"]);
  });

  it("end when the call is aborted, with the signal's reason", async () => {
    const reason = new Error("enough");
    const control = new AbortController();
    const run = sandbox.commands.run("echo $$; exec sleep 613", {
      signal: control.signal,
      onStdout: () => {
        control.abort(reason);
      },
    });
    await assert.rejects(run, reason);
    await assert.rejects(sandbox.commands.run(["true"], { signal: control.signal }), reason);
    const left = await sandbox.commands.run("sleep 1; pgrep -x sleep -a || grep -l 613 /proc/[0-9]*/cmdline");
    assert.ok(!left.stdoutText.includes("sleep 613"), left.stdoutText);
  });

  it("call back with output, and pass on what a callback throws", async () => {
    let out = "";
    let err = "";
    const result = await sandbox.commands.run("echo 1; echo 2 >&2", {
      onStdout: async (bytes) => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        out += Buffer.from(bytes).toString();
      },
      onStderr: (bytes) => {
        err += Buffer.from(bytes).toString();
      },
    });
    assert.deepEqual([out, err, result.stdoutText], ["1\n", "2\n", "1\n"]);
    const mine = new Error("mine");
    const throwing = sandbox.commands.run("echo 1; sleep 60", {
      onStdout: () => {
        throw mine;
      },
    });
    await assert.rejects(throwing, mine);
  });

  it("keep output up to a limit, and read the rest", async () => {
    const result = await sandbox.commands.run("head -c 3000000 /dev/zero; echo end >&2", { outputLimitBytes: 1000 });
    assert.deepEqual([result.stdout.length, result.truncated, result.stderrText], [1000, true, "end\n"]);
  });

  it("have receipts that verify", async () => {
    const result = await sandbox.commands.run(["true"], { receipt: true });
    assert.ok(result.receipt);
    const check = await verifyReceipt(result.receipt);
    assert.ok(check.valid);
    assert.equal(check.runId, result.runId);
    assert.ok(check.key);
    const forged = await verifyReceipt(Buffer.from(Buffer.from(result.receipt).toString().replace(/[A-Z]/, "0")));
    assert.equal(forged.valid, false);
  });

  it("start, stream, take input and end", async () => {
    const process = await sandbox.commands.start("echo ready; while read line; do echo got $line; done", { stdin: true });
    assert.ok(process.id > 0 && process.pid > 0);
    assert.match(process.runId ?? "", /^run-/);
    assert.equal(await process.poll(), undefined);
    const ended = process.wait();
    const events: ProcessEvent[] = [];
    for await (const event of process) {
      events.push(event);
      if (events.length === 1) await process.sendStdin("a\nb\n");
      if (written(events, "stdout").includes("got b")) break;
    }
    await process.closeStdin();
    const result = await ended;
    assert.deepEqual([result.exitCode, result.stdoutText], [0, "ready\ngot a\ngot b\n"]);
    assert.equal(await process.poll(), 0);
    assert.equal(result.runId, process.runId);
  });

  it("stream text whose characters lie in two writes", async () => {
    const script = "printf '\\342\\202'; sleep 0.3; printf '\\254 x\\ny'";
    const texts: string[] = [];
    for await (const { text } of (await sandbox.commands.start(script)).text()) texts.push(text);
    assert.equal(texts.join(""), "€ x\ny");
    const lines: string[] = [];
    for await (const { text } of (await sandbox.commands.start(script)).lines()) lines.push(text);
    assert.deepEqual(lines, ["€ x", "y"]);
  });

  it("refuse input where their standard input is not open, and go on", async () => {
    const process = await sandbox.commands.start(["cat"], { stdin: true });
    await process.closeStdin();
    await process.closeStdin();
    await assert.rejects(process.sendStdin("x"), InvalidArgument);
    assert.equal((await process.wait()).exitCode, 0);
    const without = await sandbox.commands.start("cat; echo end");
    await assert.rejects(without.sendStdin("x"), InvalidArgument);
    assert.equal((await without.wait()).stdoutText, "end\n");
  });

  it("die by signals, with what they have started", async () => {
    const process = await sandbox.commands.start("sleep 60 & sleep 60");
    await process.kill();
    const result = await process.wait();
    assert.deepEqual([result.signal, result.exitCode], [9, 137]);
    const polite = await sandbox.commands.start("trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.1; done");
    for await (const event of polite) if (event.kind === "output") break;
    await polite.kill("SIGTERM");
    assert.deepEqual([(await polite.wait()).exitCode, (await polite.wait()).stdoutText], [4, "up\nbye\n"]);
  });

  it("die when their handle is closed, and stop waiting when that is aborted", async () => {
    const process = await sandbox.commands.start(["sleep", "617"]);
    await assert.rejects(process.wait({ signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
    assert.equal(await process.poll(), undefined);
    process.close();
    await assert.rejects(process.wait(), { code: "TransportError" });
    for (let tries = 0; (await process.poll()) === undefined; tries += 1) assert.ok(tries < 100);
  });

  it("have a terminal with a size", async () => {
    const process = await sandbox.commands.start("stty size; read x; stty size", {
      terminal: { columns: 91, rows: 33 },
      stdin: true,
    });
    for await (const event of process) if (event.kind === "output") break;
    await process.resize(101, 44);
    await process.sendStdin("\n");
    const result = await process.wait();
    assert.match(result.stdoutText, /33 91[^]*44 101/);
  });

  it("go on detached, and are taken up again where they were left", async () => {
    const process = await sandbox.commands.start("echo one; sleep 1; echo two; sleep 1; exit 5", { detached: true });
    for await (const event of process) if (event.kind === "output") break;
    const { offsets } = process;
    assert.deepEqual(offsets, { stdoutOffset: 4, stderrOffset: 0 });
    process.close();
    const other = await Sandbox.connect(sandbox.id);
    const listed = (await other.commands.list()).find(({ id }) => id === process.id);
    assert.deepEqual([listed?.detached, listed?.pid, listed?.exitCode], [true, process.pid, undefined]);
    const rest = await other.commands.attach(process.id, offsets);
    assert.equal(rest.pid, process.pid);
    assert.equal((await rest.wait()).stdoutText, "two\n");
    const all = await (await other.commands.attach(process.id)).wait();
    assert.deepEqual([all.stdoutText, all.exitCode], ["one\ntwo\n", 5]);
    assert.equal((await other.commands.list()).find(({ id }) => id === process.id)?.exitCode, 5);
    await assert.rejects(other.commands.attach(999_999), NotFound);
  });

  it("run many at a time", async () => {
    const runs = Array.from({ length: 20 }, (_, at) => sandbox.commands.run(["echo", String(at)]));
    assert.deepEqual((await Promise.all(runs)).map((run) => run.stdoutText.trim()), runs.map((_, at) => String(at)));
  });
});
