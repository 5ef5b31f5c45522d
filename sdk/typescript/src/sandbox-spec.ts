/** What a sandbox is to be. Everything may be left out; `null` and `undefined` mean the default. */
export interface SandboxSpec {
  /** An image as the command line takes it, such as `debian:python`, the default. */
  readonly image?: string | null | undefined;
  /** A name to find it by, beside its identifier. */
  readonly name?: string | null | undefined;
  readonly vcpus?: number | null | undefined;
  readonly memoryMib?: number | null | undefined;
  readonly diskMib?: number | null | undefined;
  /** For all its commands. */
  readonly environment?: Readonly<Record<string, string>> | null | undefined;
  /** For all its commands; absolute. */
  readonly workingDirectory?: string | null | undefined;
  /** For all its commands. */
  readonly user?: string | null | undefined;
  /** After so many seconds it is destroyed, whoever holds it. None means no such end. */
  readonly ttlSeconds?: number | null | undefined;
  /** The policy profile that it is admitted under. */
  readonly profile?: string | null | undefined;
  /** Not there yet: refused as `BackendUnsupported` where given. */
  readonly network?: unknown;
  /** Not there yet: refused as `BackendUnsupported` where given. */
  readonly secrets?: unknown;
  /** Not there yet: refused as `BackendUnsupported` where given. */
  readonly mounts?: unknown;
  /** Not there yet: refused as `BackendUnsupported` where given. */
  readonly ports?: unknown;
}

/** The specification as the server takes it. Whether it can be had is the server's to say. */
export function specJson(spec: SandboxSpec): Record<string, unknown> {
  const resources = given({ vcpus: spec.vcpus, memory_mib: spec.memoryMib, disk_mib: spec.diskMib });
  return given({
    image: spec.image,
    name: spec.name,
    resources: Object.keys(resources).length === 0 ? undefined : resources,
    environment: spec.environment,
    working_directory: spec.workingDirectory,
    user: spec.user,
    ttl_seconds: spec.ttlSeconds,
    profile: spec.profile,
    network: spec.network,
    secrets: spec.secrets,
    mounts: spec.mounts,
    ports: spec.ports,
  });
}

/** Only the fields that have a value. */
export function given(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
}
