/** @internal the function itself, which can be called in its microVM from now on */
export function attach(function_, said) {
    if (typeof function_ !== "function" || isClass(function_)) {
        throw new TypeError(`mvm.app decorates a function, not ${typeof function_ === "function" ? "a class" : typeof function_}`);
    }
    const remote = (options) => async (...given) => {
        // What speaks to a server is loaded here and not before: declaring needs none.
        const { invoke } = await import("../invocation.js");
        return (await invoke(function_, said, given, options));
    };
    const attached = { local: function_, remote: remote({}), within: (options) => ({ remote: remote(options) }) };
    for (const [name, value] of Object.entries(attached)) {
        Object.defineProperty(function_, name, { value, configurable: true });
    }
    return function_;
}
function isClass(function_) {
    return Object.getOwnPropertyDescriptor(function_, "prototype")?.writable === false;
}
