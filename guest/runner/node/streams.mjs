/** The standard streams: the host's messages on copies of them, and what is left for the function. */
import { spawn } from "node:child_process";
import { closeSync, openSync, read, writeSync } from "node:fs";
import { devNull } from "node:os";

import { MAX_BYTES } from "./node/sdk/declare/json-value.js";

const CHUNK = 64 * 1024;
/** Beside the arguments a request has a few bytes of its own. */
const LIMIT = MAX_BYTES + 1024;
/** Tells the process that was started with copies of the streams which they are. */
const COPIES = "MVM_RUNNER_COPIES";

/** The host's end: requests, one a line, and replies. */
class Streams {
  #requests;
  #replies;
  #rest = [];
  #length = 0;
  #ended = false;
  #tooLong = false;

  constructor(requests, replies) {
    this.#requests = requests;
    this.#replies = replies;
  }

  /** The next line; null for one that is longer than a request may be, undefined at the end. */
  async next() {
    for (;;) {
      const at = this.#rest.length === 0 ? -1 : this.#rest[this.#rest.length - 1].indexOf(10);
      if (at >= 0 || (this.#ended && (this.#length > 0 || this.#tooLong))) return this.#take(at);
      if (this.#ended) return undefined;
      if (this.#length > LIMIT) {
        this.#rest = [];
        this.#length = 0;
        this.#tooLong = true;
      }
      const chunk = Buffer.allocUnsafe(CHUNK);
      const count = await readSome(this.#requests, chunk);
      if (count === 0) this.#ended = true;
      else this.#push(chunk.subarray(0, count));
    }
  }

  #push(chunk) {
    if (this.#tooLong) {
      // Only the end of the line is of interest, and what comes after it.
      const at = chunk.indexOf(10);
      if (at < 0) return;
      chunk = chunk.subarray(at);
    }
    this.#rest.push(chunk);
    this.#length += chunk.length;
  }

  #take(at) {
    const last = this.#rest.pop() ?? Buffer.alloc(0);
    const end = at < 0 ? last.length : at;
    const line = Buffer.concat([...this.#rest, last.subarray(0, end)]);
    const rest = last.subarray(Math.min(end + 1, last.length));
    const tooLong = this.#tooLong || line.length > LIMIT;
    this.#rest = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
    this.#tooLong = false;
    return tooLong ? null : line;
  }

  reply(message) {
    let bytes = encoded(message);
    while (bytes.length > 0) {
      try {
        bytes = bytes.subarray(writeSync(this.#replies, bytes));
      } catch (error) {
        if (error.code === "EAGAIN") wait(2);
        // Nobody listens any more.
        else if (error.code === "EPIPE") process.reallyExit(0);
        else throw error;
      }
    }
  }
}

function readSome(descriptor, buffer) {
  return new Promise((resolve, reject) => {
    const attempt = () => {
      read(descriptor, buffer, 0, buffer.length, null, (error, count) => {
        if (error === null) resolve(count);
        else if (error.code === "EAGAIN") setTimeout(attempt, 2);
        else if (error.code === "EOF" || error.code === "ECONNRESET") resolve(0);
        else reject(error);
      });
    };
    attempt();
  });
}

function wait(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** A message as a line. */
export function encoded(message) {
  return Buffer.from(`${JSON.stringify(message)}\n`);
}

/**
 * Keeps the streams for the host. To all else in this process, and what it starts, input is empty and output
 * goes to standard error. None where another process was started that does so.
 */
export function takeOver() {
  const copies = process.env[COPIES];
  if (copies !== undefined) {
    delete process.env[COPIES];
    return new Streams(3, 4);
  }
  let requests;
  let replies;
  try {
    requests = openSync("/proc/self/fd/0", "r");
    replies = openSync("/proc/self/fd/1", "w");
    closeSync(openSync("/proc/self/fd/2", "a"));
  } catch {
    // A socket, or a pipe of another user: it cannot be opened again, only passed on.
    return passOn();
  }
  // Node.js has no dup2. The lowest number that is free is the one that was closed last.
  closeSync(0);
  openSync(devNull, "r");
  closeSync(1);
  openSync("/proc/self/fd/2", "a");
  return new Streams(requests, replies);
}

/** Starts this program again, with the streams copied to where they do not meet the function's. */
function passOn() {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: ["ignore", 2, 2, 0, 1],
    env: { ...process.env, [COPIES]: "1" },
  });
  child.on("error", () => process.exit(1));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.kill(process.pid, signal);
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  return undefined;
}
