import type { Answer } from "./answer.js";
import type { CallOptions } from "./call-options.js";
import { serverOf, type Server, type ServerChoice } from "./server.js";

/**
 * A sandbox as it was at one moment, with its memory, processes and files. It stays on the host until
 * it is removed. `Sandbox.restore` and `Sandbox.forkSnapshot` go on from it.
 */
export class Snapshot {
  readonly id: string;
  readonly name: string | undefined;
  /** The identifier of the sandbox that it was made of. */
  readonly sandbox: string;
  readonly image: string;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
  readonly method: "delta" | "stream";
  /** What it takes on the host's disk. */
  readonly bytes: number;
  /** How long the sandbox stood still for it. */
  readonly pauseMs: number;
  readonly #server: Server;

  /** @internal */
  constructor(server: Server, answer: Answer) {
    this.#server = server;
    this.id = answer.text("id");
    this.name = answer.textOrNone("name");
    this.sandbox = answer.text("sandbox");
    this.image = answer.text("image");
    this.createdAtMs = answer.number("created_at_ms");
    this.method = answer.text("method") as Snapshot["method"];
    this.bytes = answer.number("bytes");
    this.pauseMs = answer.number("pause_ms");
  }

  /** All snapshots of the host. */
  static async list(options: CallOptions & ServerChoice = {}): Promise<Snapshot[]> {
    const { server: choice, ...call } = options;
    const server = serverOf({ server: choice });
    const answer = await server.ask("GET", "/v1/snapshots", call);
    return answer.objects("items").map((item) => new Snapshot(server, item));
  }

  /** A snapshot, by its identifier or name; `NotFound` where there is none. */
  static async get(snapshot: string, options: CallOptions & ServerChoice = {}): Promise<Snapshot> {
    const { server: choice, ...call } = options;
    const server = serverOf({ server: choice });
    return new Snapshot(server, await server.ask("GET", pathOf(snapshot), call));
  }

  /** Removes a snapshot, by its identifier or name; sandboxes that were made from it stay. */
  static async remove(snapshot: string, options: CallOptions & ServerChoice = {}): Promise<void> {
    const { server: choice, ...call } = options;
    await serverOf({ server: choice }).tell("DELETE", pathOf(snapshot), call);
  }

  /** Removes it; sandboxes that were made from it stay. */
  async remove(options: CallOptions = {}): Promise<void> {
    await Snapshot.remove(this.id, { ...options, server: this.#server });
  }
}

function pathOf(snapshot: string): string {
  return `/v1/snapshots/${encodeURIComponent(snapshot)}`;
}
