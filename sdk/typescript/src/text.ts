const encoder = new TextEncoder();

/** What can be given where bytes are wanted: text is sent as UTF-8. */
export type Bytes = Uint8Array | string;

/** @internal */
export function bytesOf(data: Bytes): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** All of some bytes as text; what is not UTF-8 becomes U+FFFD. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** Text out of a stream of bytes: a character whose bytes lie in two chunks comes with the second. */
export class TextStream {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** The text that is whole with these bytes; empty where none is. */
  push(bytes: Uint8Array): string {
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** What is left: U+FFFD for a character that never became whole. */
  end(): string {
    return this.#decoder.decode();
  }
}

/** Lines out of pieces of text; each without its end. */
export class LineSplitter {
  #rest = "";

  push(text: string): string[] {
    // Only the new text is searched, so that a long line costs no more than its length.
    const pieces = text.split("\n");
    const last = pieces.pop() ?? "";
    if (pieces.length === 0) {
      this.#rest += last;
      return [];
    }
    pieces[0] = this.#rest + (pieces[0] ?? "");
    this.#rest = last;
    return pieces;
  }

  /** The last line, where it has no end. */
  end(): string[] {
    const rest = this.#rest;
    this.#rest = "";
    return rest === "" ? [] : [rest];
  }
}
