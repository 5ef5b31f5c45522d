import { Answer } from "./answer.js";
import type { ByteStream } from "./byte-stream.js";
import { Interruption, type CallOptions } from "./call-options.js";
import { TransportError } from "./errors.js";
import { errorOfProblem } from "./problem.js";
import { sandboxInfo, type SandboxInfo } from "./sandbox-info.js";
import type { Server } from "./server.js";
import { LineSplitter, TextStream } from "./text.js";

/** What is told while a sandbox is made. */
export interface ProgressOptions {
  /** Called with each stage that takes a while, such as the boot of a template. */
  readonly onProgress?: ((stage: string) => void) | undefined;
}

/**
 * A connection that sandboxes live as long as. It does not keep the event loop alive: a program that is
 * done ends, with its sandboxes. When the server ends, so do they.
 *
 * @internal
 */
export class Lease {
  readonly #stream: ByteStream;
  readonly #held = new Set<string>();

  private constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /**
   * Makes sandboxes, all of them or none.
   *
   * @param request `create`, `restore` or `fork` of `POST /v1/leases`
   * @throws the first failure, after the other sandboxes of the lease were given up
   */
  static async open(
    server: Server,
    request: Record<string, unknown>,
    options: CallOptions & ProgressOptions,
  ): Promise<{ lease: Lease; sandboxes: SandboxInfo[] }> {
    options.signal?.throwIfAborted();
    // The request's timeout counts until all is told, not until the answer begins.
    const control = new AbortController();
    const interruption = new Interruption(options, "POST /v1/leases", (reason) => {
      control.abort(reason);
    });
    let stream: ByteStream | undefined;
    try {
      stream = await server.open("POST", "/v1/leases", { json: request, signal: control.signal });
      const lease = new Lease(stream);
      const events = eventsOf(stream);
      const sandboxes = await toldIn(events, options.onProgress);
      for (const sandbox of sandboxes) lease.#held.add(sandbox.id);
      stream.inBackground();
      void drop(events);
      return { lease, sandboxes };
    } catch (error) {
      stream?.close();
      throw error;
    } finally {
      interruption.release();
    }
  }

  /** One sandbox lives by itself or is gone; with the last, the connection is closed. */
  release(sandbox: string): void {
    this.#held.delete(sandbox);
    if (this.#held.size === 0) this.#stream.close();
  }
}

async function* eventsOf(stream: ByteStream): AsyncGenerator<Answer, void, undefined> {
  const text = new TextStream();
  const lines = new LineSplitter();
  for (let chunk = await stream.next(); chunk !== undefined; chunk = await stream.next()) {
    for (const line of lines.push(text.push(chunk))) {
      if (line.trim() !== "") yield parsed(line);
    }
  }
}

function parsed(line: string): Answer {
  try {
    return new Answer(JSON.parse(line));
  } catch (cause) {
    throw new TransportError("a line of the server's answer is not JSON", { cause });
  }
}

async function toldIn(
  events: AsyncGenerator<Answer, void, undefined>,
  onProgress: ((stage: string) => void) | undefined,
): Promise<SandboxInfo[]> {
  const sandboxes: SandboxInfo[] = [];
  let failure: Error | undefined;
  for (;;) {
    const next = await events.next();
    if (next.done === true) {
      throw failure ?? new TransportError("the server ended before it had told of every sandbox", { retryable: true });
    }
    const event = next.value;
    switch (event.text("event")) {
      case "progress":
        onProgress?.(event.text("stage"));
        break;
      case "sandbox":
        sandboxes[event.number("index")] = sandboxInfo(event.object("sandbox"));
        break;
      case "failed":
        failure ??= errorOfProblem(event.raw("problem"));
        break;
      case "ready":
        if (failure !== undefined) throw failure;
        return sandboxes;
      default:
        break; // a ping, or something of a later version
    }
  }
}

/** Reads what follows, so that the server can go on telling that it is there. */
async function drop(events: AsyncGenerator<Answer, void, undefined>): Promise<void> {
  try {
    while ((await events.next()).done !== true);
  } catch {
    // The lease is over. Whoever uses a sandbox of it is told by its next request.
  }
}
