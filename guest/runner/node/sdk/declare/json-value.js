/** Most bytes of the arguments of a call, and of its result, as JSON. */
export const MAX_BYTES = 8 * 1024 * 1024;
/** Most levels of a value. What is in a circle has more. */
export const MAX_DEPTH = 100;
const PLAIN = "use texts, numbers, booleans, null, arrays and plain objects of these";
/** A value that JSON has no form for: where it is, and the way out. */
export class NotJson extends Error {
    path;
    hint;
    constructor(path, what, hint) {
        super(`\`${path}\` ${what}`);
        this.name = "NotJson";
        this.path = path;
        this.hint = hint;
    }
}
/**
 * The value as JSON holds it: nothing is turned into something else in silence, as `JSON.stringify` does.
 * A property that is `undefined` is left out.
 *
 * @throws NotJson
 */
export function toJson(value, path, depth = 0) {
    if (depth > MAX_DEPTH) {
        throw new NotJson(shortened(path), `is deeper than ${MAX_DEPTH} levels, or in a circle`, "use a flatter value");
    }
    switch (typeof value) {
        case "boolean":
            return value;
        case "string":
            return text(value, path);
        case "number":
            if (Number.isFinite(value))
                return value;
            throw new NotJson(path, `is ${value}, which is no number of JSON`, "use null instead, or a text");
        case "bigint":
            throw new NotJson(path, "is a bigint, which JSON has no form for", "use a text, for example `String(…)`");
        case "object":
            return value === null ? null : composed(value, path, depth);
        default:
            throw new NotJson(path, `is ${nounOf(typeof value)}, which JSON has no form for`, PLAIN);
    }
}
function composed(value, path, depth) {
    if (Array.isArray(value)) {
        // Not `map`, which passes over holes.
        return Array.from(value, (item, at) => toJson(item, `${path}[${at}]`, depth + 1));
    }
    const prototype = Object.getPrototypeOf(value);
    // A plain object of another realm, such as one of `vm`, has another Object.
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
        throw foreign(value, path);
    if (Object.prototype.toString.call(value) !== "[object Object]")
        throw foreign(value, path);
    const made = {};
    for (const [name, item] of Object.entries(value)) {
        if (item === undefined)
            continue;
        text(name, `${path} (a key)`);
        // Not an assignment: `__proto__` is a name like any other.
        Object.defineProperty(made, name, {
            value: toJson(item, step(path, name), depth + 1),
            enumerable: true,
            configurable: true,
            writable: true,
        });
    }
    return made;
}
function foreign(value, path) {
    const kind = value.constructor?.name ?? "object";
    const hint = value instanceof Date
        ? "use a text, for example `.toISOString()`"
        : value instanceof Map
            ? "use a plain object, for example `Object.fromEntries(…)`"
            : value instanceof Set
                ? "use an array, for example `[...…]`"
                : value instanceof Promise
                    ? "await it first"
                    : ArrayBuffer.isView(value) || value instanceof ArrayBuffer
                        ? "use a text, for example in base64"
                        : "use a plain object, for example `{...…}`";
    return new NotJson(path, `is ${nounOf(kind)}, which JSON has no form for`, hint);
}
/** Text with half a character, a surrogate alone, is no Unicode, and not every reader of JSON takes it. */
function text(value, path) {
    if (/\p{Surrogate}/u.test(value)) {
        throw new NotJson(path, "is a text with half a character, a surrogate", "use text that is Unicode");
    }
    return value;
}
/** The path of a property. */
export function step(path, name) {
    return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? `${path}.${name}` : `${path}[${shortened(JSON.stringify(name))}]`;
}
function nounOf(kind) {
    return kind === "undefined" ? kind : `${/^[aeiou]/i.test(kind) ? "an" : "a"} ${kind}`;
}
function shortened(path) {
    return path.length <= 200 ? path : `${path.slice(0, 100)}…${path.slice(-50)}`;
}
