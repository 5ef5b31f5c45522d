/**
 * Answers calls of one function of an app, in the guest.
 *
 *     node /usr/lib/mvm/runner.mjs APP ENTRYPOINT [WORKLOAD_FILE]
 *
 * The working directory is the app's. Newline-delimited JSON goes over the standard streams it was started with:
 * `{"event":"ready"}` first, or `{"event":"failed","error":…}` and exit 1; then for each `{"arguments":{…}}` one
 * `{"event":"returned","value":…}` or `{"event":"raised","error":…}`; the end of the input is exit 0. The
 * function finds an empty standard input, and what it prints goes to standard error.
 *
 * Node.js 18.19 or newer, and nothing but its own library.
 */
import { register } from "node:module";

import { Calls } from "./call.mjs";
import { load } from "./entrypoint.mjs";
import { describe } from "./failure.mjs";
import { takeOver } from "./streams.mjs";

const WORKLOAD_FILE = "/etc/mvm/workload.json";

// Before anything of the app is loaded.
const streams = takeOver();
if (streams !== undefined) {
  const [, , app = "", entrypoint = "", file = WORKLOAD_FILE] = process.argv;
  process.argv.splice(1, Infinity, entrypoint);
  process.setSourceMapsEnabled(true);
  register("./resolve.mjs", import.meta.url);
  const calls = new Calls(streams);
  try {
    const found = await calls.loading(() => load(file, app, entrypoint));
    streams.reply({ event: "ready" });
    await calls.answer(found);
    calls.leave(0);
  } catch (error) {
    streams.reply({ event: "failed", error: describe(error) });
    calls.leave(1);
  }
}
