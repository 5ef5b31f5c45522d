/** A function that runs here as any other, and in a microVM of its own. */
import { mvm } from "@mvm/sdk";

mvm.workload({ id: "typescript-function" });

export interface Item {
  name: string;
  cents: number;
  count?: number;
}

export interface Bill {
  lines: string[];
  cents: number;
}

/** What a list of items comes to, with a discount in percent. */
export const bill = mvm.app({
  name: "till",
  image: mvm.nodeImage(),
  source: mvm.localPath(".", { include: ["app.ts", "package.json"] }),
})((items: Item[], discount = 0): Bill => {
  const lines = items.map(({ name, cents, count = 1 }) => `${count} x ${name}: ${cents * count}`);
  const sum = items.reduce((sum, { cents, count = 1 }) => sum + cents * count, 0);
  return { lines, cents: Math.round((sum * (100 - discount)) / 100) };
});
