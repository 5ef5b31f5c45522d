import { constants } from "node:fs";
import { lstat, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";

import { abortReason, type CallOptions } from "./call-options.js";
import { InvalidArgument, NotFound } from "./errors.js";
import type { Files } from "./files.js";
import { below, Tally, type Transferred } from "./transfer.js";

const PIECE_BYTES = 256 * 1024;

/** Copies a local file or directory into a sandbox. */
export async function upload(files: Files, local: string, remote: string, options: CallOptions): Promise<Transferred> {
  const tally = new Tally();
  const status = await stat(local).catch((cause: unknown) => {
    throw new NotFound(`there is no local file \`${local}\``, { cause });
  });
  if (status.isDirectory()) {
    await directory(files, local, remote, options, tally);
  } else if (status.isFile()) {
    await file(files, local, remote, 0, options, tally);
  } else {
    throw new InvalidArgument(`\`${local}\` is neither a file nor a directory`);
  }
  return tally.transferred();
}

async function directory(files: Files, local: string, remote: string, options: CallOptions, tally: Tally): Promise<void> {
  await files.mkdir(remote, { ...options, parents: true });
  const names = (await readdir(local)).sort();
  for (const name of names) {
    if (options.signal?.aborted === true) throw abortReason(options.signal);
    const from = join(local, name);
    const status = await lstat(from);
    if (status.isDirectory()) await directory(files, from, below(remote, name), options, tally);
    else if (status.isFile()) await file(files, from, below(remote, name), constants.O_NOFOLLOW, options, tally);
    else tally.skipped.push(from);
  }
}

/** @param flags beside that of reading: below a directory, a link that has taken a file's place is not followed */
async function file(
  files: Files,
  local: string,
  remote: string,
  flags: number,
  options: CallOptions,
  tally: Tally,
): Promise<void> {
  const handle = await open(local, constants.O_RDONLY | flags);
  try {
    const mode = (await handle.stat()).mode & 0o777;
    const content = handle.createReadStream({ autoClose: false, highWaterMark: PIECE_BYTES }) as AsyncIterable<Uint8Array>;
    tally.bytes += await files.write(remote, content, { ...options, mode, makeParents: true });
    tally.files += 1;
  } finally {
    await handle.close();
  }
}
