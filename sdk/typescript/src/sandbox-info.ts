import type { Answer } from "./answer.js";

/** Where a sandbox is in its life. */
export type SandboxState =
  | "creating"
  | "running"
  | "paused"
  | "cold"
  | "restoring"
  | "stopped"
  | "failed"
  | "destroyed";

/** What a sandbox has of the host. */
export interface Resources {
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly diskMib: number;
}

/** What there is to know of a sandbox, as of one moment. Times are milliseconds since 1970. */
export interface SandboxInfo {
  readonly id: string;
  readonly name: string | undefined;
  readonly state: SandboxState;
  /** Why it is in this state, where that is not plain. */
  readonly reason: string | undefined;
  readonly image: string;
  readonly imageDigest: string | undefined;
  readonly resources: Resources;
  readonly createdAtMs: number;
  /** When its time to live ends; it may have none. */
  readonly expiresAtMs: number | undefined;
  /** Whether it ends with the program that holds it. */
  readonly ownership: "leased" | "detached";
  /** What it was started from. */
  readonly origin: "boot" | "template" | "spare" | "snapshot";
  /** Whether hardware keeps it apart from the host, or an emulator. */
  readonly isolation: string | undefined;
  readonly profile: string | undefined;
  /** Digest of the plan that was admitted. */
  readonly planDigest: string | undefined;
  /** Its record in the audit log. */
  readonly auditId: string | undefined;
}

/** What a sandbox uses on the host. */
export interface Metrics {
  readonly memoryBytes: number;
  readonly cpuMs: number;
  readonly diskBytes: number;
}

/** @internal */
export function sandboxInfo(answer: Answer): SandboxInfo {
  const resources = answer.object("resources");
  return {
    id: answer.text("id"),
    name: answer.textOrNone("name"),
    state: answer.text("state") as SandboxState,
    reason: answer.textOrNone("reason"),
    image: answer.text("image"),
    imageDigest: answer.textOrNone("image_digest"),
    resources: {
      vcpus: resources.number("vcpus"),
      memoryMib: resources.number("memory_mib"),
      diskMib: resources.number("disk_mib"),
    },
    createdAtMs: answer.number("created_at_ms"),
    expiresAtMs: answer.numberOrNone("expires_at_ms"),
    ownership: answer.text("ownership") as SandboxInfo["ownership"],
    origin: answer.text("origin") as SandboxInfo["origin"],
    isolation: answer.textOrNone("isolation"),
    profile: answer.textOrNone("profile"),
    planDigest: answer.textOrNone("plan_digest"),
    auditId: answer.textOrNone("audit_id"),
  };
}

/** @internal */
export function metricsOf(answer: Answer): Metrics {
  return {
    memoryBytes: answer.number("memory_bytes"),
    cpuMs: answer.number("cpu_ms"),
    diskBytes: answer.number("disk_bytes"),
  };
}
