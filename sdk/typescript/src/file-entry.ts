import type { Answer } from "./answer.js";

/** What there is at a path of a sandbox. */
export interface FileEntry {
  /** Without its directory. Bytes that are not UTF-8 are U+FFFD. */
  readonly name: string;
  readonly kind: "file" | "directory" | "symlink" | "other";
  /** In bytes. */
  readonly size: number;
  /** The permission bits, such as `0o644`. */
  readonly mode: number;
  readonly modifiedAtMs: number;
  readonly userId: number;
  readonly groupId: number;
  /** Where a symbolic link points to. */
  readonly target: string | undefined;
}

/** @internal */
export function fileEntry(answer: Answer): FileEntry {
  return {
    name: answer.text("name"),
    kind: answer.text("kind") as FileEntry["kind"],
    size: answer.number("size"),
    mode: Number.parseInt(answer.text("mode"), 8),
    modifiedAtMs: answer.number("modified_at_ms"),
    userId: answer.number("user_id"),
    groupId: answer.number("group_id"),
    target: answer.textOrNone("target"),
  };
}
