import { Timeout } from "./errors.js";

/** What every method takes. */
export interface CallOptions {
  /**
   * Ends the call: it rejects with the signal's reason, and what was started for it in the server is
   * ended too.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long this client waits for an answer, in milliseconds; of a stream, for its beginning. Then the
   * call rejects with {@link Timeout}. None means the one of the {@link Server}, which has none by
   * itself. It limits neither a command nor the life of a sandbox.
   */
  readonly requestTimeoutMs?: number | null | undefined;
}

/** Why a signal was aborted, as an error. */
export function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error("the call was aborted", { cause: reason });
}

/**
 * What can end one exchange from outside: its signal and its timeout. The first of them is the reason
 * that the caller is given, whatever error the socket makes of it.
 */
export class Interruption {
  #reason: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #interrupt: (reason: Error) => void;
  readonly #onAbort: () => void;

  constructor(options: CallOptions, what: string, interrupt: (reason: Error) => void) {
    this.#interrupt = interrupt;
    this.#signal = options.signal;
    this.#onAbort = () => {
      if (this.#signal !== undefined) this.end(abortReason(this.#signal));
    };
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    const limit = options.requestTimeoutMs;
    if (limit !== null && limit !== undefined) {
      this.#timer = setTimeout(() => {
        this.end(
          new Timeout(`${what} was not answered within ${limit} ms`, {
            retryable: true,
            hint: "give it a longer `requestTimeoutMs`, or none",
          }),
        );
      }, limit);
    }
  }

  /** Why it was ended, where it was. */
  get reason(): Error | undefined {
    return this.#reason;
  }

  /** Ends the exchange for a reason of this side. */
  end(reason: Error): void {
    this.#reason ??= reason;
    this.#interrupt(this.#reason);
  }

  /** The answer has begun: only the signal counts from now on. */
  stopTimer(): void {
    clearTimeout(this.#timer);
  }

  /** The exchange is over. */
  release(): void {
    this.stopTimer();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
