import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import ts from "typescript";

import * as declare from "../src/declare/index.js";
import { BuildFailed, CommandFailed, InvalidArgument, RemoteError, Server, Timeout, TransportError, mvm } from "../src/index.js";
import { add, later, secretly, seen } from "./declared-functions.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);

class Point {
  readonly x = 1;
}

describe("a decorated function", () => {
  it("is the function", async () => {
    const plain = (a: number, b: string): string => `${a}${b}`;
    const decorated = mvm.app({ name: "a" })(plain);
    assert.equal(decorated, plain);
    assert.equal(mvm.func()(plain), plain);
    assert.deepEqual([plain.name, plain.length, Object.keys(plain)], ["plain", 2, []]);
    assert.equal(add(1), 3);
    assert.equal(add.local(1, 1), 2);
    assert.equal(await later(1), 1);
    assert.equal(decorated.local, plain);
  });

  it("has the types of the function", () => {
    const typed = mvm.app()((a: number, b?: string) => ({ a, b }));
    const asked: () => Promise<{ a: number; b: string | undefined }> = () => typed.remote(1, "x");
    const limited: () => Promise<unknown> = () => later.within({ timeoutMs: 1 }).remote(1);
    const none = (): void => {
      // @ts-expect-error -- not what it takes
      void typed.remote("1");
      // @ts-expect-error -- not what it answers
      const wrong: () => Promise<string> = () => typed.remote(1);
      // @ts-expect-error -- no name of an option
      mvm.app({ nam: "a" });
      // @ts-expect-error -- an image is no network
      mvm.app({ network: mvm.image("debian:node") });
      // @ts-expect-error -- not one of its words
      mvm.network({ mode: "host" });
      void wrong();
    };
    assert.equal(typeof asked, typeof limited);
    assert.equal(typeof none, "function");
  });

  it("is a function and nothing else", () => {
    for (const thing of [1, "f", {}, Point]) {
      assert.throws(() => mvm.app()(thing as never), /decorates a function/);
    }
  });
});

describe("declarations", () => {
  it("are frozen values, and say nothing of what they mean", () => {
    const ports = [8080, { guest: 9090 }];
    const value = mvm.network({ mode: "grants", ports });
    ports.push(1);
    assert.deepEqual(value, mvm.network({ mode: "grants", ports: [8080, { guest: 9090 }] }));
    assert.ok(Object.isFrozen(value) && Object.isFrozen(value.arguments) && Object.isFrozen(value.arguments[0]));
    assert.deepEqual(mvm.hostPort("*", 99999).arguments, ["*", 99999]);
    assert.equal(mvm.host_port, mvm.hostPort);
    assert.throws(() => Object.assign(value, { kind: "x" }), TypeError);
  });

  it("have no effect where they are imported", async () => {
    const directory = await mkdtemp(join(tmpdir(), "mvm-declare-"));
    try {
      await mkdir(join(directory, "empty"));
      const module = `
        import sdk, { mvm, app, Sandbox } from ${JSON.stringify(join(root, "dist", "index.js"))};
        mvm.workload({ id: "w", volumes: [mvm.volume("data", { size_mib: 1 })] });
        export const f = app({ name: "a", source: mvm.localPath(".") })((a) => a);
        mvm.app({ name: "b", image: "debian:node", entrypoint: mvm.entrypoint(["true"]) });`;
      await writeFile(join(directory, "declared.mjs"), module);
      const script = `
        import { createHook } from "node:async_hooks";
        const { prepareStackTrace, stackTraceLimit } = Error;
        const kinds = new Set();
        const hook = createHook({ init: (_, kind) => kinds.add(kind) }).enable();
        const { f } = await import(${JSON.stringify(join(directory, "declared.mjs"))});
        hook.disable();
        // Modules are read; nothing else is opened, started, or waited for.
        for (const kind of ["PIPEWRAP", "TCPWRAP", "PROCESSWRAP", "TCPCONNECTWRAP", "PIPECONNECTWRAP", "Timeout", "DNSCHANNEL", "GETADDRINFOREQWRAP"])
          if (kinds.has(kind)) throw new Error(kind);
        if (Error.prepareStackTrace !== prepareStackTrace || Error.stackTraceLimit !== stackTraceLimit) throw new Error("stacks");
        if (f(1) !== 1) throw new Error("f");
        console.log("well");`;
      const environment = { PATH: "", HOME: join(directory, "empty") };
      const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: join(directory, "empty"), env: environment });
      assert.equal(stdout, "well\n");
      assert.deepEqual(await readdir(join(directory, "empty")), []);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("need nothing of the rest", async () => {
    for (const name of await readdir(join(root, "dist", "declare"))) {
      const text = await readFile(join(root, "dist", "declare", name), "utf8");
      if (!name.endsWith(".js")) continue;
      for (const [, from] of text.matchAll(/^(?:import|export) .*from "(.*)";/gm)) assert.match(from ?? "", /^\.\/[a-z-]+\.js$/, name);
      for (const [, from] of text.matchAll(/\bimport\("(.*)"\)/g)) assert.equal(from, "../invocation.js", name);
    }
  });

  it("are those of the table, each in both spellings", async () => {
    const table = JSON.parse(await readFile(join(root, "..", "helpers.json"), "utf8")) as Record<string, { positional: string[]; named: string[] }>;
    const found = helpersOf(join(root, "src", "declare", "index.ts"));
    const camel = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const expected = Object.entries(table).map(([name, { positional, named }]) => {
      const names = [...positional, ...named].flatMap((one) => one.split("|"));
      return [name, [...new Set(names.flatMap((one) => [one, camel(one)]))].sort()] as const;
    });
    // Without named arguments there is nothing to spell.
    assert.deepEqual(Object.fromEntries(found), Object.fromEntries(expected));
    const exported = new Set(expected.flatMap(([name]) => [name, camel(name)]));
    assert.deepEqual(new Set(Object.keys(declare)), exported);
  });
});

/** The names that each exported function takes, as its type says. */
function helpersOf(file: string): [string, string[]][] {
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, "tsconfig.json"), (path) => ts.sys.readFile(path)).config, ts.sys, root);
  const program = ts.createProgram([file], options);
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(file);
  assert.ok(source);
  const module = checker.getSymbolAtLocation(source);
  assert.ok(module);
  const named = checker.getExportsOfModule(module).flatMap((symbol): [string, string[]][] => {
    const it = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const [signature] = checker.getTypeOfSymbol(it).getCallSignatures();
    if (signature === undefined || /[A-Z]/.test(symbol.name)) return [];
    const names = signature.parameters.flatMap((parameter) => propertiesOf(checker, checker.getTypeOfSymbol(parameter)));
    return [[symbol.name, [...new Set(names)].sort()]];
  });
  return named;
}

