import * as http from "node:http";
import * as https from "node:https";
import type { Duplex } from "node:stream";

import { ByteStream } from "./byte-stream.js";
import { abortReason, Interruption, type CallOptions } from "./call-options.js";
import { TransportError } from "./errors.js";

/** Where a server is. */
export type Address =
  | { readonly kind: "unix"; readonly socketPath: string }
  | { readonly kind: "tcp"; readonly secure: boolean; readonly hostname: string; readonly port: number; readonly prefix: string };

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** One request. */
export interface Exchange extends CallOptions {
  readonly method: Method;
  /** Below the server's address, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array> | undefined;
}

/** The head of an answer, and its body to be read. */
export interface Reply {
  readonly status: number;
  readonly body: ByteStream;
}

const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: "is the server running? `mvmctl serve` starts one",
  ENOENT: "is the server running? there is no socket at that path",
  EACCES: "the socket belongs to another user; a server answers only the user that runs it",
  ENOTFOUND: "is the host name in MVM_URL right?",
  ECONNRESET: "did the server end, or restart?",
  EPIPE: "did the server end, or restart?",
};

/** The name of an address, for messages. */
export function nameOf(address: Address): string {
  return address.kind === "unix"
    ? `unix://${address.socketPath}`
    : `${address.secure ? "https" : "http"}://${address.hostname}:${address.port}`;
}

/**
 * Sends a request and waits for the head of its answer.
 *
 * @throws TransportError where the server cannot be reached; Timeout; the reason of the signal
 */
export async function exchange(address: Address, agent: http.Agent, what: Exchange): Promise<Reply> {
  if (what.signal?.aborted === true) throw abortReason(what.signal);
  try {
    return await attempt(address, agent, what);
  } catch (error) {
    // The server may close an idle connection at the moment at which it is used again.
    const stale = error instanceof TransportError && error.cause instanceof StaleConnection;
    if (!stale || !(what.method === "GET" || what.method === "DELETE")) throw error;
    return await attempt(address, agent, what);
  }
}

class StaleConnection extends Error {}

function attempt(address: Address, agent: http.Agent, what: Exchange): Promise<Reply> {
  return new Promise<Reply>((resolve, reject) => {
    const body = what.body;
    const options: http.RequestOptions = {
      agent,
      method: what.method,
      path: address.kind === "tcp" ? address.prefix + what.path : what.path,
      headers: {
        ...what.headers,
        ...(body instanceof Uint8Array ? { "content-length": String(body.length) } : {}),
      },
      ...(address.kind === "unix"
        ? { socketPath: address.socketPath, host: "localhost" }
        : { hostname: address.hostname, port: address.port }),
    };
    const secure = address.kind === "tcp" && address.secure;
    const request = secure ? https.request(options) : http.request(options);
    const interruption = new Interruption(what, `${what.method} ${pathOnly(what.path)}`, (reason) => {
      request.destroy(reason);
    });
    let answered = false;
    request.once("socket", outliveErrors);
    request.on("response", (response) => {
      answered = true;
      interruption.stopTimer();
      resolve({ status: response.statusCode ?? 0, body: new ByteStream(request, response, interruption) });
    });
    request.on("error", (error: NodeJS.ErrnoException) => {
      if (answered) return;
      interruption.release();
      const stale = request.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      reject(
        interruption.reason ??
          new TransportError(`cannot reach the server at ${nameOf(address)}: ${error.message}`, {
            cause: stale ? new StaleConnection(error.message, { cause: error }) : error,
            retryable: true,
            hint: hints[error.code ?? ""],
          }),
      );
    });
    if (body === undefined || body instanceof Uint8Array) {
      request.end(body);
    } else {
      send(request, body, () => answered).catch((error: unknown) => {
        if (!answered) interruption.end(error instanceof Error ? error : new Error(String(error)));
      });
    }
  });
}

const outliving = new WeakSet<Duplex>();

/**
 * A server may refuse a body before it has read it, and close. What is still being written fails then,
 * after the answer was read and the request is done with its socket; nobody else would listen.
 */
function outliveErrors(socket: Duplex): void {
  if (outliving.has(socket)) return;
  outliving.add(socket);
  socket.on("error", () => {
    // Told by the request, while there is one.
  });
}

/** Sends a body piece by piece, as fast as the server takes it, unless it has answered before the end. */
async function send(
  request: http.ClientRequest,
  body: AsyncIterable<Uint8Array>,
  isAnswered: () => boolean,
): Promise<void> {
  for await (const chunk of body) {
    if (request.destroyed || isAnswered()) return;
    if (chunk.length > 0 && !request.write(chunk)) await writable(request);
  }
  if (!request.destroyed) request.end();
}

function writable(request: http.ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ["drain", "close", "response"]) request.off(event, done);
      resolve();
    };
    for (const event of ["drain", "close", "response"]) request.on(event, done);
    if (request.destroyed) done();
  });
}

function pathOnly(path: string): string {
  return path.split("?", 1)[0] ?? path;
}
