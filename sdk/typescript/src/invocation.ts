import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import type { AnyFunction, Place, RemoteOptions } from "./declare/functions.js";
import { MAX_BYTES, NotJson, toJson } from "./declare/json-value.js";
import { Answer } from "./answer.js";
import { InvalidArgument, RemoteError, TransportError } from "./errors.js";
import { serverOf } from "./server.js";

/** @internal calls a decorated function in its microVM */
export async function invoke(
  function_: AnyFunction,
  said: Place,
  given: readonly unknown[],
  { timeoutMs, server, ...call }: RemoteOptions,
): Promise<unknown> {
  const positional = argumentsOf(given);
  const module = said.module?.startsWith("/") ? pathToFileURL(said.module).href : said.module;
  if (module === undefined || !module.startsWith("file:") || !(await isFile(fileURLToPath(module)))) {
    throw new InvalidArgument(`\`${function_.name || "the function"}\` is in no file`, {
      hint: "put it into a module of its own: the file is compiled, a prompt is not",
    });
  }
  const json = {
    file: await sourceOf(fileURLToPath(module)),
    app: said.app ?? null,
    function: said.function ?? (await exportedName(function_, module)),
    positional,
    ...(timeoutMs === undefined ? {} : { timeout_ms: Math.max(1, Math.round(timeoutMs)) }),
  };
  return resultOf(await serverOf({ server }).ask("POST", "/v1/invocations", { ...call, json }));
}

function argumentsOf(given: readonly unknown[]): unknown[] {
  // What is left out at the end has the default of the guest.
  let count = given.length;
  while (count > 0 && given[count - 1] === undefined) count -= 1;
  const positional = given.slice(0, count).map((argument, at) => {
    try {
      return toJson(argument, `arguments[${at}]`);
    } catch (error) {
      if (error instanceof NotJson) throw new InvalidArgument(error.message, { hint: error.hint, cause: error });
      throw error;
    }
  });
  const size = Buffer.byteLength(JSON.stringify(positional));
  if (size > MAX_BYTES) {
    throw new InvalidArgument(`the arguments are ${size} bytes of JSON, and ${MAX_BYTES} are the most`, {
      hint: "write large data into files of a sandbox (`Sandbox`), or make several calls",
    });
  }
  return positional;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then((it) => it.isFile(), () => false);
}

/**
 * The file that was written: where a compiler made the module from one TypeScript file and left a source map,
 * that one.
 */
async function sourceOf(file: string): Promise<string> {
  try {
    const text = await readFile(file, "utf8");
    const named = /\n\/\/# sourceMappingURL=(\S+)\s*$/.exec(text)?.[1];
    if (named === undefined || named.startsWith("data:")) return file;
    const map = resolve(dirname(file), decodeURIComponent(named));
    const { sources, sourceRoot } = JSON.parse(await readFile(map, "utf8")) as { sources?: unknown; sourceRoot?: unknown };
    const [source, ...others] = Array.isArray(sources) ? (sources as unknown[]) : [];
    if (typeof source !== "string" || others.length > 0) return file;
    const written = resolve(dirname(map), typeof sourceRoot === "string" ? sourceRoot : "", source);
    return (await isFile(written)) ? written : file;
  } catch {
    // A map that is not there, or is none: what was loaded is then what there is.
    return file;
  }
}

/** How long a module may take to tell what it exports. One that waits for this very call never does. */
const EXPORTS_MS = 500;

/** The name by which other modules reach a function: that of its export, where the module is loaded. */
async function exportedName(function_: AnyFunction, module: string): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((done) => {
    timer = setTimeout(done, EXPORTS_MS, undefined);
  });
  // It is loaded already: nothing runs a second time.
  const loaded = import(module).catch(() => undefined) as Promise<Record<string, unknown> | undefined>;
  const names = await Promise.race([loaded, late]);
  clearTimeout(timer);
  const exported = Object.entries(names ?? {}).find(([, value]) => value === function_)?.[0];
  if (exported !== undefined) return exported;
  if (names === undefined && function_.name !== "") return function_.name;
  throw new InvalidArgument(`\`${function_.name || "the function"}\` is not exported by \`${fileURLToPath(module)}\``, {
    hint:
      names === undefined
        ? "call it from another module, or name it: `export const f = mvm.app({…})(function f() {…})`"
        : "export it: the microVM takes it from its module by its name",
  });
}

function resultOf(answer: Answer): unknown {
  const outcome = answer.raw("outcome");
  if (outcome === "returned" && answer.raw("value") !== undefined) return answer.raw("value");
  if (outcome === "raised") {
    const error = answer.object("error");
    throw new RemoteError(
      { type: error.text("type"), message: error.text("message"), traceback: error.textOrNone("traceback") ?? "" },
      {
        exitCode: 1,
        signal: undefined,
        timedOut: false,
        stderrText: Buffer.from(answer.textOrNone("stderr_base64") ?? "", "base64").toString("utf8"),
        runId: answer.textOrNone("run_id"),
        auditId: answer.textOrNone("audit_id"),
        durationMs: answer.numberOrNone("duration_ms"),
      },
    );
  }
  throw new TransportError("the server's answer is no outcome of a call", {
    hint: "is the server of another version than this package?",
  });
}
