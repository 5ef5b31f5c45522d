import { Answer } from "./answer.js";
import type { ByteStream } from "./byte-stream.js";
import { TransportError } from "./errors.js";
import { FRAME_EVENT, FRAME_STDERR, FRAME_STDOUT, FrameParser, type Frame } from "./frames.js";
import { errorOfProblem } from "./problem.js";
import { outcomeOf, type Outcome } from "./result.js";
import { textOf } from "./text.js";

/** Bytes that a process has written. */
export interface OutputEvent {
  readonly kind: "output";
  readonly stream: "stdout" | "stderr";
  readonly bytes: Uint8Array;
  /** Where the first of these bytes is in its stream. */
  readonly offset: number;
}

/** Bytes that are lost: they were no longer kept when this program asked for them. */
export interface GapEvent {
  readonly kind: "gap";
  readonly stream: "stdout" | "stderr";
  readonly from: number;
  readonly to: number;
}

export type ProcessEvent = OutputEvent | GapEvent;

/** How the stream of a process begins. */
export interface Started {
  readonly id: number;
  readonly pid: number;
  readonly runId: string | undefined;
}

/** The server is heard from at least every 10 seconds; six times that is no slow network. */
const SILENCE_MS = 60_000;

/** What a server sends of one process. @internal */
export class ProcessStream {
  readonly #bytes: ByteStream;
  readonly #parser = new FrameParser();
  readonly #frames: Frame[] = [];
  /** Where the next byte of each stream is. */
  readonly offsets = { stdout: 0, stderr: 0 };

  constructor(bytes: ByteStream) {
    this.#bytes = bytes;
  }

  async started(): Promise<Started> {
    const frame = await this.#frame();
    if (frame.kind !== FRAME_EVENT) throw new TransportError("a process's stream does not begin with an event");
    const event = eventIn(frame);
    if (event.text("event") === "failed") throw errorOfProblem(event.raw("problem"));
    this.offsets.stdout = event.number("stdout_offset");
    this.offsets.stderr = event.number("stderr_offset");
    return { id: event.number("process_id"), pid: event.number("pid"), runId: event.textOrNone("run_id") };
  }

  /**
   * What comes next: output, or how it ended.
   *
   * @throws the server's problem where the stream broke; TransportError where the connection did
   */
  async next(): Promise<ProcessEvent | { readonly kind: "exited"; readonly outcome: Outcome }> {
    for (;;) {
      const frame = await this.#frame();
      if (frame.kind === FRAME_STDOUT || frame.kind === FRAME_STDERR) {
        const stream = frame.kind === FRAME_STDOUT ? "stdout" : "stderr";
        const offset = this.offsets[stream];
        this.offsets[stream] += frame.payload.length;
        if (frame.payload.length > 0) return { kind: "output", stream, bytes: frame.payload, offset };
      } else if (frame.kind === FRAME_EVENT) {
        const event = eventIn(frame);
        switch (event.text("event")) {
          case "gap": {
            const stream = event.text("stream") === "stderr" ? "stderr" : "stdout";
            this.offsets[stream] = event.number("to");
            return { kind: "gap", stream, from: event.number("from"), to: event.number("to") };
          }
          case "exited":
            void this.#bytes.finish();
            return { kind: "exited", outcome: outcomeOf(event.object("result")) };
          case "failed":
            void this.#bytes.finish();
            throw errorOfProblem(event.raw("problem"));
          default:
            break; // a ping, or something of a later version
        }
      }
    }
  }

  close(): void {
    this.#bytes.close();
  }

  async #frame(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      const chunk = await this.#bytes.next(SILENCE_MS);
      if (chunk === undefined) {
        throw new TransportError("the server ended a process's stream before the process", { retryable: true });
      }
      this.#frames.push(...this.#parser.push(chunk));
    }
  }
}

function eventIn(frame: Frame): Answer {
  try {
    return new Answer(JSON.parse(textOf(frame.payload)));
  } catch (cause) {
    throw new TransportError("an event of a process's stream is not JSON", { cause });
  }
}
