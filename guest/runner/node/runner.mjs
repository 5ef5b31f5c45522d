// Calls one function of a workload, in the guest: lines of JSON in, lines of JSON out.
//
//     node runner.mjs APP ENTRYPOINT [WORKLOAD]
//
// The lines go by the standard streams this process was started with. The function sees an empty
// standard input, and what it prints goes to standard error.

import { closeSync, openSync, readSync, readFileSync, writeSync } from "node:fs";
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const WORKLOAD = "/etc/mvm/workload.json";
const MOST_BYTES = 8 * 1024 * 1024;
const MOST_STACK = 64 * 1024;
const MOST_MESSAGE = 4 * 1024;

/** What is asked or given that cannot be passed on. */
class Refused extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** What `process.exit` is turned into while a function runs. */
class ProcessExit extends Error {
  constructor(code) {
    super(`process.exit(${code ?? ""})`);
    this.name = "ProcessExit";
  }
}

async function main(app, entrypoint, workload = WORKLOAD) {
  const requests = new Requests(openSync("/proc/self/fd/0", "r"));
  const say = takeOutput();
  const exit = process.exit;
  process.exit = (code) => {
    throw new ProcessExit(code);
  };
  let declared;
  let called;
  try {
    declared = find(workload, app, entrypoint);
    called = await load(declared);
  } catch (error) {
    say({ event: "failed", error: told(error) });
    return exit(1);
  }
  say({ event: "ready" });
  for (;;) {
    const line = requests.line();
    if (line === undefined) return exit(0);
    try {
      say(await answer(called, declared, line));
    } catch (error) {
      const refused = error instanceof Refused;
      say({ event: "raised", error: refused ? { type: error.kind, message: error.message, traceback: "" } : told(error) });
    }
  }
}

/** Standard output as it was, for the protocol; what is printed from here on goes to standard error. */
function takeOutput() {
  const own = openSync("/proc/self/fd/1", "a");
  // The lowest number that is free is taken: from here on, 1 is where 2 leads, for children too.
  closeSync(1);
  openSync("/proc/self/fd/2", "a");
  return (reply) => {
    const line = encode(reply);
    for (let at = 0; at < line.length; ) at += writeFully(own, line, at);
  };
}

function writeFully(descriptor, bytes, at) {
  try {
    return writeSync(descriptor, bytes, at);
  } catch (error) {
    if (error.code === "EAGAIN") return 0;
    throw error;
  }
}

class Requests {
  constructor(descriptor) {
    this.descriptor = descriptor;
    this.pending = Buffer.alloc(0);
    this.ended = false;
    // What user code finds as standard input is empty: the lowest number that is free is taken.
    closeSync(0);
    openSync("/dev/null", "r");
  }

  /** The next line, or nothing at the end. */
  line() {
    const parts = [];
    let size = 0;
    for (;;) {
      const end = this.pending.indexOf(10);
      if (end >= 0) {
        parts.push(this.pending.subarray(0, end));
        this.pending = this.pending.subarray(end + 1);
        return Buffer.concat(parts);
      }
      if (this.ended) return size + this.pending.length > 0 ? Buffer.concat([...parts, this.pending]) : undefined;
      size += this.pending.length;
      if (size > MOST_BYTES) throw new Refused("ArgumentsTooLarge", `the arguments take more than ${MOST_BYTES} bytes`);
      parts.push(this.pending);
      const buffer = Buffer.allocUnsafe(1 << 16);
      const count = readSync(this.descriptor, buffer);
      this.ended = count === 0;
      this.pending = buffer.subarray(0, count);
    }
  }
}

function find(workload, app, entrypoint) {
  const document = JSON.parse(readFileSync(workload, "utf8"));
  const apps = document.apps.filter((declared) => declared.name === app);
  const found = apps.flatMap((declared) => declared.entrypoints);
  const one = found.find((declared) => declared.name === entrypoint && declared.kind === "function");
  if (one === undefined) throw new Error(`the image has no function \`${entrypoint}\` of app \`${app}\``);
  return one;
}

/** The function itself; its module is a path below the directory it starts in. */
async function load(declared) {
  register("./resolve.mjs", import.meta.url);
  const module = await import(pathToFileURL(resolve(declared.module)).href);
  const value = module[declared.function] ?? (module.default?.name === declared.function ? module.default : undefined);
  if (typeof value !== "function") throw new TypeError(`\`${declared.module}\` exports no function \`${declared.function}\``);
  return value;
}

