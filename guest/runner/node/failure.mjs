/** What is told of an exception: its type, its message, and its stack without the runner's own frames. */
const MAX_TYPE = 256;
/** Most characters of a message, and of a stack. */
const MAX_TEXT = 64 * 1024;
const RUNNER = new URL(".", import.meta.url).href;

/** A failure of a call that is not the function's own; it has no stack. */
export class Refused extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** The end of the program, where the function asked for it. */
export class Exit extends Error {
  constructor(code) {
    super(`the program was ended with ${String(code ?? process.exitCode ?? 0)}`);
    this.name = "SystemExit";
  }
}

/** The `error` of a message to the host, whatever the exception does to prevent it. */
export function describe(error) {
  try {
    if (error instanceof Refused) return bounded(error.kind, error.message, "");
    if (!(error instanceof Error) && Object.prototype.toString.call(error) !== "[object Error]") {
      return bounded("NonError", typeof error === "object" && error !== null ? JSON.stringify(error) ?? "" : String(error), "");
    }
    return bounded(String(error.name || "Error"), String(error.message), trace(error));
  } catch (second) {
    return bounded("Error", "it cannot be told", "");
  }
}

function bounded(type, message, traceback) {
  return { type: whole(cut(type, MAX_TYPE)), message: whole(cut(message, MAX_TEXT)), traceback: whole(cut(traceback, MAX_TEXT)) };
}

/** Half a character, a surrogate alone, is no Unicode, and not every reader of JSON takes it. */
function whole(text) {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}

function cut(text, limit) {
  if (text.length <= limit) return text;
  const kept = limit / 2 - 32;
  return `${text.slice(0, kept)}\n… ${text.length - 2 * kept} characters left out …\n${text.slice(-kept)}`;
}

function trace(error) {
  const parts = [];
  const seen = new Set();
  for (let one = error; one instanceof Error && !seen.has(one) && parts.length < 16; one = one.cause) {
    seen.add(one);
    const lines = String(one.stack ?? one).split("\n");
    parts.push(lines.filter((line) => !isOurs(line)).join("\n"));
  }
  return parts.join("\nCaused by: ");
}

function isOurs(line) {
  return /^\s+at /.test(line) && (line.includes(RUNNER) || line.includes("node:internal/"));
}
