/** The stable names of what can go wrong; the same in every SDK, the command line and the HTTP API. */
export type ErrorCode =
  | "CommandFailed"
  | "Timeout"
  | "PolicyDenied"
  | "AdmissionFailed"
  | "BuildFailed"
  | "SandboxUnavailable"
  | "BackendUnsupported"
  | "SnapshotMismatch"
  | "CleanupFailed"
  | "InvalidArgument"
  | "NotFound"
  | "TransportError";

/** What an error carries beside its message. */
export interface ErrorDetails {
  /** Whether the same call may succeed later without a change. */
  readonly retryable?: boolean | undefined;
  /** The way out, where one is known. */
  readonly hint?: string | undefined;
  /** What led to it, the nearest first. */
  readonly causes?: readonly string[] | undefined;
  /** The exception that it came from, on this side. */
  readonly cause?: unknown;
}

/** Any failure of mvm. Its subclasses are one per {@link ErrorCode}. */
export class MvmError extends Error {
  /** The stable name of the failure. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;
  /** The way out, where one is known. */
  readonly hint: string | undefined;
  /** What led to it, the nearest first. */
  readonly causes: readonly string[];

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = code;
    this.code = code;
    this.retryable = details.retryable ?? false;
    this.hint = details.hint;
    this.causes = details.causes ?? [];
  }

  /** The message, what led to it, and the way out, each on its own line. */
  override toString(): string {
    const causes = this.causes.map((cause) => `\n  because: ${cause}`).join("");
    return `${this.name}: ${this.message}${causes}${this.hint === undefined ? "" : `\n  hint: ${this.hint}`}`;
  }
}

/** What {@link CommandFailed} knows of the command. */
export interface FailedCommand {
  readonly exitCode: number;
  readonly signal: number | undefined;
  readonly timedOut: boolean;
  readonly stderrText: string;
}

/** A command that was run with `check: true` ended with another code than 0. */
export class CommandFailed<Result extends FailedCommand = FailedCommand> extends MvmError {
  /** Everything that is known of the command, with its output. */
  readonly result: Result;

  constructor(result: Result, message?: string) {
    const how = result.timedOut
      ? "the command was ended by its timeout"
      : result.signal !== undefined
        ? `the command was ended by signal ${result.signal}`
        : `the command ended with code ${result.exitCode}`;
    const lastWords = result.stderrText.trimEnd().slice(-1000);
    super("CommandFailed", message ?? (lastWords === "" ? how : `${how}: ${lastWords}`));
    this.result = result;
  }
}

/** What {@link RemoteError} knows of the call. */
export interface FailedCall extends FailedCommand {
  readonly runId: string | undefined;
  readonly auditId: string | undefined;
  readonly durationMs: number | undefined;
}

/**
 * A function in a microVM threw, or its arguments or result were refused there. All of it is the guest's word:
 * no class is looked up by `type`.
 */
export class RemoteError extends CommandFailed<FailedCall> {
  /** The name of what was thrown. */
  readonly type: string;
  /** The guest's own stack. */
  readonly remoteTraceback: string;
  /** Names the run in the audit log. */
  readonly runId: string | undefined;

  constructor(raised: { readonly type: string; readonly message: string; readonly traceback: string }, result: FailedCall) {
    super(result, raised.message);
    this.type = raised.type;
    this.remoteTraceback = raised.traceback;
    this.runId = result.runId;
    const trace = this.remoteTraceback.trimEnd();
    const own = (this.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
    const told = [`${this.name}: ${this.toString()}`, ...(trace === "" ? [] : ["Called here:"]), ...own];
    Object.defineProperty(this, "stack", { value: told.join("\n"), configurable: true, writable: true });
  }

  /** The type, the message and the guest's stack, without what would steer a terminal. */
  override toString(): string {
    const text = this.message === "" ? this.type : `${this.type}: ${this.message}`;
    const trace = this.remoteTraceback.trimEnd();
    return printable(trace === "" ? text : `${text}\n\nIn the microVM:\n${trace}`);
  }
}

function printable(text: string): string {
  return text.replace(/[^\P{C}\n\t]/gu, (it) => `\\u{${(it.codePointAt(0) ?? 0).toString(16)}}`);
}

/** A request took longer than its `requestTimeoutMs`, or the server gave up waiting. */
export class Timeout extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("Timeout", message, details);
  }
}

/** A policy, or the lack of a token, forbids it. */
export class PolicyDenied extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("PolicyDenied", message, details);
  }
}

/** The plan of the sandbox was not admitted. */
export class AdmissionFailed extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("AdmissionFailed", message, details);
  }
}

/** An image could not be made or verified. */
export class BuildFailed extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("BuildFailed", message, details);
  }
}

/** The sandbox is not in a state that allows it. */
export class SandboxUnavailable extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("SandboxUnavailable", message, details);
  }
}

/** What was asked for is not there on this host, or not there yet. */
export class BackendUnsupported extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("BackendUnsupported", message, details);
  }
}

/** A snapshot is not what it was, or was made by something else than what would use it. */
export class SnapshotMismatch extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("SnapshotMismatch", message, details);
  }
}

/** Something of a sandbox is left. */
export class CleanupFailed extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("CleanupFailed", message, details);
  }
}

/** An argument cannot be used. */
export class InvalidArgument extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("InvalidArgument", message, details);
  }
}

/** There is no such sandbox, snapshot, process, file or program. */
export class NotFound extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("NotFound", message, details);
  }
}

/** The server could not be reached, or what it said could not be understood. */
export class TransportError extends MvmError {
  constructor(message: string, details?: ErrorDetails) {
    super("TransportError", message, details);
  }
}
