import type { CallOptions } from "../call-options.js";
import type { ServerChoice } from "../server.js";

/** Any function. */
export type AnyFunction = (...given: never[]) => unknown;

/** How a call in a microVM is limited, and which server is asked. */
export interface RemoteOptions extends CallOptions, ServerChoice {
  /** Ends the call in the guest after so many milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** How a function is called in its microVM. */
export interface Remote<Fn extends AnyFunction> {
  /** Calls it in its microVM. Rejects with `RemoteError` for what the function throws. */
  readonly remote: (...given: Parameters<Fn>) => Promise<Awaited<ReturnType<Fn>>>;
}

/** A decorated function: the same function. */
export type Decorated<Fn extends AnyFunction> = Fn &
  Remote<Fn> & {
    /** Calls it here: the plain call. */
    readonly local: Fn;
    /** The same calls in its microVM, with limits. */
    readonly within: (options: RemoteOptions) => Remote<Fn>;
  };

/** @internal what was said where a function was decorated */
export interface Place {
  readonly app: string | undefined;
  readonly function: string | undefined;
  /** The module, as a URL or a path; none where it is no module. */
  readonly module: string | undefined;
}

/** @internal the function itself, which can be called in its microVM from now on */
export function attach<Fn extends AnyFunction>(function_: Fn, said: Place): Decorated<Fn> {
  if (typeof function_ !== "function" || isClass(function_)) {
    throw new TypeError(`mvm.app decorates a function, not ${typeof function_ === "function" ? "a class" : typeof function_}`);
  }
  const remote =
    (options: RemoteOptions) =>
    async (...given: Parameters<Fn>): Promise<Awaited<ReturnType<Fn>>> => {
      // What speaks to a server is loaded here and not before: declaring needs none.
      const { invoke } = await import("../invocation.js");
      return (await invoke(function_, said, given, options)) as Awaited<ReturnType<Fn>>;
    };
  const attached = { local: function_, remote: remote({}), within: (options: RemoteOptions) => ({ remote: remote(options) }) };
  for (const [name, value] of Object.entries(attached)) {
    Object.defineProperty(function_, name, { value, configurable: true });
  }
  return function_ as Decorated<Fn>;
}

function isClass(function_: AnyFunction): boolean {
  return Object.getOwnPropertyDescriptor(function_, "prototype")?.writable === false;
}
