/** How modules are found in a guest: `@mvm/sdk` is the stub, and TypeScript is what was compiled beside it. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SDK = new URL("./node/sdk/", import.meta.url);
const STUBS = { "@mvm/sdk": "index.js", "@mvm/sdk/declare": "declare/index.js" };
/** What each ending of TypeScript is compiled to. */
const COMPILED = { ".ts": ".js", ".tsx": ".js", ".mts": ".mjs", ".cts": ".cjs" };

export async function resolve(specifier, context, next) {
  if (Object.hasOwn(STUBS, specifier)) {
    return { url: new URL(STUBS[specifier], SDK).href, format: "module", shortCircuit: true };
  }
  const compiled = compiledOf(specifier, context.parentURL);
  const found = await next(compiled?.href ?? specifier, context);
  // What was written from TypeScript is a module, whatever the app's package.json does not say.
  return found.format === "commonjs" && isWritten(found.url) ? { ...found, format: "module" } : found;
}

/** Whether TypeScript stands beside a file of JavaScript. */
function isWritten(url) {
  if (!url.startsWith("file:") || !url.endsWith(".js")) return false;
  const stem = fileURLToPath(url).slice(0, -".js".length);
  return existsSync(`${stem}.ts`) || existsSync(`${stem}.tsx`);
}

/** The file that a path to TypeScript, or one without an ending, means; none where it means itself. */
function compiledOf(specifier, parent) {
  if (!/^(\.{0,2}\/|file:)/.test(specifier)) return undefined;
  let url;
  try {
    url = new URL(specifier, parent);
  } catch {
    return undefined;
  }
  if (url.protocol !== "file:") return undefined;
  const ending = /\.[^./]+$/.exec(url.pathname)?.[0] ?? "";
  const is = (path) => existsSync(fileURLToPath(path));
  if (Object.hasOwn(COMPILED, ending)) {
    const compiled = new URL(url);
    compiled.pathname = url.pathname.slice(0, -ending.length) + COMPILED[ending];
    return is(compiled) ? compiled : undefined;
  }
  if (is(url)) return undefined;
  for (const tried of [".js", ".mjs", "/index.js"]) {
    const compiled = new URL(url);
    compiled.pathname += tried;
    if (is(compiled)) return compiled;
  }
  return undefined;
}
