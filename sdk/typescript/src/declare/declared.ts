/** What one helper was called with. It cannot be changed; the compiler reads the call from the source and never this. */
export interface Declared<Kind extends string = string> {
  /** What it can be used as. */
  readonly kind: Kind;
  /** The helper's name. */
  readonly helper: string;
  /** What was given, by position and by name. */
  readonly arguments: readonly unknown[];
}

type Camel<Name extends string> = Name extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : Name;

/** Options under their names, each as `snake_case` or as `camelCase`; all may be left out here. */
export type Spelled<Options> = {
  readonly [Name in keyof Options as Name | Camel<Name & string>]?: Options[Name] | undefined;
};

/** The ways to call a helper: by position, with what is left by name, or all by name. */
export type Call<Positional extends readonly unknown[], Options> =
  | [...given: Positional, options?: Spelled<Options>]
  | [options: Spelled<Options>];

/** @internal a helper, which does nothing but say what it was given */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- it is what the helper takes
export function helper<Kind extends string, Given extends readonly unknown[]>(
  kind: Kind,
  name: string,
): (...given: Given) => Declared<Kind> {
  return (...given) => Object.freeze({ kind, helper: name, arguments: frozen(given) as readonly unknown[] });
}

/** @internal a copy that cannot be changed, of plain objects and arrays */
export function frozen(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(frozen));
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([name, item]) => [name, frozen(item)])));
}
