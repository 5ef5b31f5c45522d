import { spawn, type ChildProcess } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import type { Socket } from "node:net";
import { delimiter, join } from "node:path";

import { TransportError } from "./errors.js";

/** A server prints where it is at once; preparing nothing, it has no reason to take longer. */
const START_LIMIT_MS = 30_000;
const LAST_WORDS_BYTES = 4096;

let running: Promise<string> | undefined;

/**
 * The socket of this process's own server, which is started on first use. It ends with this process,
 * however that dies, because its standard input is a pipe that only this process holds. It does not
 * keep this process alive.
 *
 * @throws TransportError where there is no `mvmctl`, or it does not start
 */
export function privateServer(): Promise<string> {
  if (running === undefined) {
    const starting = start(() => {
      if (running === starting) running = undefined;
    });
    running = starting;
  }
  return running;
}

async function start(onEnd: () => void): Promise<string> {
  try {
    return await socketOf(await findMvmctl(), onEnd);
  } catch (error) {
    onEnd();
    throw error;
  }
}

/** The `mvmctl` to use: the one that MVM_MVMCTL names, or the first on PATH. */
async function findMvmctl(): Promise<string> {
  const named = process.env["MVM_MVMCTL"];
  if (named !== undefined && named !== "") {
    if (await executable(named)) return named;
    throw new TransportError(`MVM_MVMCTL names \`${named}\`, which cannot be executed`, {
      hint: "let MVM_MVMCTL name the `mvmctl` program, or unset it to take the one on PATH",
    });
  }
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const candidate = join(directory, "mvmctl");
    if (directory !== "" && (await executable(candidate))) return candidate;
  }
  throw new TransportError("there is no `mvmctl` on PATH, and MVM_URL names no server", {
    hint: "install `mvmctl`, let MVM_MVMCTL name it, or let MVM_URL name a server that runs",
  });
}

async function executable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function socketOf(mvmctl: string, onEnd: () => void): Promise<string> {
  return new Promise((resolve, reject) => {
    // In a session of its own, so that a Ctrl-C in the terminal is this program's to handle.
    const child = spawn(mvmctl, ["serve", "--private"], { stdio: ["pipe", "pipe", "pipe"], detached: true });
    let said = "";
    let lastWords = "";
    const fail = (what: string, cause?: Error): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(
        new TransportError(`\`${mvmctl} serve --private\` ${what}`, {
          cause,
          causes: lastWords.trim() === "" ? [] : [lastWords.trim()],
          hint: "`mvmctl doctor` tells what this host has and lacks",
        }),
      );
    };
    const timer = setTimeout(() => {
      fail(`did not say where it is within ${START_LIMIT_MS} ms`);
    }, START_LIMIT_MS);

    child.once("error", (error) => {
      onEnd();
      fail(`cannot be started: ${error.message}`, error);
    });
    child.once("exit", (code, signal) => {
      onEnd();
      fail(`ended with ${signal ?? `code ${code ?? "unknown"}`}`);
    });
    child.stdin.on("error", () => {
      // Nothing is ever written to it.
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      lastWords = (lastWords + text).slice(-LAST_WORDS_BYTES);
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const end = said.length + text.indexOf("\n");
      if (end < said.length) {
        said += text;
        return;
      }
      said += text;
      child.stdout.removeAllListeners("data").resume();
      const socket = socketNamedIn(said.slice(0, end));
      if (socket === undefined) {
        fail(`said \`${said.slice(0, end)}\` instead of where it is`);
        return;
      }
      clearTimeout(timer);
      letGo(child);
      resolve(socket);
    });
  });
}

function socketNamedIn(line: string): string | undefined {
  try {
    const told = JSON.parse(line) as { socket?: unknown } | null;
    return typeof told?.socket === "string" ? told.socket : undefined;
  } catch {
    return undefined;
  }
}

/** Neither the child nor its pipes keep this process alive. */
function letGo(child: ChildProcess): void {
  child.unref();
  for (const pipe of [child.stdin, child.stdout, child.stderr]) (pipe as Socket | null)?.unref();
}
