import * as http from "node:http";
import * as https from "node:https";

import { Answer } from "./answer.js";
import type { ByteStream } from "./byte-stream.js";
import type { CallOptions } from "./call-options.js";
import { InvalidArgument, TransportError } from "./errors.js";
import { exchange, type Address, type Method, type Reply } from "./exchange.js";
import { privateServer } from "./private-server.js";
import { errorOfProblem } from "./problem.js";
import { textOf } from "./text.js";

/** Shorter than a server keeps an idle connection, so that none is used at the moment it is closed. */
const IDLE_CONNECTION_MS = 4000;

/** How a server is used. */
export interface ServerOptions {
  /** For a server that listens on TCP. */
  readonly token?: string | null | undefined;
  /** Certificates (PEM) to trust beside the usual ones; for a server whose certificate is its own. */
  readonly certificateAuthority?: string | Uint8Array | null | undefined;
  /** What {@link CallOptions.requestTimeoutMs} is where a call has none, in milliseconds. None by default. */
  readonly requestTimeoutMs?: number | null | undefined;
}

/** What a call that names no server uses, and can. */
export interface ServerChoice {
  /** The server to ask; by default the one of MVM_URL, or else one of this process's own. */
  readonly server?: Server | undefined;
}

/** @internal */
export interface Request extends CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | null | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
}

/** A server of mvm, `mvmctl serve`. Making one connects to nothing. */
export class Server {
  readonly #locate: () => Address | Promise<Address>;
  readonly #token: string | undefined;
  readonly #agent: http.Agent;
  readonly #requestTimeoutMs: number | undefined;

  private constructor(locate: () => Address | Promise<Address>, secure: boolean, options: ServerOptions) {
    this.#locate = locate;
    this.#token = options.token ?? undefined;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? undefined;
    const connections: http.AgentOptions = { keepAlive: true, timeout: IDLE_CONNECTION_MS };
    const { certificateAuthority } = options;
    this.#agent = secure
      ? new https.Agent({
          ...connections,
          ...(certificateAuthority === null || certificateAuthority === undefined
            ? {}
            : { ca: typeof certificateAuthority === "string" ? certificateAuthority : Buffer.from(certificateAuthority) }),
        })
      : new http.Agent(connections);
  }

  /**
   * The server at an address.
   *
   * @param url `unix:///path`, `http://host:port` or `https://host:port`
   * @throws InvalidArgument for any other
   */
  static at(url: string, options: ServerOptions = {}): Server {
    const address = addressOf(url);
    return new Server(() => address, address.kind === "tcp" && address.secure, options);
  }

  /**
   * This process's own server, started on its first request: `mvmctl serve --private`, with the `mvmctl`
   * of MVM_MVMCTL or of PATH. It ends when this process does.
   */
  static private(options: ServerOptions = {}): Server {
    const locate = async (): Promise<Address> => ({ kind: "unix", socketPath: await privateServer() });
    return new Server(locate, false, options);
  }

  /** The server that calls use which name none: that of MVM_URL with MVM_TOKEN, or this process's own. */
  static default(): Server {
    const url = process.env["MVM_URL"] ?? "";
    const token = process.env["MVM_TOKEN"];
    const key = JSON.stringify([url, token]);
    if (chosen?.key !== key) {
      chosen = { key, server: url === "" ? Server.private() : Server.at(url, { token }) };
    }
    return chosen.server;
  }

  /** @internal the answer of a request, as JSON */
  async ask(method: Method, path: string, request: Request = {}): Promise<Answer> {
    const bytes = await this.askBytes(method, path, request);
    try {
      return new Answer(JSON.parse(textOf(bytes)));
    } catch (cause) {
      if (cause instanceof TransportError) throw cause;
      throw new TransportError(`the answer of ${method} ${path} is not JSON`, { cause });
    }
  }

  /** @internal a request whose answer has no body */
  async tell(method: Method, path: string, request: Request = {}): Promise<void> {
    await this.askBytes(method, path, request);
  }

  /** @internal the answer of a request, as a stream; the request's timeout is for its beginning */
  async open(method: Method, path: string, request: Request = {}): Promise<ByteStream> {
    const reply = await this.#exchange(method, path, request, request.requestTimeoutMs);
    if (reply.status >= 200 && reply.status < 300) return reply.body;
    throw await failureOf(reply);
  }

  async #exchange(method: Method, path: string, request: Request, requestTimeoutMs?: number | null): Promise<Reply> {
    const { json, query, headers } = request;
    return exchange(await this.#locate(), this.#agent, {
      method,
      path: path + queryOf(query),
      headers: {
        ...headers,
        ...(json === undefined ? {} : { "content-type": "application/json" }),
        ...(request.body === undefined ? {} : { "content-type": "application/octet-stream" }),
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      },
      body: json === undefined ? request.body : Buffer.from(JSON.stringify(json)),
      signal: request.signal,
      requestTimeoutMs: requestTimeoutMs ?? this.#requestTimeoutMs,
    });
  }

  /** @internal the answer of a request, whole */
  async askBytes(method: Method, path: string, request: Request = {}): Promise<Uint8Array> {
    const body = await this.open(method, path, request);
    return body.all();
  }
}

let chosen: { readonly key: string; readonly server: Server } | undefined;

/** @internal */
export function serverOf(choice: ServerChoice): Server {
  return choice.server ?? Server.default();
}

async function failureOf(reply: Reply): Promise<Error> {
  const body = textOf(await reply.body.all());
  try {
    return errorOfProblem(JSON.parse(body), reply.status);
  } catch {
    return errorOfProblem(undefined, reply.status);
  }
}

function addressOf(url: string): Address {
  const refuse = (cause?: unknown): InvalidArgument =>
    new InvalidArgument(`\`${url}\` is not the address of a server`, {
      cause,
      hint: "an address is `unix:///path/of/socket`, `http://host:port` or `https://host:port`",
    });
  if (url.startsWith("unix:")) {
    const socketPath = decodeURIComponent(url.slice("unix:".length).replace(/^\/\/(?=\/)/, ""));
    if (!socketPath.startsWith("/")) throw refuse();
    return { kind: "unix", socketPath };
  }
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw refuse(cause);
  }
  const secure = parsed.protocol === "https:";
  if ((!secure && parsed.protocol !== "http:") || parsed.hostname === "") throw refuse();
  return {
    kind: "tcp",
    secure,
    hostname: parsed.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: parsed.port === "" ? (secure ? 443 : 80) : Number(parsed.port),
    prefix: parsed.pathname.replace(/\/+$/, ""),
  };
}

function queryOf(query: Request["query"]): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === null || value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}
