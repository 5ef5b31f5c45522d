/**
 * mvm in a guest: the declarations, which do nothing. What makes and reaches sandboxes is there by name only, so
 * that a module which uses both can be loaded; using it throws.
 */
export * from "./declare/index.js";
export * as mvm from "./declare/index.js";
export * as default from "./declare/index.js";

function refuse(name) {
  throw new Error(`\`${name}\` is not there in a guest, which has the declarations only`);
}

/** A class without instances, whose every property refuses. */
function absent(name) {
  const stub = class {
    constructor() {
      refuse(name);
    }
  };
  return new Proxy(stub, {
    apply: () => refuse(name),
    get: (target, property) =>
      typeof property === "symbol" || property === "prototype" ? Reflect.get(target, property) : property === "name" ? name : refuse(`${name}.${property}`),
  });
}

export const Sandbox = absent("Sandbox");
export const Snapshot = absent("Snapshot");
export const Commands = absent("Commands");
export const Process = absent("Process");
export const Files = absent("Files");
export const Server = absent("Server");
export const CommandResult = absent("CommandResult");
export const host = () => refuse("host");
export const plan = () => refuse("plan");
export const verifyReceipt = () => refuse("verifyReceipt");

// Nothing throws them here; a handler may name them.
export class MvmError extends Error {}
export class CommandFailed extends MvmError {}
export class RemoteError extends CommandFailed {}
export class Timeout extends MvmError {}
export class PolicyDenied extends MvmError {}
export class AdmissionFailed extends MvmError {}
export class BuildFailed extends MvmError {}
export class SandboxUnavailable extends MvmError {}
export class BackendUnsupported extends MvmError {}
export class SnapshotMismatch extends MvmError {}
export class CleanupFailed extends MvmError {}
export class InvalidArgument extends MvmError {}
export class NotFound extends MvmError {}
export class TransportError extends MvmError {}
