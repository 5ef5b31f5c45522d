import { helper, type Call, type Declared, type Spelled } from "./declared.js";

export type Source = Declared<"source">;
export type Image = Declared<"image">;
export type Dependencies = Declared<"dependencies">;
export type Resources = Declared<"resources">;
export type Network = Declared<"network">;
export type Egress = Declared<"egress">;
export type HostPort = Declared<"host port">;
export type Port = Declared<"port">;
export type Dns = Declared<"dns">;
export type Variable = Declared<"variable">;
export type MountSource = Declared<"mount source">;
export type Mount = Declared<"mount">;
export type EmbeddedFile = Declared<"file">;
export type Entrypoint = Declared<"entrypoint">;
export type WarmProcess = Declared<"warm process">;
export type Hook = Declared<"hook">;
export type HealthCheck = Declared<"health check">;
export type Restart = Declared<"restart">;

/** Variables of an environment. */
export type Environment = Readonly<Record<string, string | Variable>>;
/** A JSON Schema. */
export type Schema = Readonly<Record<string, unknown>>;
/** What a function is written in. */
export type Language = "python" | "node" | "typescript" | "javascript" | "rust";
/** Whether a command that ended is started again. */
export type RestartPolicy = "never" | "on-failure" | "on_failure" | "always";
type Texts = readonly string[];
type Protocol = "tcp" | "tls" | "http";

interface PortOptions {
  guest: number;
  guest_port: number;
  host: number;
  host_port: number;
  address: string;
  proto: "tcp";
  protocol: "tcp";
}

interface Placed {
  working_directory: string;
  working_dir: string;
  environment: Environment;
  env: Environment;
}

/** A directory, relative to the declaration's; globs say which files (all), and which of those not (none). */
export const localPath = helper<"source", Call<[path: string], { path: string; include: Texts; exclude: Texts }>>("source", "local_path");

/** A named source: `debian:node`, `oci:HOST/PATH@sha256:…`, `nix:FLAKE#ATTRIBUTE`. */
export const image = helper<"image", Call<[reference: string], { reference: string }>>("image", "image");

/** One of mvm's own images of Debian: `python`, `node`. */
export const debian = helper<"image", Call<[name: string], { name: string }>>("image", "debian");

/** An image of a registry, and the digest (`sha256:…`) it must have. */
export const ociImage = helper<"image", Call<[reference: string], { reference: string; digest: string }>>("image", "oci_image");

/** Python of a version (3.11), with packages of the system; which image that is, the host's catalog says. */
export const pythonImage = helper<
  "image",
  Call<[python?: string], { python: string; version: string; packages: Texts }>
>("image", "python_image");

/** Node.js of a version (18), with packages of the system; which image that is, the host's catalog says. */
export const nodeImage = helper<"image", Call<[node?: string], { node: string; version: string; packages: Texts }>>("image", "node_image");

/** Packages of the Nix collection that the host's catalog names. */
export const nixPackages = helper<"image", Call<[packages: Texts], { packages: Texts }>>("image", "nix_packages");

/** Python packages of a lockfile whose every entry has a hash. */
export const pythonDeps = helper<
  "dependencies",
  Call<[lockfile: string], { lockfile: string; tool: "uv" | "pip-tools" }>
>("dependencies", "python_deps");

/** Node.js packages of a lockfile whose every entry has a hash. */
export const nodeDeps = helper<
  "dependencies",
  Call<[lockfile: string], { lockfile: string; tool: "pnpm" | "npm" | "yarn" }>
>("dependencies", "node_deps");

/** No dependencies. */
export const noDeps = helper<"dependencies", []>("dependencies", "no_deps");

/** Virtual processors, memory and disk, both in MiB by whatever name. */
export const resources = helper<
  "resources",
  Call<
    [vcpus?: number, memory_mib?: number, disk_mib?: number],
    {
      vcpus: number;
      cpu_cores: number;
      cpu: number;
      cpus: number;
      memory_mib: number;
      memory_mb: number;
      disk_mib: number;
      rootfs_size_mb: number;
      rootfs_size_mib: number;
      disk_mb: number;
    }
  >
>("resources", "resources");

/** What may be connected to, and the ports that the host offers. Without either there is no network. */
export const network = helper<
  "network",
  Call<
    [mode?: "none" | "deny" | "grants" | "bridge"],
    {
      mode: "none" | "deny" | "grants" | "bridge";
      egress: Egress | readonly HostPort[];
      ports: readonly (number | Port | Spelled<PortOptions>)[];
      dns: Dns;
    }
  >
>("network", "network");

/** Exactly these destinations; there are no wildcards. */
export const egress = helper<
  "egress",
  Call<[allowlist: readonly HostPort[]], { allowlist: readonly HostPort[]; hosts: readonly HostPort[] }>