async function answer(called, declared, line) {
  let request;
  try {
    request = JSON.parse(line.toString("utf8"));
  } catch {
    throw new Refused("ArgumentsInvalid", "the request is none");
  }
  const given = request?.arguments;
  if (given === null || typeof given !== "object") throw new Refused("ArgumentsInvalid", "the request is none");
  check("ArgumentsInvalid", declared.arguments_schema, given);
  const names = declared.parameters ?? Object.keys(given);
  const last = names.reduce((last, name, index) => (Object.hasOwn(given, name) ? index : last), -1);
  const values = names.slice(0, last + 1).map((name) => given[name]);
  const value = plain((await called(...values)) ?? null, "", []);
  check("ResultInvalid", declared.result_schema, value);
  return { event: "returned", value };
}

/** A result as JSON has it, or what cannot be JSON and where it is. */
function plain(value, at, around) {
  const refuse = (what) => {
    throw new Refused("ResultNotJson", `${what} at \`${at}\` cannot be JSON`);
  };
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : refuse(String(value));
  if (typeof value !== "object") return refuse(typeof value);
  if (around.includes(value)) return refuse("what holds itself");
  if (around.length >= 100) return refuse("what is nested more than 100 deep");
  const within = [...around, value];
  if (Array.isArray(value)) return value.map((part, index) => plain(part ?? null, `${at}/${index}`, within));
  const kind = Object.getPrototypeOf(value);
  if (kind !== Object.prototype && kind !== null) return refuse(kind.constructor?.name ?? "an object");
  const parts = Object.entries(value).filter(([, part]) => part !== undefined);
  return Object.fromEntries(parts.map(([name, part]) => [name, plain(part, `${at}/${name}`, within)]));
}

const TYPES = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  integer: (value) => Number.isInteger(value),
  number: (value) => typeof value === "number",
  string: (value) => typeof value === "string",
  array: (value) => Array.isArray(value),
  object: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
};

function check(kind, schema, value) {
  const flaw = mismatch(schema, value, "");
  if (flaw !== undefined) throw new Refused(kind, flaw);
}

/** What a value has that its schema (the part of draft 2020-12 that workloads use) does not allow. */
function mismatch(schema, value, at) {
  if (schema === undefined || schema === true) return undefined;
  const types = [schema.type ?? []].flat();
  if (types.length > 0 && !types.some((name) => TYPES[name](value))) return `\`${at}\` is not ${types.join(" or ")}`;
  const same = (other) => JSON.stringify(other) === JSON.stringify(value);
  if (schema.enum !== undefined && !schema.enum.some(same)) return `\`${at}\` is none of the values there are`;
  if (schema.const !== undefined && !same(schema.const)) return `\`${at}\` is not the one value there is`;
  if (schema.anyOf?.every((choice) => mismatch(choice, value, at) !== undefined)) return `\`${at}\` is of none of the forms there are`;
  if (TYPES.object(value)) return mismatchInObject(schema, value, at);
  return Array.isArray(value) ? mismatchInArray(schema, value, at) : undefined;
}

function mismatchInObject(schema, value, at) {
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) return `\`${at}/${name}\` is missing`;
  for (const [name, part] of Object.entries(value)) {
    const known = Object.hasOwn(schema.properties ?? {}, name);
    const inner = known ? schema.properties[name] : (schema.additionalProperties ?? true);
    if (inner === false) return `\`${at}/${name}\` is not known`;
    const flaw = mismatch(inner, part, `${at}/${name}`);
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}

function mismatchInArray(schema, value, at) {
  if (value.length < (schema.minItems ?? 0) || value.length > (schema.maxItems ?? Infinity)) return `\`${at}\` has ${value.length} items`;
  for (const [index, part] of value.entries()) {
    const flaw = mismatch(schema.prefixItems?.[index] ?? schema.items, part, `${at}/${index}`);
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}

/** An exception without the frames of this program. */
function told(error) {
  const own = new URL(import.meta.url).pathname;
  const stack = String(error?.stack ?? "").split("\n");
  const kept = stack.filter((line) => !line.includes(own) && !line.includes("node:internal"));
  return {
    type: String(error?.name ?? typeof error),
    message: String(error?.message ?? error).slice(0, MOST_MESSAGE),
    traceback: kept.join("\n").slice(0, MOST_STACK),
  };
}

/** One line; what is too long is said to be. */
function encode(reply) {
  const line = Buffer.from(`${JSON.stringify(reply)}\n`);
  if (line.length <= MOST_BYTES) return line;
  const message = `the result takes more than ${MOST_BYTES} bytes`;
  const error = { type: "ResultTooLarge", message, traceback: "" };
  return Buffer.from(`${JSON.stringify({ event: "raised", error })}\n`);
}

await main(...process.argv.slice(2));
