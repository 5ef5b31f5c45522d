import type { CallOptions } from "./call-options.js";
import { Commands } from "./commands.js";
import { asyncDispose } from "./dispose.js";
import { NotFound } from "./errors.js";
import { Files } from "./files.js";
import { Lease, type ProgressOptions } from "./lease.js";
import { metricsOf, sandboxInfo, type Metrics, type SandboxInfo } from "./sandbox-info.js";
import { given, specJson, type SandboxSpec } from "./sandbox-spec.js";
import { serverOf, type Server, type ServerChoice } from "./server.js";
import { Snapshot } from "./snapshot.js";
import { TextStream } from "./text.js";

/** How a sandbox is made. */
export interface CreateOptions extends SandboxSpec, ProgressOptions, CallOptions, ServerChoice {}

/** How a sandbox goes on from another or from a snapshot. */
export interface RestoreOptions extends ProgressOptions, CallOptions {
  /** A name for it; of several, each has a number added. */
  readonly name?: string | null | undefined;
  /** After so many seconds it is destroyed, whoever holds it. None means no such end. */
  readonly ttlSeconds?: number | null | undefined;
}

/** Which log of a sandbox is wanted, and how. */
export interface LogOptions extends CallOptions {
  /** Of what the sandbox's own system says, the default, or of the machine that runs it. */
  readonly source?: "guest" | "machine" | undefined;
  /** Whether to go on with what is said later, until the loop is left or the signal is aborted. */
  readonly follow?: boolean | undefined;
}

/** Whether a call ended a sandbox, or it had ended before. */
export type Ended = "now" | "before";

/**
 * A sandbox: a virtual machine of its own.
 *
 * One that this program has made ends with `await using`, with {@link destroy}, or with the program,
 * however that ends; unless it was given to itself by {@link detach}. It is held by this object's
 * connection, which does not keep the program running. A handle from {@link connect} holds nothing.
 */
export class Sandbox {
  /** Its identifier, for `connect`. */
  readonly id: string;
  /** The name that it was given. */
  readonly name: string | undefined;
  readonly commands: Commands;
  readonly files: Files;
  readonly #server: Server;
  readonly #path: string;
  #lease: Lease | undefined;

