import { setTimeout as sleep } from "node:timers/promises";

import { abortReason, type CallOptions } from "./call-options.js";
import { NotFound } from "./errors.js";
import type { FileEntry } from "./file-entry.js";
import type { Files } from "./files.js";
import { below } from "./transfer.js";

/**
 * How to watch. The sandbox is asked again and again: a change is told within about one interval, and
 * what was made and removed within one is not seen.
 */
export interface WatchOptions extends CallOptions {
  /** Between two looks, in milliseconds; 500 by default. */
  readonly intervalMs?: number | undefined;
  /** Whether directories below the watched one are looked at too. */
  readonly recursive?: boolean | undefined;
}

/** Something that has changed. */
export interface FileChange {
  readonly kind: "created" | "changed" | "removed";
  readonly path: string;
  /** As it is now; of one that was removed, as it was. */
  readonly entry: FileEntry;
}

/** Looks once, and tells of what changes from then on until the signal is aborted, which rejects. */
export async function watch(
  files: Files,
  path: string,
  options: WatchOptions,
): Promise<AsyncGenerator<FileChange, void, undefined>> {
  const { recursive = false, intervalMs = 500, ...call } = options;
  const first = await look(files, path, recursive, call);
  return changesAfter(first, intervalMs, call.signal, () => look(files, path, recursive, call));
}

async function* changesAfter(
  first: Map<string, FileEntry>,
  intervalMs: number,
  signal: AbortSignal | undefined,
  again: () => Promise<Map<string, FileEntry>>,
): AsyncGenerator<FileChange, void, undefined> {
  let before = first;
  for (;;) {
    await sleep(intervalMs, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      throw signal?.aborted === true ? abortReason(signal) : error;
    });
    const now = await again();
    yield* changesBetween(before, now);
    before = now;
  }
}

/** What differs between two looks, by path. */
export function changesBetween(
  before: ReadonlyMap<string, FileEntry>,
  now: ReadonlyMap<string, FileEntry>,
): FileChange[] {
  const changes: FileChange[] = [];
  for (const [path, entry] of before) {
    if (!now.has(path)) changes.push({ kind: "removed", path, entry });
  }
  for (const [path, entry] of now) {
    const old = before.get(path);
    if (old === undefined) changes.push({ kind: "created", path, entry });
    else if (differs(old, entry)) changes.push({ kind: "changed", path, entry });
  }
  return changes.sort((one, other) => (one.path < other.path ? -1 : one.path > other.path ? 1 : 0));
}

function differs(old: FileEntry, entry: FileEntry): boolean {
  if (old.kind !== entry.kind || old.mode !== entry.mode || old.target !== entry.target) return true;
  // What is in a directory is told by its own entries.
  return entry.kind !== "directory" && (old.size !== entry.size || old.modifiedAtMs !== entry.modifiedAtMs);
}

async function look(
  files: Files,
  path: string,
  recursive: boolean,
  call: CallOptions,
): Promise<Map<string, FileEntry>> {
  const seen = new Map<string, FileEntry>();
  const root = await ifThere(() => files.stat(path, call));
  if (root === undefined) {
    // The sandbox may be what is gone.
    await files.stat("/", call);
    return seen;
  }
  if (root.kind === "directory") await lookInto(files, path, recursive, call, seen);
  else seen.set(path, root);
  return seen;
}

async function lookInto(
  files: Files,
  directory: string,
  recursive: boolean,
  call: CallOptions,
  seen: Map<string, FileEntry>,
): Promise<void> {
  for (const entry of (await ifThere(() => files.list(directory, call))) ?? []) {
    const path = below(directory, entry.name);
    seen.set(path, entry);
    if (recursive && entry.kind === "directory") await lookInto(files, path, recursive, call, seen);
  }
}

/** What is removed between two requests is not an error of watching. */
async function ifThere<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}
