/**
 * `node:crypto` in a worker that others go on from too. Its generator (OpenSSL's) is in memory that all of them
 * have, and cannot be seeded from here: they would all draw the same. So what gives random numbers draws on the
 * kernel, which is seeded anew in each; and what makes keys with that generator is refused.
 */
import { createRequire, syncBuiltinESMExports } from "node:module";

import { fill } from "./randomness.mjs";

const REFUSED = [
  "createDiffieHellman",
  "createDiffieHellmanGroup",
  "createECDH",
  "generateKey",
  "generateKeyPair",
  "generateKeyPairSync",
  "generateKeySync",
  "generatePrime",
  "generatePrimeSync",
  "getDiffieHellman",
];

/** Puts functions of the same names in their place. Arguments are checked by those that were there. */
export function ownCrypto() {
  const crypto = createRequire(import.meta.url)("node:crypto");
  const { randomBytes, randomFill, randomFillSync, randomInt, randomUUID } = crypto;

  const bytes = (size, callback) => {
    if (callback === undefined) return filled(randomBytes(size));
    return randomBytes(size, (error, buffer) => callback(error, buffer && filled(buffer)));
  };
  const values = {
    randomBytes: bytes,
    pseudoRandomBytes: bytes,
    prng: bytes,
    rng: bytes,
    randomFillSync(buffer, offset, size) {
      randomFillSync(buffer, offset, size);
      fillPart(buffer, offset, size);
      return buffer;
    },
    randomFill(buffer, ...rest) {
      const callback = rest.pop();
      const [offset, size] = rest;
      randomFill(buffer, ...rest, (error, given) => {
        if (error === null) fillPart(buffer, offset, size);
        callback(error, given);
      });
    },
    randomInt(...given) {
      const callback = typeof given.at(-1) === "function" ? given.pop() : undefined;
      randomInt(...given);
      const [low, high] = given.length === 1 ? [0, given[0]] : given;
      const value = between(low, high);
      if (callback === undefined) return value;
      process.nextTick(callback, undefined, value);
      return undefined;
    },
    randomUUID(options) {
      randomUUID(options);
      return uuid();
    },
  };
  for (const [name, value] of Object.entries(values)) put(crypto, name, value);
  for (const name of REFUSED) put(crypto, name, refusing(name));

  const web = Object.getPrototypeOf(crypto.webcrypto);
  const { getRandomValues } = crypto.webcrypto;
  const given = (array) => {
    getRandomValues.call(crypto.webcrypto, array);
    return filled(array);
  };
  // `crypto.getRandomValues` asks this one.
  put(web, "getRandomValues", given);
  put(web, "randomUUID", uuid);
  put(Object.getPrototypeOf(crypto.webcrypto.subtle), "generateKey", refusing("subtle.generateKey"));
  syncBuiltinESMExports();
}

function put(object, name, value) {
  if (!(name in object)) return;
  Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
}

function refusing(name) {
  return () => {
    throw new Error(`\`${name}\` has no randomness of its own in a warm worker; declare the function without \`warm\``);
  };
}

/** The whole of a buffer or typed array. */
function filled(view) {
  fill(ArrayBuffer.isView(view) ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array(view));
  return view;
}

/** A part of it, in its own elements. */
function fillPart(buffer, offset = 0, size = undefined) {
  const width = buffer.BYTES_PER_ELEMENT ?? 1;
  const [start, length] = ArrayBuffer.isView(buffer) ? [buffer.byteOffset, buffer.byteLength] : [0, buffer.byteLength];
  const from = offset * width;
  const count = size === undefined ? length - from : size * width;
  filled(new Uint8Array(ArrayBuffer.isView(buffer) ? buffer.buffer : buffer, start + from, count));
}

/** A whole number from `low` on and below `high`, at most 2**48 apart, each as likely. */
function between(low, high) {
  const range = high - low;
  const limit = 2 ** 48 - (2 ** 48 % range);
  for (;;) {
    const drawn = filled(Buffer.alloc(6)).readUIntBE(0, 6);
    if (drawn < limit) return low + (drawn % range);
  }
}

/** A version 4 UUID (RFC 9562). */
function uuid() {
  const drawn = filled(Buffer.alloc(16));
  drawn[6] = (drawn[6] & 0x0f) | 0x40;
  drawn[8] = (drawn[8] & 0x3f) | 0x80;
  return drawn.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
