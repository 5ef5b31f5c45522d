import {
  AdmissionFailed,
  BackendUnsupported,
  BuildFailed,
  CleanupFailed,
  InvalidArgument,
  NotFound,
  PolicyDenied,
  SandboxUnavailable,
  SnapshotMismatch,
  Timeout,
  TransportError,
  type ErrorDetails,
  type MvmError,
} from "./errors.js";

const byCode = {
  Timeout,
  PolicyDenied,
  AdmissionFailed,
  BuildFailed,
  SandboxUnavailable,
  BackendUnsupported,
  SnapshotMismatch,
  CleanupFailed,
  InvalidArgument,
  NotFound,
  TransportError,
} as const;

/**
 * The error that a problem document of the server (RFC 9457) describes.
 *
 * @param problem what the server sent, not trusted to have any form
 * @param status the HTTP status, for an answer that names no code that is known here
 * @internal
 */
export function errorOfProblem(problem: unknown, status?: number): MvmError {
  const fields = typeof problem === "object" && problem !== null ? (problem as Record<string, unknown>) : {};
  const code = fields["code"];
  const causes = fields["causes"];
  const details: ErrorDetails = {
    retryable: fields["retryable"] === true,
    hint: typeof fields["hint"] === "string" ? fields["hint"] : undefined,
    causes: Array.isArray(causes) ? causes.filter((cause): cause is string => typeof cause === "string") : [],
  };
  const told = fields["detail"] ?? fields["title"];
  const message = typeof told === "string" ? told : `the server answered with status ${status ?? "unknown"}`;
  if (typeof code === "string" && Object.hasOwn(byCode, code)) {
    return new byCode[code as keyof typeof byCode](message, details);
  }
  return new TransportError(
    status === undefined ? message : `${message} (status ${status})`,
    { ...details, hint: details.hint ?? "is what answers a server of mvm, and of this version?" },
  );
}
