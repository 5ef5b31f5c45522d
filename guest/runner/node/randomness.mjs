/** Random numbers that do not depend on the memory a worker goes on from: others may go on from the same. */
import { closeSync, openSync, readSync } from "node:fs";

const state = new Uint32Array(4);

/** Puts a generator that can be seeded in the place of `Math.random`, whose seed cannot be changed. */
export function own() {
  Object.defineProperty(Math, "random", { value: random, configurable: true, writable: true });
}

/** Seeds it from the kernel. Node.js's own `crypto` draws on what is in memory. */
export function renew() {
  fill(new Uint8Array(state.buffer));
}

/** Fills bytes from the kernel. */
export function fill(bytes) {
  const source = openSync("/dev/urandom", "r");
  try {
    for (let at = 0; at < bytes.length; ) at += readSync(source, bytes, at, bytes.length - at, null);
  } finally {
    closeSync(source);
  }
}

/** 53 bits of xoshiro128** (Blackman and Vigna, 2018). */
function random() {
  return (next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53;
}

function next() {
  const result = Math.imul(turned(Math.imul(state[1], 5), 7), 9) >>> 0;
  const shifted = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = turned(state[3], 11);
  return result;
}

function turned(word, bits) {
  return (word << bits) | (word >>> (32 - bits));
}
