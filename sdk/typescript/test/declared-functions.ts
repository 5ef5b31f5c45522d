import { app, func, nodeImage, secret } from "../src/index.js";

/** Functions that tests call; a module of its own, as the functions of an app are. */
export const add = app({ name: "math", image: nodeImage({ node: "22" }), env: { KEY: secret("k", { hosts: ["h.example"] }) } })(
  (a: number, b = 2): number => a + b,
);

export const later = func({ name: "math" })(async function later(a: unknown): Promise<unknown> {
  return Promise.resolve(a);
});

const hidden = app()((): null => null);
export { hidden as seen };
export const secretly = [app()((): null => null)];
