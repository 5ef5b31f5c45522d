/** What a scenario of `tests/conformance` says; its README has the fields. */
export interface Scenario {
  readonly name: string;
  readonly row: string;
  readonly steps: readonly Step[];
}

export type Fields = Readonly<Record<string, unknown>>;

export interface Step extends Fields {
  readonly do: string;
  readonly error?: { readonly code: string };
}

/** A field that a step must have. */
export function text(step: Fields, field: string): string {
  const value = step[field];
  if (typeof value !== "string") throw new Error(`the step has no text \`${field}\`: ${JSON.stringify(step)}`);
  return value;
}

export function number(step: Fields, field: string): number {
  const value = step[field];
  if (typeof value !== "number") throw new Error(`the step has no number \`${field}\`: ${JSON.stringify(step)}`);
  return value;
}

export function fields(step: Fields, field: string): Fields {
  const value = step[field];
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

export function optional(step: Fields, field: string): unknown {
  return step[field] ?? undefined;
}
