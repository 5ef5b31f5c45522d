/**
 * The symbol of `await using`. The first releases of Node 20 lack it; there, `await using` does not work
 * either, and the method can be called by this symbol.
 */
export const asyncDispose: typeof Symbol.asyncDispose =
  (Symbol as { asyncDispose?: typeof Symbol.asyncDispose }).asyncDispose ??
  (Symbol.for("Symbol.asyncDispose") as typeof Symbol.asyncDispose);
