import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isName, staysInside } from "../src/download.js";
import { CommandFailed, MvmError, NotFound, TransportError } from "../src/errors.js";
import type { FileEntry } from "../src/file-entry.js";
import { FrameParser } from "../src/frames.js";
import { errorOfProblem } from "../src/problem.js";
import { Collected } from "../src/result.js";
import { specJson } from "../src/sandbox-spec.js";
import { Server } from "../src/server.js";
import { signalNumber } from "../src/signals.js";
import { LineSplitter, TextStream } from "../src/text.js";
import { changesBetween } from "../src/watch.js";

function frame(kind: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + payload.length);
  bytes[0] = kind;
  new DataView(bytes.buffer).setUint32(1, payload.length);
  bytes.set(payload, 5);
  return bytes;
}

describe("frames", () => {
  const payloads = [Buffer.from("{}"), Buffer.alloc(0), Buffer.from([0, 1, 2, 255, 254]), Buffer.alloc(300, 7)];
  const stream = Buffer.concat(payloads.map((payload, kind) => frame(kind, payload)));
  const check = (frames: { kind: number; payload: Uint8Array }[]): void => {
    assert.deepEqual(frames.map(({ kind }) => kind), [0, 1, 2, 3]);
    for (const [at, payload] of payloads.entries()) assert.ok(payload.equals(frames[at]?.payload ?? Buffer.from("x")));
  };

  it("come whole from every split into two", () => {
    for (let at = 0; at <= stream.length; at += 1) {
      const parser = new FrameParser();
      check([...parser.push(stream.subarray(0, at)), ...parser.push(stream.subarray(at))]);
      assert.equal(parser.pending, 0);
    }
  });

  it("come whole from pieces of every size", () => {
    for (let size = 1; size <= 20; size += 1) {
      const parser = new FrameParser();
      const frames = [];
      for (let at = 0; at < stream.length; at += size) frames.push(...parser.push(stream.subarray(at, at + size)));
      check(frames);
    }
  });

  it("refuse a length that no server sends", () => {
    assert.throws(() => new FrameParser().push(Uint8Array.of(1, 255, 255, 255, 255)), TransportError);
  });
});

describe("text", () => {
  const said = "a é € 😀 \uFEFFz";
  it("never splits a character", () => {
    const bytes = Buffer.from(said);
    for (let at = 0; at <= bytes.length; at += 1) {
      const text = new TextStream();
      const parts = [text.push(bytes.subarray(0, at)), text.push(bytes.subarray(at)), text.end()];
      assert.equal(parts.join(""), said);
      assert.ok(!parts.some((part) => part.includes("\uFFFD")));
    }
  });

  it("replaces a character that never becomes whole", () => {
    const text = new TextStream();
    assert.equal(text.push(Uint8Array.of(0x61, 0xe2, 0x82)), "a");
    assert.equal(text.end(), "\uFFFD");
  });

  it("gives lines from every split", () => {
    const whole = "one\n\ntwo\nrest";
    for (let at = 0; at <= whole.length; at += 1) {
      const lines = new LineSplitter();
      assert.deepEqual(
        [...lines.push(whole.slice(0, at)), ...lines.push(whole.slice(at)), ...lines.end()],
        ["one", "", "two", "rest"],
      );
    }
  });

  it("collects to its limit, and says so", () => {
    const collected = new Collected(4);
    collected.push(Buffer.from("abcd"));
    assert.equal(collected.truncated, false);
    collected.push(Buffer.from("e"));
    assert.equal(collected.truncated, true);
    assert.equal(Buffer.from(collected.bytes()).toString(), "abcd");
  });
});

describe("errors", () => {
  it("have one class per code", () => {
    const codes = ["Timeout", "PolicyDenied", "AdmissionFailed", "BuildFailed", "SandboxUnavailable", "BackendUnsupported"];
    const more = ["SnapshotMismatch", "CleanupFailed", "InvalidArgument", "NotFound", "TransportError"];
    for (const code of [...codes, ...more]) {
      const error = errorOfProblem({ code, detail: "d", hint: "h", causes: ["c"], retryable: true }, 400);
      assert.equal(error.constructor.name, code);
      assert.deepEqual(
        [error.name, error.code, error.message, error.hint, error.causes, error.retryable],
        [code, code, "d", "h", ["c"], true],
      );
      assert.ok(error instanceof MvmError);
    }
    assert.ok(errorOfProblem({ code: "NotFound" }) instanceof NotFound);
  });

  it("make a TransportError of what is no problem", () => {
    for (const problem of [undefined, null, "text", {}, { code: "constructor" }, { code: 7 }]) {
      const error = errorOfProblem(problem, 500);
      assert.ok(error instanceof TransportError);
      assert.match(error.message, /500/);
    }
  });

  it("hold the result of a command", () => {
    const result = { exitCode: 3, signal: undefined, timedOut: false, stderrText: "oh no\n" };
    const error = new CommandFailed(result);
    assert.equal(error.result, result);
    assert.equal(error.message, "the command ended with code 3: oh no");
  });
});

describe("a download", () => {
  it("takes only names that are one component", () => {
    for (const name of ["", ".", "..", "a/b", "/a", "a\0"]) assert.equal(isName(name), false);
    for (const name of ["a", "...", ".a", "a b", "ä"]) assert.equal(isName(name), true);
  });

  it("makes only links that stay inside", () => {
    for (const [target, depth] of [["a", 0], ["./a/b", 0], ["../a", 1], ["../..", 2], [".", 0]] as const) {
      assert.equal(staysInside(target, depth), true, target);
    }
    for (const [target, depth] of [["/a", 5], ["..", 0], ["../../a", 1], ["a/..", 3], ["a/../../b", 1], ["", 0]] as const) {
      assert.equal(staysInside(target, depth), false, target);
    }
  });
});

describe("values", () => {
  it("leave out what is not given", () => {
    assert.deepEqual(specJson({}), {});
    assert.deepEqual(specJson({ image: null, memoryMib: 512, network: {}, environment: { aB: "c" } }), {
      resources: { memory_mib: 512 },
      network: {},
      environment: { aB: "c" },
    });
  });

  it("number signals as Linux does", () => {
    assert.deepEqual([signalNumber("SIGTERM"), signalNumber("SIGUSR1"), signalNumber(9)], [15, 10, 9]);
    assert.throws(() => signalNumber(0), { code: "InvalidArgument" });
    assert.throws(() => signalNumber("SIGNONE" as NodeJS.Signals), { code: "InvalidArgument" });
  });

  it("refuse what is no address", () => {
    for (const url of ["", "unix:relative", "ftp://host", "host:80"]) {
      assert.throws(() => Server.at(url), { code: "InvalidArgument" }, url);
    }
    for (const url of ["unix:///run/mvm.sock", "http://[::1]:80", "https://host/prefix"]) Server.at(url);
  });

  it("tell what has changed", () => {
    const entry = (size: number): FileEntry => ({
      name: "n", kind: "file", size, mode: 0o644, modifiedAtMs: 1, userId: 0, groupId: 0, target: undefined,
    });
    const before = new Map([["/a", entry(1)], ["/b", entry(1)], ["/c", entry(1)]]);
    const now = new Map([["/b", entry(2)], ["/c", entry(1)], ["/d", entry(1)]]);
    assert.deepEqual(
      changesBetween(before, now).map(({ kind, path }) => [kind, path]),
      [["removed", "/a"], ["changed", "/b"], ["created", "/d"]],
    );
  });
});