function propertiesOf(checker: ts.TypeChecker, type: ts.Type): string[] {
  if (type.isUnion()) return type.types.flatMap((one) => propertiesOf(checker, one));
  if (checker.isTupleType(type)) return checker.getTypeArguments(type as ts.TypeReference).flatMap((one) => optionsOf(checker, one));
  return optionsOf(checker, type);
}

function optionsOf(checker: ts.TypeChecker, type: ts.Type): string[] {
  if (type.isUnion()) return type.types.flatMap((one) => optionsOf(checker, one));
  if (checker.isArrayType(type) || !(type.flags & ts.TypeFlags.Object)) return [];
  const names = checker.getPropertiesOfType(type).map(({ name }) => name);
  // A declared value, given by position.
  return names.includes("helper") ? [] : names;
}

describe("a remote call", { timeout: 60_000 }, () => {
  const asked: unknown[] = [];
  let answer: { status: number; body: unknown } = { status: 200, body: {} };
  let standIn: http.Server;
  let server: Server;
  const same = { stderr_base64: Buffer.from("said").toString("base64"), run_id: "run-1", audit_id: "audit-1", duration_ms: 1.5, origin: "spare" };
  const returns = (value: unknown): void => {
    answer = { status: 200, body: { outcome: "returned", value, ...same } };
  };

  before(async () => {
    standIn = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        asked.push([request.method, request.url, JSON.parse(Buffer.concat(chunks).toString())]);
        response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body));
      });
    });
    standIn.listen(0, "127.0.0.1");
    await once(standIn, "listening");
    const url = `http://127.0.0.1:${(standIn.address() as AddressInfo).port}`;
    process.env["MVM_URL"] = url;
    server = Server.at(url);
  });
  after(() => {
    delete process.env["MVM_URL"];
    standIn.closeAllConnections();
    standIn.close();
  });

  it("asks for the source, the app and the function", async () => {
    returns(3);
    const file = join(root, "test", "declared-functions.ts");
    assert.equal(await add.remote(1), 3);
    assert.deepEqual(asked.pop(), ["POST", "/v1/invocations", { file, app: "math", function: "add", positional: [1] }]);
    await later.within({ timeoutMs: 1500, server }).remote({ a: [null, undefined, "x"].slice(0, 1), b: undefined });
    assert.deepEqual(asked.pop(), ["POST", "/v1/invocations", { file, app: "math", function: "later", positional: [{ a: [null] }], timeout_ms: 1500 }]);
    await seen.remote();
    assert.deepEqual(asked.pop(), ["POST", "/v1/invocations", { file, app: null, function: "seen", positional: [] }]);
    returns(null);
    assert.equal(await later.remote(undefined), null);
    assert.deepEqual((asked.pop() as { positional: unknown }[])[2]?.positional, []);
  });

  it("throws what the function threw", async () => {
    const error = { type: "TypeError", message: "no \u001b[31mway", traceback: "TypeError: no\n    at f (/app/main.js:1:1)" };
    answer = { status: 200, body: { outcome: "raised", error, ...same } };
    const caught: unknown = await later.remote(1).catch((thrown: unknown) => thrown);
    assert.ok(caught instanceof RemoteError && caught instanceof CommandFailed && !(caught instanceof TypeError));
    assert.deepEqual([caught.code, caught.type, caught.message, caught.runId], ["CommandFailed", "TypeError", error.message, "run-1"]);
    assert.deepEqual([caught.remoteTraceback, caught.result.stderrText, caught.result.auditId], [error.traceback, "said", "audit-1"]);
    assert.match(caught.toString(), /^TypeError: no \\u\{1b\}\[31mway\n\nIn the microVM:\nTypeError: no\n {4}at f \(\/app/);
    assert.match(caught.stack ?? "", /at f \(\/app\/main\.js:1:1\)\nCalled here:\n {4}at /);
  });

  it("throws what the server answers", async () => {
    for (const [code, kind] of [["InvalidArgument", InvalidArgument], ["BuildFailed", BuildFailed], ["Timeout", Timeout]] as const) {
      answer = { status: 400, body: { code, detail: "no", causes: ["app.ts:1:2"] } };
      await assert.rejects(later.remote(1), (error) => error instanceof kind && error.causes[0] === "app.ts:1:2");
    }
    for (const body of [{}, [], { outcome: "returned" }, { outcome: "raised" }, { outcome: "raised", error: {} }]) {
      answer = { status: 200, body };
      await assert.rejects(later.remote(1), TransportError);
    }
  });

  it("refuses arguments that are no JSON", async () => {
    asked.length = 0;
    for (const [value, message] of [
      [{ rows: [1, { when: new Date(0) }] }, "`arguments[0].rows[1].when` is a Date"],
      [[NaN], "`arguments[0][0]` is NaN"],
      [new Set(), "is a Set"],
      [Buffer.from("x"), "is a Buffer"],
      [[undefined], "is undefined"],
      [1n, "is a bigint"],
      [Symbol("a"), "is a symbol"],
      ["\ud800", "surrogate"],
      [new Point(), "is a Point"],
      ["x".repeat(9 << 20), "bytes of JSON"],
    ] as const) {
      await assert.rejects(later.remote(value), (error) => error instanceof InvalidArgument && error.message.includes(message) && error.hint !== undefined);
    }
    await assert.rejects(add.remote(undefined as never, 1), InvalidArgument);
    assert.deepEqual(asked, []);
  });

  it("refuses functions that no module exports, or that are in none", async () => {
    await assert.rejects(secretly[0]?.remote() ?? Promise.resolve(), /is not exported/);
    const script = `import { mvm } from ${JSON.stringify(join(root, "dist", "index.js"))};
      const f = mvm.app()(function f() {}); await f.remote().catch((error) => console.log(error.code, error.message));`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { env: { ...process.env } });
    assert.match(stdout, /^InvalidArgument `f` is in no file/);
  });

  it("can be made where the module itself waits for it", async () => {
    const directory = await mkdtemp(join(tmpdir(), "mvm-main-"));
    try {
      returns("hello");
      const head = `import { mvm } from ${JSON.stringify(join(root, "dist", "index.js"))};`;
      await writeFile(join(directory, "main.mjs"), `${head} export const f = mvm.app()(function f() {}); console.log(await f.remote());`);
      const { stdout } = await run(process.execPath, [join(directory, "main.mjs")], { env: { ...process.env } });
      assert.equal(stdout, "hello\n");
      assert.deepEqual(asked.pop(), ["POST", "/v1/invocations", { file: join(directory, "main.mjs"), app: null, function: "f", positional: [] }]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
