import type { Answer } from "./answer.js";
import { joined } from "./bytes.js";
import { textOf } from "./text.js";

/** What has become of a command, beside its output. */
export interface Outcome {
  /** The program's own; 124 for a timeout, 128 + N for signal N. */
  readonly exitCode: number;
  /** The signal that ended it. */
  readonly signal: number | undefined;
  /** Whether its `timeoutMs` ended it. */
  readonly timedOut: boolean;
  readonly durationMs: number;
  /** Time on a processor. */
  readonly cpuMs: number | undefined;
  readonly peakMemoryBytes: number | undefined;
  /** Names this run, in receipts and in the audit log. */
  readonly runId: string | undefined;
  /** Its record in the audit log. */
  readonly auditId: string | undefined;
  /** Its signed receipt, where one was asked for; see `verifyReceipt`. */
  readonly receipt: Uint8Array | undefined;
}

/** What has become of a command. A code other than 0 is a result, not an error. */
export class CommandResult implements Outcome {
  readonly exitCode: number;
  readonly signal: number | undefined;
  readonly timedOut: boolean;
  readonly durationMs: number;
  readonly cpuMs: number | undefined;
  readonly peakMemoryBytes: number | undefined;
  readonly runId: string | undefined;
  readonly auditId: string | undefined;
  readonly receipt: Uint8Array | undefined;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  /** Whether there was more output than `outputLimitBytes` of a stream. */
  readonly truncated: boolean;

  constructor(outcome: Outcome, output: { stdout: Uint8Array; stderr: Uint8Array; truncated: boolean }) {
    this.exitCode = outcome.exitCode;
    this.signal = outcome.signal;
    this.timedOut = outcome.timedOut;
    this.durationMs = outcome.durationMs;
    this.cpuMs = outcome.cpuMs;
    this.peakMemoryBytes = outcome.peakMemoryBytes;
    this.runId = outcome.runId;
    this.auditId = outcome.auditId;
    this.receipt = outcome.receipt;
    this.stdout = output.stdout;
    this.stderr = output.stderr;
    this.truncated = output.truncated;
  }

  /** Standard output as text; what is not UTF-8 becomes U+FFFD. */
  get stdoutText(): string {
    return textOf(this.stdout);
  }

  /** Standard error as text; what is not UTF-8 becomes U+FFFD. */
  get stderrText(): string {
    return textOf(this.stderr);
  }
}

/** @internal */
export function outcomeOf(answer: Answer): Outcome {
  const receipt = answer.textOrNone("receipt");
  return {
    exitCode: answer.number("exit_code"),
    signal: answer.numberOrNone("signal"),
    timedOut: answer.flag("timed_out"),
    durationMs: answer.number("duration_ms"),
    cpuMs: answer.numberOrNone("cpu_ms"),
    peakMemoryBytes: answer.numberOrNone("peak_memory_bytes"),
    runId: answer.textOrNone("run_id"),
    auditId: answer.textOrNone("audit_id"),
    receipt: receipt === undefined ? undefined : new Uint8Array(Buffer.from(receipt, "base64")),
  };
}

/** Keeps the beginning of a stream. @internal */
export class Collected {
  readonly #limit: number;
  readonly #chunks: Uint8Array[] = [];
  #length = 0;
  #truncated = false;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  push(bytes: Uint8Array): void {
    const room = this.#limit - this.#length;
    if (bytes.length > room) this.#truncated = true;
    if (room <= 0) return;
    const kept = bytes.length > room ? bytes.subarray(0, room) : bytes;
    this.#chunks.push(kept);
    this.#length += kept.length;
  }

  /** Bytes are missing in it. */
  cut(): void {
    this.#truncated = true;
  }

  get truncated(): boolean {
    return this.#truncated;
  }

  bytes(): Uint8Array {
    return joined(this.#chunks);
  }
}
