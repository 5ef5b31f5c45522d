import { frozen, helper } from "./declared.js";
import { attach } from "./functions.js";
/** Names the workload of the file, and declares volumes of it. */
export const workload = helper("workload", "workload");
/**
 * Declares an app: around a function, or by itself with the entrypoints it is given. Everything has a
 * default: the app is named after the function, its source is the directory of the file.
 */
export function app(options = {}) {
    return declaration(options, app);
}
/** As {@link app}; a second one with the same `name` adds its function to the app that the first declared. */
export function func(options = {}) {
    return declaration(options, func);
}
function declaration(options, called) {
    const module = callerOf(called);
    const decorate = (function_) => attach(function_, { app: options.name, function: options.function, module });
    return Object.freeze(Object.assign(decorate, { kind: "app", options: frozen(options) }));
}
/** The module that called a function of this one. What is loaded counts here, not what a source map says of it. */
function callerOf(called) {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back, not called
    const { prepareStackTrace, stackTraceLimit } = Error;
    try {
        Error.stackTraceLimit = 1;
        Error.prepareStackTrace = (_, sites) => sites[0]?.getFileName();
        const captured = {};
        Error.captureStackTrace(captured, called);
        return typeof captured.stack === "string" ? captured.stack : undefined;
    }
    finally {
        Error.prepareStackTrace = prepareStackTrace;
        Error.stackTraceLimit = stackTraceLimit;
    }
}
