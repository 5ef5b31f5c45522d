import { abortReason, type CallOptions } from "./call-options.js";
import { asyncDispose } from "./dispose.js";
import { CommandFailed, InvalidArgument, TransportError } from "./errors.js";
import type { ProcessEvent, ProcessStream, Started } from "./process-stream.js";
import { Collected, CommandResult, outcomeOf } from "./result.js";
import type { Server } from "./server.js";
import { signalNumber } from "./signals.js";
import { bytesOf, LineSplitter, TextStream, type Bytes } from "./text.js";

/** How to wait for a process. */
export interface WaitOptions {
  /** Whether an end with another code than 0 is an error, {@link CommandFailed}. */
  readonly check?: boolean | undefined;
  /** Ends the waiting, not the process. */
  readonly signal?: AbortSignal | undefined;
}

/** A piece of text that a process has written. */
export interface TextEvent {
  readonly stream: "stdout" | "stderr";
  readonly text: string;
}

/**
 * A process that runs in a sandbox. Iterating over it gives what it writes, as it comes; one loop at a
 * time. It waits for a reader that is slow, so that nothing is lost; and {@link wait} reads what no loop
 * does. It is killed when it is closed or this program ends, unless it was started as detached.
 */
export class Process implements AsyncIterable<ProcessEvent> {
  /** Its number in the sandbox, for `commands.attach`. */
  readonly id: number;
  /** Its process identifier in the sandbox. */
  readonly pid: number;
  /** Names this run, in receipts and in the audit log. */
  readonly runId: string | undefined;

  readonly #server: Server;
  /** The path of the sandbox's processes. */
  readonly #path: string;
  readonly #stream: ProcessStream;
  readonly #stdout: Collected;
  readonly #stderr: Collected;
  readonly #events: ProcessEvent[] = [];
  #reading: Promise<void> | undefined;
  #loops = 0;
  #loopEnded: (() => void)[] = [];
  #result: CommandResult | undefined;
  #failure: Error | undefined;
  /** Of a process that was attached to it is not known; the server says. */
  #stdin: "open" | "closed" | "unknown";

  /** @internal */
  constructor(
    server: Server,
    path: string,
    stream: ProcessStream,
    started: Started,
    own: { limitBytes: number; stdin: "open" | "closed" | "unknown" },
  ) {
    this.#server = server;
    this.#path = path;
    this.#stream = stream;
    this.#stdout = new Collected(own.limitBytes);
    this.#stderr = new Collected(own.limitBytes);
    this.#stdin = own.stdin;
    this.id = started.id;
    this.pid = started.pid;
    this.runId = started.runId;
  }

  /** Where the next byte of each output stream is; a later `attach` can go on from there. */
  get offsets(): { readonly stdoutOffset: number; readonly stderrOffset: number } {
    let { stdout, stderr } = this.#stream.offsets;
    for (const event of this.#events) {
      if (event.kind !== "output") continue;
      if (event.stream === "stdout") stdout -= event.bytes.length;
      else stderr -= event.bytes.length;
    }
    return { stdoutOffset: stdout, stderrOffset: stderr };
  }

  /** What it writes, as bytes. Leaving the loop leaves the process running. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ProcessEvent, void, undefined> {
    this.#loops += 1;
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event !== undefined) yield event;
        else if (this.#failure !== undefined) throw this.#failure;
        else if (this.#result !== undefined) return;
        else await this.#read();
      }
    } finally {
      this.#loops -= 1;
      for (const wake of this.#loopEnded.splice(0)) wake();
    }
  }

  /** What it writes, as text; no character is ever split. Bytes that are lost or no UTF-8 become U+FFFD. */
  async *text(): AsyncGenerator<TextEvent, void, undefined> {
    const texts = { stdout: new TextStream(), stderr: new TextStream() };
    for await (const event of this) {
      const { stream } = event;
      const text = event.kind === "output" ? texts[stream].push(event.bytes) : `${texts[stream].end()}\uFFFD`;
      if (text !== "") yield { stream, text };
    }
    for (const stream of ["stdout", "stderr"] as const) {
      const text = texts[stream].end();
      if (text !== "") yield { stream, text };
    }
  }

  /** What it writes, line by line, each without its end. */
  async *lines(): AsyncGenerator<TextEvent, void, undefined> {
    const lines = { stdout: new LineSplitter(), stderr: new LineSplitter() };
    for await (const { stream, text } of this.text()) {
      for (const line of lines[stream].push(text)) yield { stream, text: line };
    }
    for (const stream of ["stdout", "stderr"] as const) {
      for (const line of lines[stream].end()) yield { stream, text: line };
    }
  }

