import type { CallOptions } from "./call-options.js";
import { given } from "./sandbox-spec.js";

/** What to run: the arguments of a program, the first its name, or a line for `/bin/sh`. */
export type Command = readonly string[] | string;

/** What every command can have. `null` and `undefined` mean none. */
export interface CommandOptions extends CallOptions {
  /** Added to the sandbox's. */
  readonly environment?: Readonly<Record<string, string>> | null | undefined;
  readonly workingDirectory?: string | null | undefined;
  readonly user?: string | null | undefined;
  /** After so many milliseconds the command and all that it started are ended, in the sandbox. */
  readonly timeoutMs?: number | null | undefined;
  /** How long it is given to end by itself after its timeout, in milliseconds. */
  readonly graceMs?: number | null | undefined;
  /** Whether its result is to carry a signed receipt. */
  readonly receipt?: boolean | undefined;
  /** How much of each output stream the result holds, in bytes; 16 MiB by default. All is still read. */
  readonly outputLimitBytes?: number | null | undefined;
}

/** The size of a terminal, in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** How a command is started. */
export interface StartOptions extends CommandOptions {
  /** Whether its standard input stays open for `sendStdin`; otherwise it is empty. */
  readonly stdin?: boolean | undefined;
  /** Gives it a terminal; its output is then all on `stdout`. */
  readonly terminal?: TerminalSize | null | undefined;
  /** Whether it goes on when this program no longer listens to it. */
  readonly detached?: boolean | undefined;
}

/** @internal */
export const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;

/** The command as the server takes it. */
export function commandJson(command: Command, options: StartOptions): Record<string, unknown> {
  return given({
    ...(typeof command === "string" ? { shell: command } : { argv: command }),
    environment: options.environment,
    working_directory: options.workingDirectory,
    user: options.user,
    timeout_ms: options.timeoutMs,
    grace_ms: options.graceMs,
    stdin: options.stdin,
    terminal: options.terminal,
    detached: options.detached,
    receipt: options.receipt,
  });
}
