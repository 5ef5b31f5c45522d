/** The function to call: what the workload says of it, and the function itself. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { Refused } from "./failure.mjs";
import { ownCrypto } from "./kernel-randomness.mjs";

/** Imports the module of an entrypoint and finds its function. Throws `Refused`, and what the module throws. */
export async function load(file, app, name) {
  const declared = declaration(file, app, name);
  if (declared.warm !== undefined) ownCrypto();
  const path = resolve(declared.module);
  const url = pathToFileURL(path).href;
  let module;
  try {
    module = await import(url);
  } catch (error) {
    if (error?.code === "ERR_MODULE_NOT_FOUND" && String(error.message).includes(`'${path}'`)) {
      throw new Refused("ModuleNotFoundError", `the app has no module \`${declared.module}\``);
    }
    throw error;
  }
  const found = exported(module, declared.function);
  if (typeof found !== "function") {
    const what = found === undefined ? "is not exported by" : "is no function of";
    throw new Refused("FunctionNotFound", `\`${declared.function}\` ${what} the module \`${declared.module}\``);
  }
  return {
    function: found,
    parameters: declared.parameters ?? [],
    argumentsSchema: declared.arguments_schema ?? true,
    resultSchema: declared.result_schema ?? true,
  };
}

/** A CommonJS module has its exports in the default one. */
function exported(module, name) {
  if (Object.hasOwn(module, name)) return module[name];
  const others = module.default;
  return typeof others === "object" && others !== null && Object.hasOwn(others, name) ? others[name] : undefined;
}

function declaration(file, app, name) {
  let apps;
  let declared;
  try {
    apps = JSON.parse(readFileSync(file, "utf8")).apps.filter((one) => one.name === app);
    declared = apps[0]?.entrypoints.find((one) => one.name === name);
    if (declared?.kind === "function" && (typeof declared.module !== "string" || typeof declared.function !== "string")) {
      throw new TypeError("a function has a module and a name");
    }
  } catch (error) {
    throw new Refused("WorkloadUnreadable", `\`${file}\` is no workload: ${error.message}`);
  }
  if (apps.length === 0) throw new Refused("EntrypointNotFound", `the workload has no app \`${app}\``);
  if (declared === undefined) throw new Refused("EntrypointNotFound", `the app \`${app}\` has no entrypoint \`${name}\``);
  if (declared.kind !== "function" || declared.language !== "node") {
    const what = declared.kind === "function" ? `a function of ${declared.language}` : `a ${declared.kind}`;
    throw new Refused("EntrypointNotFound", `the entrypoint \`${name}\` is ${what}, not a function of node`);
  }
  return declared;
}
