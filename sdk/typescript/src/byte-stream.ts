import type { ClientRequest, IncomingMessage } from "node:http";
import { clearTimeout, setTimeout } from "node:timers";

import { joined } from "./bytes.js";
import type { Interruption } from "./call-options.js";
import { TransportError } from "./errors.js";

/**
 * The body of an answer, read chunk by chunk. Its socket keeps the event loop alive only while a read
 * waits, so that a program which forgot a stream can end.
 *
 * @internal
 */
export class ByteStream {
  readonly #request: ClientRequest;
  readonly #response: IncomingMessage;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #interruption: Interruption;
  #background = false;
  #ended = false;
  #closed = false;

  constructor(request: ClientRequest, response: IncomingMessage, interruption: Interruption) {
    this.#request = request;
    this.#response = response;
    this.#chunks = response[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    this.#interruption = interruption;
    response.on("error", () => {
      // Told by the read that it ends; without a listener it would end the program.
    });
  }

  /** Reads from now on do not keep the event loop alive. */
  inBackground(): void {
    this.#background = true;
    this.#keepAlive(false);
  }

  /**
   * The next bytes, or `undefined` at the end.
   *
   * @param silenceMs after so long without any the connection counts as lost
   * @throws TransportError where the connection ends too early; the reason of the signal where that ended it
   */
  async next(silenceMs?: number): Promise<Uint8Array | undefined> {
    if (this.#ended) return undefined;
    if (this.#closed) throw this.#interruption.reason ?? new TransportError("the stream was closed");
    const timer =
      silenceMs === undefined
        ? undefined
        : setTimeout(() => {
            this.#interruption.end(
              new TransportError(`the server was silent for ${silenceMs} ms`, { retryable: true }),
            );
          }, silenceMs);
    if (!this.#background) this.#keepAlive(true);
    try {
      const next = await this.#chunks.next();
      if (next.done !== true) return next.value;
      this.#ended = true;
      this.#interruption.release();
      // Refused before all of it was sent: the connection cannot be used again.
      if (!this.#request.writableEnded) this.#request.destroy();
      return undefined;
    } catch (cause) {
      this.close();
      throw (
        this.#interruption.reason ??
        new TransportError("the connection ended in the middle of an answer", {
          cause,
          retryable: true,
          hint: "did the server end, or restart?",
        })
      );
    } finally {
      clearTimeout(timer);
      this.#keepAlive(false);
    }
  }

  /** All of it. */
  async all(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (let chunk = await this.next(); chunk !== undefined; chunk = await this.next()) chunks.push(chunk);
    return joined(chunks);
  }

  /** Its chunks; leaving the loop closes it. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (let chunk = await this.next(); chunk !== undefined; chunk = await this.next()) yield chunk;
    } finally {
      this.close();
    }
  }

  /** A socket whose answer has come is no longer this stream's: it may serve another request already. */
  #keepAlive(wanted: boolean): void {
    if (this.#response.complete) return;
    if (wanted) this.#response.socket.ref();
    else this.#response.socket.unref();
  }

  /** Reads what is left of an answer whose end is known, so that its connection can be used again. */
  async finish(): Promise<void> {
    this.inBackground();
    try {
      while ((await this.next()) !== undefined);
    } catch {
      // What was wanted of it is there.
    }
  }

  /** Hangs up, unless everything was read. */
  close(): void {
    if (this.#ended || this.#closed) return;
    this.#closed = true;
    this.#interruption.release();
    this.#request.destroy();
  }
}
