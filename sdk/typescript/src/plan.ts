import type { CallOptions } from "./call-options.js";
import { specJson, type SandboxSpec } from "./sandbox-spec.js";
import { serverOf, type ServerChoice } from "./server.js";

/** What would be admitted. */
export interface Plan {
  readonly digest: string;
  /** The plan itself, as it would be signed. */
  readonly plan: unknown;
}

/**
 * What would be admitted for a sandbox; nothing starts.
 *
 * @throws AdmissionFailed or PolicyDenied where nothing would be
 */
export async function plan(options: SandboxSpec & CallOptions & ServerChoice = {}): Promise<Plan> {
  const { signal, requestTimeoutMs } = options;
  const json = specJson(options);
  const answer = await serverOf(options).ask("POST", "/v1/plans/dry-run", { json, signal, requestTimeoutMs });
  return { digest: answer.text("digest"), plan: answer.raw("plan") };
}
