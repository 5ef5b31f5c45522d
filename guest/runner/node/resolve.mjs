// How modules of a workload are found in a guest: TypeScript as the JavaScript it became when the
// image was built, and `@mvm/sdk` as helpers that declare nothing.

const SDK = new URL("./sdk.mjs", import.meta.url).href;
const SPECIFIERS = new Map([
  [".ts", ".js"],
  [".mts", ".mjs"],
]);

export async function resolve(specifier, context, next) {
  if (specifier === "@mvm/sdk") return { url: SDK, shortCircuit: true };
  try {
    return await next(specifier, context);
  } catch (error) {
    for (const candidate of candidates(specifier)) {
      try {
        return await next(candidate, context);
      } catch {
        // The next one may be there.
      }
    }
    throw error;
  }
}

function candidates(specifier) {
  if (!/^(\.|\/|file:)/.test(specifier)) return [];
  for (const [written, made] of SPECIFIERS) {
    if (specifier.endsWith(written)) return [specifier.slice(0, -written.length) + made];
  }
  return [`${specifier}.js`, `${specifier}.mjs`, `${specifier}/index.js`];
}
