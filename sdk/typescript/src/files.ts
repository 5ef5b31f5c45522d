import type { CallOptions } from "./call-options.js";
import { download } from "./download.js";
import { NotFound } from "./errors.js";
import { fileEntry, type FileEntry } from "./file-entry.js";
import type { Server } from "./server.js";
import { bytesOf, textOf, type Bytes } from "./text.js";
import type { Transferred } from "./transfer.js";
import { upload } from "./upload.js";
import { watch, type FileChange, type WatchOptions } from "./watch.js";

/** What can be written: bytes, text as UTF-8, or pieces of either as they come. */
export type Content = Bytes | Iterable<Bytes> | AsyncIterable<Bytes>;

/** Which part of a file is wanted, in bytes; all of it by default. */
export interface ReadOptions extends CallOptions {
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
}

/** How a file is written. */
export interface WriteOptions extends CallOptions {
  /** Its permission bits, such as `0o755`; by default those that it has, and 0644 for a new one. */
  readonly mode?: number | undefined;
  /** Whether directories that are missing are made, the default. */
  readonly makeParents?: boolean | undefined;
}

/**
 * The files of a sandbox. Paths are absolute. A path that is not there is `NotFound`; one that cannot be
 * used as asked, such as a directory that is to be read, is `InvalidArgument`.
 */
export class Files {
  readonly #server: Server;
  readonly #path: string;

  /** @internal */
  constructor(server: Server, sandboxPath: string) {
    this.#server = server;
    this.#path = `${sandboxPath}/files`;
  }

  /** A file's bytes. */
  async read(path: string, options: ReadOptions = {}): Promise<Uint8Array> {
    const { offset, length, ...call } = options;
    return this.#server.askBytes("GET", this.#path, { ...call, query: { path, offset, length } });
  }

  /** A file as text; what is not UTF-8 becomes U+FFFD. */
  async readText(path: string, options: ReadOptions = {}): Promise<string> {
    return textOf(await this.read(path, options));
  }

  /** A file's bytes as they come, however long it is; leaving the loop ends the transfer. */
  async *readStream(path: string, options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { offset, length, ...call } = options;
    const body = await this.#server.open("GET", this.#path, { ...call, query: { path, offset, length } });
    yield* body.chunks();
  }

  /**
   * Writes a file. It appears whole or not at all: also where the pieces throw, or the call is aborted.
   *
   * @returns how many bytes were written
   */
  async write(path: string, content: Content, options: WriteOptions = {}): Promise<number> {
    const { mode, makeParents, ...call } = options;
    const answer = await this.#server.ask("PUT", this.#path, {
      ...call,
      query: { path, mode: mode?.toString(8), make_parents: makeParents ?? true },
      body: typeof content === "string" || content instanceof Uint8Array ? bytesOf(content) : pieces(content),
    });
    return answer.number("bytes");
  }

  /** What is in a directory, by name. */
  async list(path: string, options: CallOptions = {}): Promise<FileEntry[]> {
    const answer = await this.#server.ask("GET", `${this.#path}/list`, { ...options, query: { path } });
    return answer.objects("items").map(fileEntry);
  }

  /** What is at a path. `follow` looks at what a symbolic link points to. */
  async stat(path: string, options: CallOptions & { follow?: boolean } = {}): Promise<FileEntry> {
    const { follow, ...call } = options;
    return fileEntry(await this.#server.ask("GET", `${this.#path}/stat`, { ...call, query: { path, follow } }));
  }

  /** Whether there is anything at a path. */
  async exists(path: string, options: CallOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, options);
      return true;
    } catch (error) {
      if (error instanceof NotFound) {
        // The sandbox may be what is not there; then this is an error, not an answer.
        await this.stat("/", options);
        return false;
      }
      throw error;
    }
  }

  /** Makes a directory; with `parents`, the default, also those above it, and one that is there is fine. */
  async mkdir(path: string, options: CallOptions & { mode?: number; parents?: boolean } = {}): Promise<void> {
    const { mode, parents, ...call } = options;
    const json = { path, mode: mode?.toString(8), parents: parents ?? true };
    await this.#server.tell("POST", `${this.#path}/mkdir`, { ...call, json });
  }

  /** Removes a file or an empty directory; with `recursive`, a directory with all that is in it. */
  async remove(path: string, options: CallOptions & { recursive?: boolean } = {}): Promise<void> {
    const { recursive, ...call } = options;
    await this.#server.tell("DELETE", this.#path, { ...call, query: { path, recursive } });
  }

  /** Gives a file or directory another path; a file that is there is replaced. */
  async rename(from: string, to: string, options: CallOptions = {}): Promise<void> {
    await this.#server.tell("POST", `${this.#path}/rename`, { ...options, json: { from, to } });
  }

  /**
   * Copies a local file or directory, with what is in it, to a path of the sandbox. Symbolic links in a
   * directory are not followed, and left out, as are devices and sockets.
   */
  async upload(local: string, remote: string, options: CallOptions = {}): Promise<Transferred> {
    return upload(this, local, remote, options);
  }

  /**
   * Copies a file or directory of the sandbox, with what is in it, to a local path. Nothing is written
   * outside of that path, whatever the sandbox says its files are called: links that point out of it, and
   * names that are none, are left out.
   */
  async download(remote: string, local: string, options: CallOptions = {}): Promise<Transferred> {
    return download(this, remote, local, options);
  }

  /**
   * What changes at a path, or in it where it is a directory, from when this resolves on. It need not be
   * there yet. The loop ends when it is left, or rejects when the signal is aborted; it asks the sandbox
   * again and again, see {@link WatchOptions}.
   */
  watch(path: string, options: WatchOptions = {}): Promise<AsyncGenerator<FileChange, void, undefined>> {
    return watch(this, path, options);
  }
}

async function* pieces(content: Iterable<Bytes> | AsyncIterable<Bytes>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of content) yield bytesOf(piece);
}
