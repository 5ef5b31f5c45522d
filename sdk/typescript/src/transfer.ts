/** What a transfer has copied. */
export interface Transferred {
  /** How many files. */
  readonly files: number;
  /** How many bytes of them. */
  readonly bytes: number;
  /** Paths that were left out: links, devices, sockets, names that cannot be used here. */
  readonly skipped: readonly string[];
}

/** Counts what is copied. @internal */
export class Tally {
  files = 0;
  bytes = 0;
  readonly skipped: string[] = [];

  transferred(): Transferred {
    return { files: this.files, bytes: this.bytes, skipped: this.skipped };
  }
}

/** A path of the sandbox below a directory of it. */
export function below(directory: string, name: string): string {
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}
