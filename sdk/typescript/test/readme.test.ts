import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
const directory = join(root, "build", "readme");
const readme = await readFile(join(root, "README.md"), "utf8");
const snippets = [...readme.matchAll(/```ts\n([^]*?)```/g)].map((match) => match[1] ?? "");

/** The examples of the README, with the package as it is built, under the checks of a strict user. */
describe("the README", { timeout: 300_000 }, () => {
  before(async () => {
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    for (const [at, snippet] of snippets.entries()) await writeFile(join(directory, `example-${at}.ts`), snippet);
    const options = { rootDir: ".", outDir: "out", declaration: false, skipLibCheck: false };
    const config = { extends: "../../tsconfig.json", compilerOptions: options, include: ["*.ts"] };
    await writeFile(join(directory, "tsconfig.json"), JSON.stringify(config));
    await run(join(root, "node_modules", ".bin", "tsc"), ["-p", directory]).catch((error: unknown) => {
      throw new Error((error as { stdout: string }).stdout, { cause: error });
    });
  });

  const said = [/^0 42\n/, /ls: .*\n[^]*stdout one\nstdout two\n/, /^hello\n\d+\nchanged \/work\/notes.txt\n$/, /ready\n.*ready\nready\n$/, /^sha256:[^]*valid: true/];
  it("has an expectation for each example", () => {
    assert.equal(snippets.length, said.length);
  });
  for (const [at, expected] of said.entries()) {
    it(`has an example ${at} that works`, async () => {
      const { stdout } = await run(process.execPath, [join(directory, "out", `example-${at}.js`)]);
      assert.match(stdout, expected);
    });
  }
});
