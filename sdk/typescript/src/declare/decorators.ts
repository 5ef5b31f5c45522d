import { frozen, helper, type Call, type Spelled } from "./declared.js";
import { attach, type AnyFunction, type Decorated } from "./functions.js";
import type {
  Dependencies,
  EmbeddedFile,
  Entrypoint,
  Environment,
  FunctionOptions,
  HealthCheck,
  Hook,
  Image,
  Mount,
  MountSource,
  Network,
  Resources,
  Restart,
  RestartPolicy,
  Source,
} from "./helpers.js";

/** A line for the shell, a program with its arguments, or hooks, in their order. */
export type Hooks = string | Hook | readonly (string | Hook | readonly string[])[];

interface Options extends FunctionOptions {
  name: string;
  source: Source;
  image: string | Image;
  resources: Resources;
  environment: Environment;
  env: Environment;
  mounts: readonly Mount[] | Readonly<Record<string, string | MountSource>>;
  network: Network;
  dependencies: Dependencies;
  depends_on: readonly string[];
  before_build: Hooks;
  before_start: Hooks;
  after_start: Hooks;
  before_stop: Hooks;
  health_check: HealthCheck;
  restart: RestartPolicy | Restart;
  files: readonly EmbeddedFile[];
  entrypoint: Entrypoint;
  entrypoints: readonly Entrypoint[];
  module: string;
  function: string;
}

/** What `app` and `func` take, in `snake_case` or in `camelCase`. Where two names mean the same, one is given. */
export type AppOptions = Spelled<Options>;

/** Declares an app, and decorates the function that is its entrypoint, if it has one. */
export interface App {
  readonly kind: "app";
  readonly options: AppOptions;
  /** Gives the function back, with `local`, `remote` and `within`. */
  <Fn extends AnyFunction>(function_: Fn): Decorated<Fn>;
}

/** Names the workload of the file, and declares volumes of it. */
export const workload = helper<"workload", Call<[id: string], { id: string; volumes: readonly MountSource[] }>>("workload", "workload");

/**
 * Declares an app: around a function, or by itself with the entrypoints it is given. Everything has a
 * default: the app is named after the function, its source is the directory of the file.
 */
export function app(options: AppOptions = {}): App {
  return declaration(options, app);
}

/** As {@link app}; a second one with the same `name` adds its function to the app that the first declared. */
export function func(options: AppOptions = {}): App {
  return declaration(options, func);
}

function declaration(options: AppOptions, called: AnyFunction): App {
  const module = callerOf(called);
  const decorate = <Fn extends AnyFunction>(function_: Fn): Decorated<Fn> =>
    attach(function_, { app: options.name, function: options.function, module });
  return Object.freeze(Object.assign(decorate, { kind: "app" as const, options: frozen(options) as AppOptions }));
}

/** The module that called a function of this one. What is loaded counts here, not what a source map says of it. */
function callerOf(called: AnyFunction): string | undefined {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back, not called
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 1;
    Error.prepareStackTrace = (_, sites) => sites[0]?.getFileName();
    const captured: { readonly stack?: unknown } = {};
    Error.captureStackTrace(captured, called);
    return typeof captured.stack === "string" ? captured.stack : undefined;
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
}
