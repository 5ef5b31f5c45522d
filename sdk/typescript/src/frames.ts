import { joined } from "./bytes.js";
import { TransportError } from "./errors.js";

/** One frame of a process's stream: a kind and its bytes. */
export interface Frame {
  readonly kind: number;
  readonly payload: Uint8Array;
}

/** The kinds of frames. */
export const FRAME_EVENT = 0;
export const FRAME_STDOUT = 1;
export const FRAME_STDERR = 2;

const HEADER_BYTES = 5;
/** Longer than any frame of a server; a length beyond it means that the stream is not one of frames. */
const LONGEST_PAYLOAD = 64 * 1024 * 1024;

/**
 * Takes a stream of bytes apart into frames: one byte of kind, four of length (big-endian), and so many
 * bytes. Chunks may end anywhere.
 */
export class FrameParser {
  #chunks: Uint8Array[] = [];
  #length = 0;

  /** Adds bytes; the frames that are whole with them. */
  push(chunk: Uint8Array): Frame[] {
    if (chunk.length > 0) {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
    }
    const frames: Frame[] = [];
    for (;;) {
      if (this.#length < HEADER_BYTES) return frames;
      const header = this.#peek(HEADER_BYTES);
      const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
      const size = view.getUint32(1);
      if (size > LONGEST_PAYLOAD) {
        throw new TransportError(`a frame of ${size} bytes is longer than any that a server sends`);
      }
      if (this.#length < HEADER_BYTES + size) return frames;
      this.#take(HEADER_BYTES);
      frames.push({ kind: view.getUint8(0), payload: this.#take(size) });
    }
  }

  /** Bytes of a frame that is not whole yet. */
  get pending(): number {
    return this.#length;
  }

  /** The next bytes, which stay. */
  #peek(count: number): Uint8Array {
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= count) return first.subarray(0, count);
    const whole = joined(this.#chunks);
    this.#chunks = [whole];
    return whole.subarray(0, count);
  }

  /** The next bytes, copied only where they lie in several chunks. */
  #take(count: number): Uint8Array {
    if (count === 0) return new Uint8Array(0);
    const taken = this.#peek(count);
    const first = this.#chunks[0] ?? taken;
    if (first.length === count) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(count);
    this.#length -= count;
    return taken;
  }
}
