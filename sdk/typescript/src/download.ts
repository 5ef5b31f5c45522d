import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, rename, rm, symlink } from "node:fs/promises";
import { dirname, join, sep } from "node:path";

import { abortReason, type CallOptions } from "./call-options.js";
import { InvalidArgument } from "./errors.js";
import type { Files } from "./files.js";
import { below, Tally, type Transferred } from "./transfer.js";

interface Link {
  readonly path: string;
  readonly target: string;
}

/**
 * Copies a file or directory of a sandbox to a local path. The sandbox is not trusted: it may say
 * anything of its files, and something else a moment later. So below the target, names are single
 * components, directories are never entered through a link, files are new ones that take a name's place,
 * and links are made last, when nothing more is written.
 */
export async function download(files: Files, remote: string, local: string, options: CallOptions): Promise<Transferred> {
  const tally = new Tally();
  const entry = await files.stat(remote, { ...options, follow: true });
  if (entry.kind === "directory") {
    await mkdir(local, { recursive: true });
    const links: Link[] = [];
    await directory(files, remote, local, 0, options, tally, links);
    for (const link of links) await makeLink(link, tally);
  } else if (entry.kind === "file") {
    await file(files, remote, local, entry.mode, options, tally);
  } else {
    throw new InvalidArgument(`\`${remote}\` is neither a file nor a directory`);
  }
  return tally.transferred();
}

async function directory(
  files: Files,
  remote: string,
  local: string,
  depth: number,
  options: CallOptions,
  tally: Tally,
  links: Link[],
): Promise<void> {
  for (const entry of await files.list(remote, options)) {
    if (options.signal?.aborted === true) throw abortReason(options.signal);
    const from = below(remote, entry.name);
    const to = join(local, entry.name);
    if (!isName(entry.name)) {
      tally.skipped.push(from);
    } else if (entry.kind === "directory") {
      await enter(to);
      await directory(files, from, to, depth + 1, options, tally, links);
    } else if (entry.kind === "file") {
      await file(files, from, to, entry.mode, options, tally);
    } else if (entry.kind === "symlink" && entry.target !== undefined && staysInside(entry.target, depth)) {
      links.push({ path: to, target: entry.target });
    } else {
      tally.skipped.push(from);
    }
  }
}

/** Whether a name is one component of a path, on this system. */
export function isName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("/") && !name.includes("\0") && !name.includes(sep);
}

/**
 * Whether a link at a depth below the target leads to something in it. `..` is taken only at the
 * beginning: after a name it would lead to wherever that name, which may be a link too, leads to.
 */
export function staysInside(target: string, depth: number): boolean {
  if (target === "" || target.startsWith("/") || target.includes("\0") || (sep !== "/" && target.includes(sep))) return false;
  const components = target.split("/").filter((component) => component !== "" && component !== ".");
  const named = components.findIndex((component) => component !== "..");
  const up = named === -1 ? components.length : named;
  return up <= depth && !components.slice(up).includes("..");
}

/** Makes a directory, or takes the one that is there; a link in its place is refused. */
async function enter(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (cause) {
    const there = await lstat(path);
    if (there.isDirectory()) return;
    throw new InvalidArgument(`\`${path}\` is in the way of a directory`, { cause, hint: "download to an empty directory" });
  }
}

async function file(
  files: Files,
  remote: string,
  local: string,
  mode: number,
  options: CallOptions,
  tally: Tally,
): Promise<void> {
  const there = await lstat(local).catch(() => undefined);
  if (there?.isDirectory() === true) {
    throw new InvalidArgument(`\`${local}\` is a directory`, { hint: "name the file that is to be written" });
  }
  const partial = join(dirname(local), `.${randomUUID()}.partial`);
  const handle = await open(partial, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    try {
      for await (const chunk of files.readStream(remote, options)) {
        await handle.writeFile(chunk);
        tally.bytes += chunk.length;
      }
      await handle.chmod(mode & 0o777);
    } finally {
      await handle.close();
    }
    await rename(partial, local);
    tally.files += 1;
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function makeLink(link: Link, tally: Tally): Promise<void> {
  try {
    await symlink(link.target, link.path);
  } catch {
    // Something is there already.
    tally.skipped.push(link.path);
  }
}