  /**
   * Waits for its end. The result holds the output from where this handle began, whether a loop read it
   * or not, up to `outputLimitBytes` of each stream.
   *
   * @throws CommandFailed with `check`; TransportError where the connection was lost or the handle closed
   */
  async wait(options: WaitOptions = {}): Promise<CommandResult> {
    const result = await untilAborted(this.#end(), options.signal);
    if (options.check === true && result.exitCode !== 0) throw new CommandFailed(result);
    return result;
  }

  /** Its exit code where it has ended, without waiting for that; otherwise `undefined`. */
  async poll(options: CallOptions = {}): Promise<number | undefined> {
    if (this.#result !== undefined) return this.#result.exitCode;
    const answer = await this.#server.ask("GET", this.#path, options);
    const found = answer.objects("items").find((item) => item.number("id") === this.id);
    const result = found?.objectOrNone("result");
    return result === undefined ? undefined : outcomeOf(result).exitCode;
  }

  /**
   * Sends it a signal.
   *
   * @param signal a number or a name, such as `SIGTERM`; SIGKILL by default
   * @param options `group: false` spares the processes that it has started
   */
  async kill(signal: number | NodeJS.Signals = "SIGKILL", options: CallOptions & { group?: boolean } = {}): Promise<void> {
    const { group, ...call } = options;
    const json = { signal: signalNumber(signal), ...(group === undefined ? {} : { group }) };
    await this.#server.tell("POST", `${this.#path}/${this.id}/signal`, { ...call, json });
  }

  /**
   * Writes to its standard input.
   *
   * @throws InvalidArgument where that is closed, or was not left open with `stdin: true`
   */
  async sendStdin(data: Bytes, options: CallOptions = {}): Promise<void> {
    if (this.#stdin === "closed") {
      throw new InvalidArgument(`the standard input of process ${this.id} is not open`, {
        hint: "start it with `stdin: true`, and send before `closeStdin`",
      });
    }
    await this.#server.tell("POST", `${this.#path}/${this.id}/stdin`, { ...options, body: bytesOf(data) });
  }

  /** Ends its standard input; where that is not open, nothing happens. */
  async closeStdin(options: CallOptions = {}): Promise<void> {
    if (this.#stdin !== "closed") await this.sendAllStdin("", options);
  }

  /** @internal writes all of its standard input and ends it */
  async sendAllStdin(data: Bytes, options: CallOptions): Promise<void> {
    this.#stdin = "closed";
    const body = bytesOf(data);
    await this.#server.tell("POST", `${this.#path}/${this.id}/stdin`, { ...options, query: { close: true }, body });
  }

  /** Tells its terminal a new size, in characters. */
  async resize(columns: number, rows: number, options: CallOptions = {}): Promise<void> {
    const json = { columns, rows };
    await this.#server.tell("POST", `${this.#path}/${this.id}/resize`, { ...options, json });
  }

  /** Stops listening; the process is killed, unless it is detached or was attached to. */
  close(): void {
    if (this.#result !== undefined || this.#failure !== undefined) return;
    this.#failure = new TransportError(`the stream of process ${this.id} was closed`);
    this.#stream.close();
  }

  [asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  async #end(): Promise<CommandResult> {
    for (;;) {
      if (this.#result !== undefined) return this.#result;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#loops > 0) {
        await new Promise<void>((resolve) => this.#loopEnded.push(resolve));
      } else {
        // They are collected already.
        this.#events.length = 0;
        await this.#read();
      }
    }
  }

  /** Adds the next event. Whoever needs it waits for the same read. */
  #read(): Promise<void> {
    this.#reading ??= this.#readOne().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOne(): Promise<void> {
    try {
      const event = await this.#stream.next();
      if (event.kind === "exited") {
        this.#result = new CommandResult(event.outcome, {
          stdout: this.#stdout.bytes(),
          stderr: this.#stderr.bytes(),
          truncated: this.#stdout.truncated || this.#stderr.truncated,
        });
        return;
      }
      const collected = event.stream === "stdout" ? this.#stdout : this.#stderr;
      if (event.kind === "output") collected.push(event.bytes);
      else collected.cut();
      this.#events.push(event);
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    }
  }
}

/** Waits for something that goes on when the waiting is ended. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => {
      reject(abortReason(signal));
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abort);
    });
  });
}
