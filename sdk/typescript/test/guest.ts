import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../../../", import.meta.url));
export const runner = join(repository, "guest", "runner", "node");

/** A directory like `/usr/lib/mvm` of a guest, and one like `/app`. See guest/runner/README.md. */
export class Guest {
  readonly #started: Runner[] = [];

  private constructor(readonly directory: string) {}

  static async make(): Promise<Guest> {
    const directory = await mkdtemp(join(tmpdir(), "mvm-runner-"));
    const library = join(directory, "library");
    await mkdir(join(directory, "app"), { recursive: true });
    for (const name of await readdir(runner)) {
      if (name.endsWith(".mjs")) await cp(join(runner, name), join(library, name));
    }
    await cp(join(runner, "sdk"), join(library, "node", "sdk"), { recursive: true });
    return new Guest(directory);
  }

  async write(name: string, content: string): Promise<void> {
    const path = join(this.directory, "app", name);
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, content);
  }

  /** A runner of the function `f` of a module, with these fields of its entrypoint. */
  async start(source: string, fields: Readonly<Record<string, unknown>> = {}, pipes = true): Promise<Runner> {
    await this.write("main.mjs", source);
    const f = { kind: "function", name: "f", language: "node", module: "main.mjs", function: "f", ...fields };
    const workload = join(this.directory, "workload.json");
    await writeFile(workload, JSON.stringify({ version: 1, id: "w", apps: [{ name: "app", entrypoints: [f] }] }));
    const program = [process.env["MVM_TEST_GUEST_NODE"] ?? process.execPath, join(this.directory, "library", "runner.mjs"), "app", "f", workload];
    // Node.js gives its children sockets; a host gives them pipes.
    const script = pipes ? 'set -o pipefail 2>/dev/null; cat | { "$@" 2>&3; echo "exit $?" >&4; } | cat' : '"$@" 2>&3; echo "exit $?" >&4';
    const child = spawn("bash", ["-c", `exec 3>&2 4>&2; ${script}`, "runner", ...program], { cwd: join(this.directory, "app"), stdio: "pipe" });
    const started = new Runner(child);
    this.#started.push(started);
    return started;
  }

  async end(): Promise<void> {
    for (const one of this.#started) one.kill();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** What a runner says. */
export interface Message {
  readonly event: string;
  readonly value?: unknown;
  readonly error?: { readonly type: string; readonly message: string; readonly traceback: string };
}

export class Runner {
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;
  readonly #child: ChildProcessWithoutNullStreams;
  #errors = "";

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#reader = createInterface({ input: child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#errors += text));
    child.stdin.on("error", () => {
      // It has ended.
    });
  }

  async read(): Promise<Message> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`the runner has ended: ${this.#errors}`);
    return JSON.parse(line.value) as Message;
  }

  send(line: string | Uint8Array): Promise<Message> {
    this.#child.stdin.write(line);
    return this.read();
  }

  call(given: Readonly<Record<string, unknown>> = {}): Promise<Message> {
    return this.send(`${JSON.stringify({ arguments: given })}\n`);
  }

  /** Ends the input; its exit code, what was left on its output, and all it wrote to standard error. */
  async end(last: string | Uint8Array = ""): Promise<{ code: number; rest: string[]; errors: string }> {
    const closed = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin.end(last);
    const rest: string[] = [];
    for (let line = await this.#lines.next(); line.done !== true; line = await this.#lines.next()) rest.push(line.value);
    await closed;
    return { code: Number(/exit (\d+)\n/.exec(this.#errors)?.[1]), rest, errors: this.#errors.replace(/exit \d+\n/, "") };
  }

  kill(): void {
    this.#reader.close();
    this.#child.stdin.destroy();
    this.#child.kill();
  }
}
