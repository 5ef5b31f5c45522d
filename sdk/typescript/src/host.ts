import type { CallOptions } from "./call-options.js";
import { serverOf, type ServerChoice } from "./server.js";

/** What runs the sandboxes. */
export interface Host {
  /** Of the server. */
  readonly version: string;
  readonly accelerator: string;
  /** Whether hardware keeps sandboxes apart from the host, or an emulator. */
  readonly isolation: string;
  readonly defaultImage: string;
}

/** What the server's host is. */
export async function host(options: CallOptions & ServerChoice = {}): Promise<Host> {
  const { server, ...call } = options;
  const answer = await serverOf({ server }).ask("GET", "/v1/host", call);
  return {
    version: answer.text("version"),
    accelerator: answer.text("accelerator"),
    isolation: answer.text("isolation"),
    defaultImage: answer.text("default_image"),
  };
}
