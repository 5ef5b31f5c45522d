import type { CallOptions } from "./call-options.js";
import { serverOf, type ServerChoice } from "./server.js";

/** What is found of a receipt. */
export type ReceiptCheck =
  | {
      readonly valid: true;
      /** The run that it is of, as in the result of the command. */
      readonly runId: string;
      /** The key that signed it. */
      readonly key: string;
      readonly signer: string | undefined;
    }
  | {
      readonly valid: false;
      /** What is wrong with it. */
      readonly flaw: string;
    };

/** Checks the receipt of a run, as in the result of a command that ran with `receipt: true`. */
export async function verifyReceipt(
  receipt: Uint8Array,
  options: CallOptions & ServerChoice = {},
): Promise<ReceiptCheck> {
  const { server, ...call } = options;
  const answer = await serverOf({ server }).ask("POST", "/v1/receipts/verify", { ...call, body: receipt });
  if (!answer.flag("valid")) return { valid: false, flaw: answer.text("flaw") };
  return {
    valid: true,
    runId: answer.text("run_id"),
    key: answer.text("key"),
    signer: answer.textOrNone("signer"),
  };
}
