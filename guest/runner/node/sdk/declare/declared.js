/** @internal a helper, which does nothing but say what it was given */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- it is what the helper takes
export function helper(kind, name) {
    return (...given) => Object.freeze({ kind, helper: name, arguments: frozen(given) });
}
/** @internal a copy that cannot be changed, of plain objects and arrays */
export function frozen(value) {
    if (Array.isArray(value))
        return Object.freeze(value.map(frozen));
    if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
        return value;
    return Object.freeze(Object.fromEntries(Object.entries(value).map(([name, item]) => [name, frozen(item)])));
}
