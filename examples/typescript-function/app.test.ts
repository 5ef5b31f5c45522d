/** The function called here: decorated, it stays the function it is. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { bill } from "./app.ts";

test("a bill has a line for each item, and a discount", () => {
  const items = [{ name: "pen", cents: 120, count: 2 }, { name: "pad", cents: 350 }];
  assert.deepEqual(bill(items, 10), { lines: ["2 x pen: 240", "1 x pad: 350"], cents: 531 });
});
