/** The part of JSON Schema (draft 2020-12) that a workload may hold, checked. */
import { step } from "./node/sdk/declare/json-value.js";

const kinds = {
  null: ["null", (value) => value === null],
  boolean: ["a boolean", (value) => typeof value === "boolean"],
  integer: ["an integer", (value) => Number.isInteger(value)],
  number: ["a number", (value) => typeof value === "number"],
  string: ["a text", (value) => typeof value === "string"],
  array: ["a list", (value) => Array.isArray(value)],
  object: ["an object", isObject],
};

/** Where a JSON value breaks a schema, and how; undefined where it does not. */
export function flaw(value, schema, path) {
  if (!isObject(schema)) return undefined;
  const wanted = typeof schema.type === "string" ? [schema.type] : (schema.type ?? []);
  if (wanted.length > 0 && !wanted.some((kind) => kinds[kind][1](value))) {
    return `\`${path}\` is ${nounOf(value)}, not ${wanted.map((kind) => kinds[kind][0]).join(" or ")}`;
  }
  if (Object.hasOwn(schema, "const") && !equal(value, schema.const)) return `\`${path}\` is not ${short(schema.const)}`;
  if (schema.enum !== undefined && !schema.enum.some((one) => equal(value, one))) {
    return `\`${path}\` is none of ${schema.enum.slice(0, 20).map(short).join(", ")}`;
  }
  if (schema.anyOf !== undefined) {
    const found = schema.anyOf.map((one) => flaw(value, one, path));
    if (!found.includes(undefined)) {
      return found.length === 1 ? found[0] : `\`${path}\` is of none of its ${found.length} forms: ${found[0]}`;
    }
  }
  if (Array.isArray(value)) return ofItems(value, schema, path);
  return isObject(value) ? ofFields(value, schema, path) : undefined;
}

function ofItems(value, schema, path) {
  const { minItems = 0, maxItems = Infinity, prefixItems = [], items = true } = schema;
  if (value.length < minItems) return `\`${path}\` has ${value.length} items, and ${minItems} are the least`;
  if (value.length > maxItems) return `\`${path}\` has ${value.length} items, and ${maxItems} are the most`;
  return first(value.entries(), ([at, item]) => flaw(item, at < prefixItems.length ? prefixItems[at] : items, `${path}[${at}]`));
}

function ofFields(value, schema, path) {
  const { required = [], properties = {}, additionalProperties = true } = schema;
  const missing = required.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return `\`${step(path, missing)}\` is missing`;
  return first(Object.entries(value), ([name, item]) => {
    const known = Object.hasOwn(properties, name);
    if (!known && additionalProperties === false) return `\`${step(path, name)}\` is not known`;
    return flaw(item, known ? properties[name] : additionalProperties, step(path, name));
  });
}

function first(items, find) {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function equal(one, other) {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, at) => equal(item, other[at]));
  }
  if (isObject(one) && isObject(other)) {
    const names = Object.keys(one);
    return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && equal(one[name], other[name]));
  }
  return one === other;
}

function nounOf(value) {
  return Object.values(kinds).find(([, isKind]) => isKind(value))[0];
}

function short(value) {
  return JSON.stringify(value).slice(0, 100);
}