  private constructor(server: Server, info: SandboxInfo, lease?: Lease) {
    this.id = info.id;
    this.name = info.name;
    this.#server = server;
    this.#path = pathOf(info.id);
    this.#lease = lease;
    this.commands = new Commands(server, this.#path);
    this.files = new Files(server, this.#path);
  }

  /**
   * Makes a sandbox. The first of an image boots it, which takes seconds; later ones go on from there.
   *
   * @throws BackendUnsupported for what is not there yet, by its name; BuildFailed for an image that cannot
   *   be had; AdmissionFailed or PolicyDenied where it may not run
   */
  static async create(options: CreateOptions = {}): Promise<Sandbox> {
    const server = serverOf(options);
    return only(await leased(server, { create: specJson(options) }, options));
  }

  /** A handle of a sandbox that is there, by its identifier or name; it does not hold it. */
  static async connect(sandbox: string, options: CallOptions & ServerChoice = {}): Promise<Sandbox> {
    const { server: choice, ...call } = options;
    const server = serverOf({ server: choice });
    return new Sandbox(server, sandboxInfo(await server.ask("GET", pathOf(sandbox), call)));
  }

  /** All sandboxes of the host, whoever made them. */
  static async list(options: CallOptions & ServerChoice = {}): Promise<SandboxInfo[]> {
    const { server: choice, ...call } = options;
    const server = serverOf({ server: choice });
    const found: SandboxInfo[] = [];
    let cursor: string | undefined;
    do {
      const answer = await server.ask("GET", "/v1/sandboxes", { ...call, query: { cursor } });
      found.push(...answer.objects("items").map(sandboxInfo));
      cursor = answer.textOrNone("next_cursor");
    } while (cursor !== undefined);
    return found;
  }

  /**
   * Makes a sandbox that goes on from a snapshot, given itself or by its identifier or name.
   *
   * @throws SnapshotMismatch where the snapshot is not what it was, or of another host
   */
  static async restore(snapshot: Snapshot | string, options: RestoreOptions & ServerChoice = {}): Promise<Sandbox> {
    const server = serverOf(options);
    const request = { snapshot: idOf(snapshot), ...continued(options) };
    return only(await leased(server, { restore: request }, options));
  }

  /** Makes sandboxes that each go on from a snapshot: all of them, or none. */
  static async forkSnapshot(
    snapshot: Snapshot | string,
    count: number,
    options: RestoreOptions & ServerChoice = {},
  ): Promise<Sandbox[]> {
    return leased(serverOf(options), { fork: { source: idOf(snapshot), count, ...continued(options) } }, options);
  }

  /** Makes sandboxes that each go on from this one as it is now: all of them, or none. */
  async fork(count = 1, options: RestoreOptions = {}): Promise<Sandbox[]> {
    return leased(this.#server, { fork: { source: this.id, count, ...continued(options) } }, options);
  }

  /** What there is to know of it now. */
  async info(options: CallOptions = {}): Promise<SandboxInfo> {
    return sandboxInfo(await this.#server.ask("GET", this.#path, options));
  }

  /** What it uses on the host now. */
  async metrics(options: CallOptions = {}): Promise<Metrics> {
    return metricsOf(await this.#server.ask("GET", `${this.#path}/metrics`, options));
  }

  /** Its log, as text in pieces. */
  async *logs(options: LogOptions = {}): AsyncGenerator<string, void, undefined> {
    const { source, follow, ...call } = options;
    const body = await this.#server.open("GET", `${this.#path}/logs`, { ...call, query: { source, follow } });
    const text = new TextStream();
    for await (const chunk of body.chunks()) {
      const piece = text.push(chunk);
      if (piece !== "") yield piece;
    }
    const rest = text.end();
    if (rest !== "") yield rest;
  }

  /** Saves it, with its memory, processes and files, while it goes on. */
  async snapshot(options: CallOptions & { name?: string | null | undefined } = {}): Promise<Snapshot> {
    const { name, ...call } = options;
    const answer = await this.#server.ask("POST", `${this.#path}/snapshots`, { ...call, json: given({ name }) });
    return new Snapshot(this.#server, answer);
  }

  /** Stops its processors; its memory stays. */
  async pause(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#changed("POST", "pause", {}, options);
  }

  /** Lets it go on, from a pause or from disk. */
  async resume(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#changed("POST", "resume", {}, options);
  }

  /** Saves it to disk and frees its memory, until {@link resume}. Processes go on then. */
  async cold(options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#changed("POST", "cold", {}, options);
  }

  /** When it is destroyed: so many seconds from now, or never by itself. */
  async setTtl(seconds: number | null | undefined, options: CallOptions = {}): Promise<SandboxInfo> {
    return this.#changed("PUT", "ttl", { ttl_seconds: seconds ?? null }, options);
  }

  /**
   * Lets its system end in order.
   *
   * @param options `graceMs`: how long that may take before it is ended anyway, in milliseconds
   */
  async stop(options: CallOptions & { graceMs?: number | null | undefined } = {}): Promise<Ended> {
    const { graceMs, ...call } = options;
    const json = given({ grace_ms: graceMs });
    return (await this.#server.ask("POST", `${this.#path}/stop`, { ...call, json })).text("ended") as Ended;
  }

  /** Ends it at once, with all that is in it. */
  async destroy(options: CallOptions = {}): Promise<Ended> {
    try {
      return (await this.#server.ask("DELETE", this.#path, options)).text("ended") as Ended;
    } finally {
      // Where the request failed, the end of the lease is what ends the sandbox.
      this.#letGo();
    }
  }

  /**
   * Gives it to itself: it no longer ends with this program.
   *
   * @param ttlSeconds when it is destroyed, from now; may be left out only where it has such an end already
   */
  async detach(ttlSeconds?: number | null, options: CallOptions = {}): Promise<SandboxInfo> {
    const json = given({ ttl_seconds: ttlSeconds });
    await this.#server.askBytes("POST", `${this.#path}/detach`, { ...options, json });
    this.#letGo();
    return this.info(options);
  }

  /** Destroys it where this object holds it; one that is gone already is fine. */
  async [asyncDispose](): Promise<void> {
    if (this.#lease === undefined) return;
    try {
      await this.destroy();
    } catch (error) {
      if (!(error instanceof NotFound)) throw error;
    }
  }

  async #changed(method: "POST" | "PUT", what: string, json: unknown, options: CallOptions): Promise<SandboxInfo> {
    return sandboxInfo(await this.#server.ask(method, `${this.#path}/${what}`, { ...options, json }));
  }

  #letGo(): void {
    this.#lease?.release(this.id);
    this.#lease = undefined;
  }

  /** @internal */
  static of(server: Server, info: SandboxInfo, lease: Lease): Sandbox {
    return new Sandbox(server, info, lease);
  }
}

async function leased(
  server: Server,
  request: Record<string, unknown>,
  options: CallOptions & ProgressOptions,
): Promise<Sandbox[]> {
  const { lease, sandboxes } = await Lease.open(server, request, options);
  return sandboxes.map((info) => Sandbox.of(server, info, lease));
}

function only(sandboxes: readonly Sandbox[]): Sandbox {
  const [sandbox] = sandboxes;
  if (sandbox === undefined) throw new NotFound("the server made no sandbox");
  return sandbox;
}

function continued(options: RestoreOptions): Record<string, unknown> {
  return given({ name: options.name, ttl_seconds: options.ttlSeconds });
}

function idOf(snapshot: Snapshot | string): string {
  return typeof snapshot === "string" ? snapshot : snapshot.id;
}

function pathOf(sandbox: string): string {
  return `/v1/sandboxes/${encodeURIComponent(sandbox)}`;
}
