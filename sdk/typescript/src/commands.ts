import type { CallOptions } from "./call-options.js";
import { commandJson, OUTPUT_LIMIT_BYTES, type Command, type CommandOptions, type StartOptions } from "./command.js";
import { Process } from "./process.js";
import { ProcessStream } from "./process-stream.js";
import type { CommandResult } from "./result.js";
import type { Server } from "./server.js";
import type { Bytes } from "./text.js";

/** How a command is run to its end. */
export interface RunOptions extends CommandOptions {
  /** Whether an end with another code than 0 is an error, `CommandFailed`. */
  readonly check?: boolean | undefined;
  /** All of its standard input; none by default. */
  readonly stdin?: Bytes | null | undefined;
  /** Called with standard output as it comes; the command waits for a promise that it returns. */
  readonly onStdout?: ((bytes: Uint8Array) => void | Promise<void>) | undefined;
  /** Called with standard error as it comes; the command waits for a promise that it returns. */
  readonly onStderr?: ((bytes: Uint8Array) => void | Promise<void>) | undefined;
}

/** From where the output of a process is wanted, in bytes; from its beginning by default. */
export interface AttachOptions extends CallOptions {
  readonly stdoutOffset?: number | undefined;
  readonly stderrOffset?: number | undefined;
  /** How much of each output stream the result of `wait` holds, in bytes; 16 MiB by default. */
  readonly outputLimitBytes?: number | null | undefined;
}

/** A process of a sandbox, as of one moment. */
export interface ProcessSummary {
  readonly id: number;
  readonly pid: number;
  readonly arguments: readonly string[];
  readonly startedAtMs: number;
  readonly detached: boolean;
  /** Its exit code, where it has ended. */
  readonly exitCode: number | undefined;
}

/** The commands of a sandbox. */
export class Commands {
  readonly #server: Server;
  readonly #path: string;

  /** @internal */
  constructor(server: Server, sandboxPath: string) {
    this.#server = server;
    this.#path = `${sandboxPath}/processes`;
  }

  /**
   * Runs a command to its end. When the call is aborted, or a callback throws, the command is killed.
   *
   * @param command the arguments of a program, or a line for `/bin/sh`
   * @throws CommandFailed with `check`; NotFound where there is no such program; InvalidArgument where
   *   it cannot be executed
   */
  async run(command: Command, options: RunOptions = {}): Promise<CommandResult> {
    const { stdin, check, onStdout, onStderr, ...rest } = options;
    const hasInput = stdin !== null && stdin !== undefined;
    const process = await this.start(command, { ...rest, stdin: hasInput });
    if (hasInput) {
      // A command may end without reading its input, which is no failure of the command. Where the
      // connection is what failed, the stream of the process tells.
      process.sendAllStdin(stdin, { signal: options.signal }).catch(() => undefined);
    }
    try {
      if (onStdout !== undefined || onStderr !== undefined) {
        for await (const event of process) {
          if (event.kind === "output") await (event.stream === "stdout" ? onStdout : onStderr)?.(event.bytes);
        }
      }
      return await process.wait({ check });
    } finally {
      process.close();
    }
  }

  /**
   * Starts a command. The signal of the options closes the handle, which ends the command unless it is
   * detached.
   *
   * @throws NotFound where there is no such program; InvalidArgument where it cannot be executed
   */
  async start(command: Command, options: StartOptions = {}): Promise<Process> {
    const bytes = await this.#server.open("POST", this.#path, {
      json: commandJson(command, options),
      signal: options.signal,
      requestTimeoutMs: options.requestTimeoutMs,
    });
    return this.#opened(new ProcessStream(bytes), options, options.stdin === true || hasTerminal(options) ? "open" : "closed");
  }

  /**
   * Takes up a process that was started before, also by another program.
   *
   * @param processId its `id`, not its `pid`
   */
  async attach(processId: number, options: AttachOptions = {}): Promise<Process> {
    const bytes = await this.#server.open("GET", `${this.#path}/${processId}/output`, {
      query: { stdout_offset: options.stdoutOffset, stderr_offset: options.stderrOffset },
      signal: options.signal,
      requestTimeoutMs: options.requestTimeoutMs,
    });
    return this.#opened(new ProcessStream(bytes), options, "unknown");
  }

  /** The processes that were started by commands, also those that have ended and are remembered. */
  async list(options: CallOptions = {}): Promise<ProcessSummary[]> {
    const answer = await this.#server.ask("GET", this.#path, options);
    return answer.objects("items").map((item) => ({
      id: item.number("id"),
      pid: item.number("pid"),
      arguments: item.texts("arguments"),
      startedAtMs: item.number("started_at_ms"),
      detached: item.flag("detached"),
      exitCode: item.objectOrNone("result")?.number("exit_code"),
    }));
  }

  async #opened(
    stream: ProcessStream,
    options: { readonly outputLimitBytes?: number | null | undefined },
    stdin: "open" | "closed" | "unknown",
  ): Promise<Process> {
    try {
      const started = await stream.started();
      const limitBytes = options.outputLimitBytes ?? OUTPUT_LIMIT_BYTES;
      return new Process(this.#server, this.#path, stream, started, { limitBytes, stdin });
    } catch (error) {
      stream.close();
      throw error;
    }
  }
}

function hasTerminal(options: StartOptions): boolean {
  return options.terminal !== null && options.terminal !== undefined;
}
