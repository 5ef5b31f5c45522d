import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import * as sdk from "../src/index.js";
import { Guest, runner as files, type Message, type Runner } from "./guest.js";

function raised(message: Message): string {
  assert.equal(message.event, "raised", JSON.stringify(message));
  return `${message.error?.type ?? ""}: ${message.error?.message ?? ""}`;
}

/** The guest's runner for Node.js, as a process over pipes, the way a host starts it. */
describe("the runner", { timeout: 300_000 }, () => {
  let guest: Guest;
  before(async () => {
    guest = await Guest.make();
  });
  after(() => guest.end());

  const ab = { parameters: ["a", "b"] };

  for (const pipes of [true, false]) {
    it(`answers calls in turn until the input ends, over ${pipes ? "pipes" : "sockets"}`, async () => {
      const runner = await guest.start("export const f = (a, b = 2) => ({ sum: a + b });", ab, pipes);
      assert.deepEqual(await runner.read(), { event: "ready" });
      assert.deepEqual(await runner.call({ a: 1 }), { event: "returned", value: { sum: 3 } });
      assert.deepEqual(await runner.call({ b: "€😀", a: "ä" }), { event: "returned", value: { sum: "ä€😀" } });
      assert.deepEqual(await runner.end(), { code: 0, rest: [], errors: "" });
    });

    it(`sends what the function prints to standard error, over ${pipes ? "pipes" : "sockets"}`, async () => {
      const runner = await guest.start(
        `import { execSync, spawnSync } from "node:child_process";
         import { readFileSync, writeSync } from "node:fs";
         console.log("at import");
         export function f() {
           console.log("printed"); process.stdout.write("half a line");
           writeSync(1, "written"); execSync("echo from a shell", { stdio: "inherit" });
           spawnSync("echo", ["from a program"], { stdio: "inherit" });
           return readFileSync(0, "utf8");
         }`,
        {},
        pipes,
      );
      await runner.read();
      assert.deepEqual(await runner.call(), { event: "returned", value: "" });
      const { code, rest, errors } = await runner.end();
      assert.deepEqual([code, rest], [0, []]);
      for (const text of ["at import", "printed", "half a line", "written", "from a shell", "from a program"]) assert.ok(errors.includes(text), text);
    });
  }

  it("tells exceptions with the files of the app", async () => {
    const runner = await guest.start(
      `class Broken extends Error { name = "Broken"; }
       function inner() { throw new TypeError("inside"); }
       export async function f(a) {
         try { inner(); } catch (cause) { throw new Broken("no way", { cause }); }
       }`,
      ab,
    );
    await runner.read();
    const answer = await runner.call({ a: 1 });
    assert.equal(raised(answer), "Broken: no way");
    const trace = answer.error?.traceback ?? "";
    assert.match(trace, /main\.mjs:4:/);
    assert.match(trace, /Caused by: TypeError: inside\n\s+at inner .*main\.mjs:2:/);
    assert.doesNotMatch(trace, /library|node:internal/);
  });

  const bodies: readonly (readonly [string, RegExp])[] = [
    ["process.exit(3)", /^SystemExit: .*3/],
    ["await new Promise(() => setTimeout(() => process.exit(4), 1))", /^SystemExit: .*4/],
    ["setTimeout(() => { throw new Error('late') }, 1); await new Promise((done) => setTimeout(done, 500))", /^Error: late/],
    ["void Promise.reject(new Error('floating')); await new Promise((done) => setTimeout(done, 500))", /^Error: floating/],
    ["await new Promise(() => {})", /^NeverSettled: /],
    ["return f(false, f)", /^RangeError: Maximum call stack/],
    ["throw 'text'", /^NonError: text/],
    ["throw null", /^NonError: null/],
    ["throw new Proxy(new Error('x'), { get() { throw 1; } })", /^Error: it cannot be told/],
    ["return NaN", /^ResultNotJson: `result` is NaN/],
    ["return { a: [1, -Infinity] }", /^ResultNotJson: `result\.a\[1\]` is -Infinity/],
    ["return [undefined]", /^ResultNotJson: `result\[0\]` is undefined/],
    ["return new Set([1])", /^ResultNotJson: `result` is a Set.*array/],
    ["return { 'a b': new Map() }", /^ResultNotJson: `result\["a b"\]` is a Map/],
    ["return new Date(0)", /^ResultNotJson: `result` is a Date.*toISOString/],
    ["return Buffer.from('x')", /^ResultNotJson: `result` is a Buffer.*base64/],
    ["return 1n", /^ResultNotJson: `result` is a bigint/],
    ["return f", /^ResultNotJson: `result` is a function/],
    ["const a = []; a.push(a); return a", /^ResultNotJson: .*in a circle/],
    ["return '\\ud800'", /^ResultNotJson: .*surrogate/],
    ["return 'x'.repeat(8 << 20)", /^ResultTooLarge: .*8388640 bytes/],
  ];
  it("goes on after whatever a function does", async () => {
    for (const [body, expected] of bodies) {
      const runner = await guest.start(`export async function f(well, g) { if (g) return g(false, g); if (well) return "well"; ${body} }`, { parameters: ["well"] });
      await runner.read();
      assert.match(raised(await runner.call()), expected);
      assert.deepEqual(await runner.call({ well: true }), { event: "returned", value: "well" }, body);
      const { code, rest } = await runner.end();
      assert.deepEqual([code, rest], [0, []], body);
    }
  });

  it("bounds messages and stacks", async () => {
    const runner = await guest.start("export function f() { throw new Error('x'.repeat(10_000_000)); }");
    await runner.read();
    const { message = "", traceback = "" } = (await runner.call()).error ?? {};
    assert.ok(message.length > 60_000 && message.length < 66_000 && traceback.length < 66_000);
    assert.match(message, /characters left out/);
  });

  const modules: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
    ["import './not-there.mjs'", {}, /^Error: .*not-there/],
    ["export const f = ;", {}, /^SyntaxError: /],
    ["null.x", {}, /^TypeError: /],
    ["process.exit(0)", {}, /^SystemExit: /],
    ["await new Promise(() => {})", {}, /^NeverSettled: /],
    ["export const g = 1", {}, /^FunctionNotFound: `f` is not exported/],
    ["export const f = 1; setInterval(() => {}, 1)", {}, /^FunctionNotFound: `f` is no function/],
    ["", { module: "other.js" }, /^ModuleNotFoundError: .*`other\.js`/],
    ["", { language: "python" }, /^EntrypointNotFound: .*a function of python/],
    ["", { kind: "command" }, /^EntrypointNotFound: .*a command/],
    ["", { name: "g" }, /^EntrypointNotFound: .*no entrypoint `f`/],
    ["", { module: 5 }, /^WorkloadUnreadable: /],
  ];
  it("says why a function cannot be loaded", async () => {
    for (const [source, fields, expected] of modules) {
      const runner = await guest.start(source, fields);
      const { event, error } = await runner.read();
      assert.equal(event, "failed", source);
      assert.match(`${error?.type ?? ""}: ${error?.message ?? ""}`, expected);
      assert.equal((await runner.end()).code, 1, source);
    }
  });

  it("holds arguments and results against their schemas", async () => {
    const schema = {
      type: "object",
      properties: {
        n: { type: "integer" },
        rows: { type: "array", items: { type: "object", properties: { x: { type: "number" } } }, maxItems: 2 },
        pair: { type: "array", prefixItems: [{ type: "string" }, { type: "boolean" }], minItems: 2 },
        either: { anyOf: [{ type: "null" }, { enum: [1, "a"] }] },
        fixed: { const: { a: [true] } },
      },
      required: ["n"],
      additionalProperties: false,
    };
    const parameters = Object.keys(schema.properties);
    const runner = await guest.start("export const f = (n, rows) => ({ n, rows });", {
      parameters,
      arguments_schema: schema,
      result_schema: { properties: { rows: { maxItems: 1 } } },
    });
    await runner.read();
    for (const [given, message] of [
      [{}, "`arguments.n` is missing"],
      [{ n: "1" }, "`arguments.n` is a text, not an integer"],
      [{ n: 1.5 }, "`arguments.n` is a number, not an integer"],
      [{ n: 1, m: 2 }, "`arguments.m` is not known"],
      [{ n: 1, rows: [{}, { x: null }] }, "`arguments.rows[1].x` is null, not a number"],
      [{ n: 1, rows: [{}, {}, {}] }, "`arguments.rows` has 3 items"],
      [{ n: 1, pair: ["a"] }, "`arguments.pair` has 1 items"],
      [{ n: 1, pair: ["a", 1] }, "`arguments.pair[1]` is an integer, not a boolean"],
      [{ n: 1, either: true }, "`arguments.either` is of none of its 2 forms"],
      [{ n: 1, fixed: { a: [1] } }, "`arguments.fixed` is not"],
    ] as const) {
      const said = raised(await runner.call(given));
      assert.ok(said.startsWith(`ArgumentsInvalid: ${message}`), said);
    }
    assert.equal(raised(await runner.call({ n: 1, rows: [{}, {}] })), "ResultInvalid: `result.rows` has 2 items, and 1 are the most");
    const well = await runner.call({ n: 1, rows: [{ x: 1 }], pair: ["a", true], either: "a", fixed: { a: [true] } });
    assert.deepEqual(well.value, { n: 1, rows: [{ x: 1 }] });
  });

  it("survives lines that are no requests", async () => {
    const runner = await guest.start("export const f = (a = null) => a;", { parameters: ["a"] });
    await runner.read();
    for (const [line, message] of [
      ["\n", "not JSON"],
      [Buffer.from([0xff, 0xfe, 10]), "not JSON"],
      ['{"arguments": {}\n', "not JSON"],
      ["[]\n", "not of the form"],
      ["null\n", "not of the form"],
      ['{"arguments": []}\n', "not of the form"],
      ['{"arguments": {}, "more": 1}\n', "not of the form"],
      ['{"arguments": {"a": NaN}}\n', "not JSON"],
      ['{"arguments": {"b": 1}}\n', "no parameter `arguments.b`"],
      ['{"arguments": {"__proto__": 1}}\n', "no parameter"],
      [Buffer.concat([Buffer.alloc(1000), Buffer.from("\n")]), "not JSON"],
    ] as const) {
      const said = raised(await runner.send(line));
      assert.ok(said.startsWith("ArgumentsInvalid: ") && said.includes(message), said);
      assert.deepEqual((await runner.call({ a: [1] })).value, [1]);
    }
  });

  it("takes requests of every size", async () => {
    const runner = await guest.start("export const f = (a) => a.length;", { parameters: ["a"] });
    await runner.read();
    const size = (8 << 20) - 100;
    assert.equal((await runner.call({ a: "x".repeat(size) })).value, size);
    assert.match(raised(await runner.call({ a: "x".repeat(9 << 20) })), /^ArgumentsTooLarge/);
    assert.match(raised(await runner.call({ a: "x".repeat(30 << 20) })), /^ArgumentsTooLarge/);
    assert.equal((await runner.call({ a: "x" })).value, 1);
    const several = await runner.send('{"arguments":{"a":"1"}}\n{"arguments":{"a":"22"}}\n');
    assert.deepEqual([several.value, (await runner.read()).value], [1, 2]);
    assert.deepEqual((await runner.end('{"arguments": {"a": "the last"}}')).rest, ['{"event":"returned","value":8}']);
  });

  it("gives random numbers that do not repeat", async () => {
    const runner = await guest.start("const first = Math.random(); export const f = () => [first, Math.random(), Math.random()];");
    await runner.read();
    const numbers = [...((await runner.call()).value as number[]), ...((await runner.call()).value as number[]).slice(1)];
    assert.equal(new Set(numbers).size, 5);
    assert.ok(numbers.every((number) => number > 0 && number < 1));
  });

  it("finds the declarations and not the runtime", async () => {
    const runner = await guest.start(
      `import sdk, { Sandbox, RemoteError, app, mvm } from "@mvm/sdk";
       import { pythonImage } from "@mvm/sdk/declare";
       mvm.workload({ id: "w" });
       export const f = app({ image: mvm.debian("node"), resources: sdk.resources({ memory_mb: 512 }) })((what) =>
         ({ remote: () => f.remote("x"), create: () => Sandbox.create(), new: () => new Sandbox(), local: () => f.local("own"), own: () => typeof pythonImage() })[what]());`,
      { parameters: ["what"] },
    );
    assert.deepEqual(await runner.read(), { event: "ready" });
    assert.match(raised(await runner.call({ what: "remote" })), /inside of a microVM/);
    assert.match(raised(await runner.call({ what: "create" })), /`Sandbox\.create` is not there in a guest/);
    assert.match(raised(await runner.call({ what: "new" })), /`Sandbox` is not there in a guest/);
    assert.equal((await runner.call({ what: "local" })).value, "object");
  });

  it("draws on the kernel in a worker that is kept warm", async () => {
    const warm = { pool_size: 1, max_calls_per_worker: 1, max_memory_mib: 64 };
    const runner = await guest.start(
      `import crypto, { generateKeyPairSync, randomBytes, randomFill, randomFillSync, randomInt, randomUUID } from "node:crypto";
       import { promisify } from "node:util";
       const tried = (make) => { try { return make(); } catch (error) { return error.code ?? error.message; } };
       const web = crypto.webcrypto;
       export const f = async () => ({
         bytes: [randomBytes(4).length, (await promisify(randomBytes)(5)).length, randomBytes(8).equals(randomBytes(8))],
         part: [...randomFillSync(new Uint16Array(64), 2, 2)].map((it, at) => (it === 0) === (at < 2 || at > 3) || at === 2 || at === 3),
         filled: (await promisify(randomFill)(new Uint8Array(32))).every((it) => it === 0),
         buffer: new Uint8Array(randomFillSync(new ArrayBuffer(32))).every((it) => it === 0),
         low: Array.from({ length: 200 }, () => randomInt(3)).sort().filter((it, at, all) => it !== all[at - 1]),
         range: Array.from({ length: 200 }, () => randomInt(-2, 2)).every((it) => it >= -2 && it < 2),
         later: await promisify(randomInt)(1, 2),
         uuid: [randomUUID(), web.randomUUID()].map((it) => /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(it)),
         values: web.getRandomValues(new Uint32Array(8)).every((it) => it === 0),
         wrong: [tried(() => randomBytes(-1)), tried(() => randomInt(5, 1)), tried(() => randomFillSync("text"))],
         refused: [tried(() => generateKeyPairSync("ed25519")), tried(() => crypto.createECDH("prime256v1")), tried(() => web.subtle.generateKey({}, true, []))],
         hash: crypto.createHash("sha256").update("a").digest("hex").slice(0, 8),
       });`,
      { warm },
    );
    await runner.read();
    const value = (await runner.call()).value as Record<string, unknown>;
    assert.deepEqual(value["bytes"], [4, 5, false]);
    assert.ok((value["part"] as boolean[]).every(Boolean));
    for (const name of ["filled", "buffer", "values"]) assert.equal(value[name], false, name);
    assert.deepEqual(value["low"], [0, 1, 2]);
    assert.equal(value["range"], true);
    assert.equal(value["later"], 1);
    assert.deepEqual(value["uuid"], [true, true]);
    assert.deepEqual(value["wrong"], ["ERR_OUT_OF_RANGE", "ERR_OUT_OF_RANGE", "ERR_INVALID_ARG_TYPE"]);
    for (const why of value["refused"] as string[]) assert.match(why, /no randomness of its own in a warm worker/);
    assert.equal(value["hash"], "ca978112");
  });

  it("has a stub with every name of the SDK", async () => {
    const stub = (await import(`${guest.directory}/library/node/sdk/index.js`)) as Record<string, unknown>;
    assert.deepEqual(Object.keys(stub).sort(), Object.keys(sdk).sort());
  });

  it("has the declarations of the SDK as they are built", async () => {
    const built = fileURLToPath(new URL("../../dist/declare/", import.meta.url));
    const names = (await readdir(built)).filter((name) => name.endsWith(".js"));
    assert.deepEqual((await readdir(join(files, "sdk", "declare"))).sort(), names.sort());
    for (const name of names) {
      const kept = await readFile(join(files, "sdk", "declare", name), "utf8");
      assert.equal(kept, await readFile(join(built, name), "utf8"), `${name} is not up to date: npm run guest`);
    }
  });

  it("takes TypeScript from what was compiled beside it", async () => {
    await guest.write("src/main.js", 'import { two } from "./two.ts"; import { three } from "./three"; import { four } from "./four.js"; export const f = () => two + three + four;');
    await guest.write("src/main.ts", "this is not what runs");
    await guest.write("src/two.js", "export const two = 2;");
    await guest.write("src/three.js", "export const three = 3;");
    await guest.write("src/four.js", "module.exports.four = 4;");
    const runner: Runner = await guest.start("", { module: "src/main.ts" });
    assert.deepEqual(await runner.read(), { event: "ready" });
    assert.equal((await runner.call()).value, 9);
  });

  it("takes functions of CommonJS modules", async () => {
    await guest.write("common.cjs", "module.exports = { f: () => 1 }; module.exports['g'] = 1;");
    const runner = await guest.start("", { module: "common.cjs" });
    await runner.read();
    assert.equal((await runner.call()).value, 1);
  });
});
