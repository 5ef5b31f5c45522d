import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import ts from "typescript";

import { InvalidArgument, RemoteError, type Decorated } from "../src/index.js";

const APP = `import * as mvm from "@mvm/sdk";
import { Size } from "./size.js";

interface Box { sides: number[] }

export const volume = mvm.app({ image: "debian:node", primary: true })(async (box: Box, scale = 1): Promise<{ volume: number; size: Size }> => {
  const volume = box.sides.reduce((product, side) => product * side, scale);
  return { volume, size: volume > 10 ? Size.Large : Size.Small };
});

export const fails = mvm.app({ image: "debian:node" })((reason: string): void => {
  throw new RangeError(reason);
});
`;
const SIZE = 'export enum Size { Small = "small", Large = "large" }\n';

interface App {
  readonly volume: Decorated<(box: { sides: number[] }, scale?: number) => Promise<{ volume: number; size: string }>>;
  readonly fails: Decorated<(reason: string) => void>;
}

/** A project whose TypeScript is compiled for here by tsc, and for the guest by mvm. */
describe("a function in TypeScript", { timeout: 300_000 }, () => {
  let directory: string;
  let app: App;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mvm-remote-"));
    const sdk = join(directory, "node_modules", "@mvm", "sdk");
    await mkdir(sdk, { recursive: true });
    await symlink(fileURLToPath(new URL("../src", import.meta.url)), join(sdk, "src"));
    await writeFile(join(sdk, "package.json"), '{"name": "@mvm/sdk", "type": "module", "exports": "./src/index.js"}');
    for (const [name, text] of [["app", APP], ["size", SIZE]] as const) {
      await mkdir(join(directory, "dist"), { recursive: true });
      await mkdir(join(directory, "src"), { recursive: true });
      await writeFile(join(directory, "src", `${name}.ts`), text);
      const options = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022, sourceMap: true };
      const made = ts.transpileModule(text, { compilerOptions: options, fileName: `../src/${name}.ts` });
      await writeFile(join(directory, "dist", `${name}.js`), made.outputText);
      const map = JSON.parse(made.sourceMapText ?? "") as { sources: string[] };
      await writeFile(join(directory, "dist", `${name}.js.map`), JSON.stringify({ ...map, sources: [`../src/${name}.ts`] }));
    }
    await writeFile(join(directory, "package.json"), '{"type": "module"}');
    app = (await import(pathToFileURL(join(directory, "dist", "app.js")).href)) as App;
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it("gives the same here and in its microVM", async () => {
    assert.deepEqual(await app.volume.local({ sides: [2, 3, 4] }), { volume: 24, size: "large" });
    assert.deepEqual(await app.volume.remote({ sides: [2, 3, 4] }), { volume: 24, size: "large" });
    assert.deepEqual(await app.volume.remote({ sides: [2] }, 3), { volume: 6, size: "small" });
  });

  it("is called with what its types allow", async () => {
    await assert.rejects(app.volume.remote({ sides: ["two"] } as never), (error) => error instanceof InvalidArgument && error.message.includes("/box/sides/0"));
  });

  it("raises here what it raised there, at its line of TypeScript", async () => {
    const caught: unknown = await app.fails.remote("on purpose").catch((thrown: unknown) => thrown);
    assert.ok(caught instanceof RemoteError);
    assert.equal(caught.type, "RangeError");
    const line = APP.slice(0, APP.indexOf("throw new")).split("\n").length;
    assert.ok(caught.remoteTraceback.includes(`/app/app.ts:${line}:`), caught.remoteTraceback);
  });
});