>("egress", "egress");

/** A host by its name, a port from 1 to 65,535, and what is spoken there (`tcp`: anything). */
export const hostPort = helper<
  "host port",
  Call<[host: string, port: number], { host: string; port: number; protocol: Protocol; proto: Protocol }>
>("host port", "host_port");

/** A port of the guest; the host's port (any that is free) and address (127.0.0.1). */
export const port = helper<"port", Call<[guest: number], PortOptions>>("port", "port");

/** Nobody answers questions for names. */
export const dnsNone = helper<"dns", []>("dns", "dns_none");

/** The host answers, for the names that egress grants. */
export const dnsSystem = helper<"dns", []>("dns", "dns_system");

/** The host answers by way of this resolver (port 53), for the names that egress grants. */
export const dnsResolver = helper<"dns", Call<[host: string, port?: number], { host: string; port: number }>>("dns", "dns_resolver");

/** This text. */
export const literal = helper<"variable", Call<[value: string], { value: string }>>("variable", "literal");

/** A placeholder for a secret of the host's store, which the host sends to these hosts only (`bearer`). */
export const secret = helper<
  "variable",
  Call<
    [name: string],
    { name: string; type: "bearer" | "basic" | "sigv4" | "hmac"; hosts: Texts; allowed_hosts: Texts; var: string }
  >
>("variable", "secret");

/** Storage of the workload: declared where it has a size (MiB), and else named. */
export const volume = helper<
  "mount source",
  Call<[name: string], { name: string; size_mib: number; size_mb: number; persistent: boolean; persist: boolean }>
>("mount source", "volume");

/** A directory of the host, by its absolute path. */
export const hostPath = helper<"mount source", Call<[path: string], { path: string }>>("mount source", "host_path");

/** Memory of the guest, at most so many MiB. */
export const tmpfs = helper<"mount source", Call<[size_mib: number], { size_mib: number; size_mb: number }>>("mount source", "tmpfs");

/** A volume, by itself or by its name, or another source, at an absolute path of the guest. */
export const mount = helper<
  "mount",
  Call<
    [source: string | MountSource, target: string],
    { source: string | MountSource; target: string; read_only: boolean; mode: "ro" | "rw" }
  >
>("mount", "mount");

/** A file at an absolute path of the guest, with its permission bits (0o644). */
export const file = helper<
  "file",
  Call<
    [path: string, content?: string],
    { path: string; content: string; text: string; content_base64: string; bytes_b64: string; mode: number }
  >
>("file", "file");

/** A program with its arguments. */
export const entrypoint = helper<
  "entrypoint",
  Call<[command: Texts], Placed & { command: Texts; name: string; primary: boolean }>
>("entrypoint", "entrypoint");

/** What a function's declaration says beside its module and name. */
export interface FunctionOptions {
  language: Language;
  format: "json";
  primary: boolean;
  working_directory: string;
  working_dir: string;
  arguments_schema: Schema;
  args_schema: Schema;
  result_schema: Schema;
  return_schema: Schema;
  warm: WarmProcess;
  concurrency: WarmProcess;
}

/** A function of a module that is called with JSON and answers with JSON. */
export const entrypointFunction = helper<
  "entrypoint",
  Call<
    [module: string, function_: string],
    Placed & FunctionOptions & { module: string; function: string; name: string }
  >
>("entrypoint", "entrypoint_function");

/** How many workers are kept (1), and the calls one answers and the memory (MiB) one uses before it is replaced. */
export const warmProcess = helper<
  "warm process",
  [
    options: Spelled<{
      pool_size: number;
      max_calls_per_worker: number;
      max_memory_mib: number;
      max_rss_mb: number;
      max_rss_mib: number;
      in_process: "serial";
    }>,
  ]
>("warm process", "warm_process");

/** A line for the shell, or a program with its arguments; ended after so many seconds (60). */
export const hook = helper<
  "hook",
  Call<
    [run: string | Texts],
    Placed & {
      run: string | Texts;
      command: string | Texts;
      line: string | Texts;
      timeout_seconds: number;
      timeout: number;
      timeout_secs: number;
    }
  >
>("hook", "hook");

/** A program that exits with 0 while the app is well, each 30 s, in 5 s; 3 failures in a row are unhealthy. */
export const healthCheck = helper<
  "health check",
  Call<
    [command: Texts],
    {
      command: Texts;
      interval_seconds: number;
      interval_secs: number;
      interval: number;
      timeout_seconds: number;
      timeout_secs: number;
      timeout: number;
      retries: number;
      start_period_seconds: number;
      start_period_secs: number;
      start_period: number;
    }
  >
>("health check", "health_check");

/** Whether a command that ended is started again. */
export const restart = helper<"restart", Call<[policy: RestartPolicy], { policy: RestartPolicy }>>("restart", "restart");
