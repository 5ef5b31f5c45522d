import { TransportError } from "./errors.js";

/**
 * Reads fields of a JSON answer. A server of another version, or something that is no server of mvm,
 * is told by the name of the field that is missing instead of by an `undefined` much later.
 *
 * @internal
 */
export class Answer {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new TransportError("the server's answer is not a JSON object");
    }
    this.#fields = value as Record<string, unknown>;
  }

  /** The field as it is. */
  raw(name: string): unknown {
    return this.#fields[name];
  }

  text(name: string): string {
    const value = this.#fields[name];
    return typeof value === "string" ? value : this.#missing(name, "text");
  }

  textOrNone(name: string): string | undefined {
    const value = this.#fields[name];
    return value === null || value === undefined ? undefined : this.text(name);
  }

  number(name: string): number {
    const value = this.#fields[name];
    return typeof value === "number" ? value : this.#missing(name, "a number");
  }

  numberOrNone(name: string): number | undefined {
    const value = this.#fields[name];
    return value === null || value === undefined ? undefined : this.number(name);
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    return typeof value === "boolean" ? value : this.#missing(name, "true or false");
  }

  object(name: string): Answer {
    const value = this.#fields[name];
    return typeof value === "object" && value !== null ? new Answer(value) : this.#missing(name, "an object");
  }

  objectOrNone(name: string): Answer | undefined {
    const value = this.#fields[name];
    return value === null || value === undefined ? undefined : this.object(name);
  }

  objects(name: string): Answer[] {
    const value = this.#fields[name];
    return Array.isArray(value) ? value.map((item) => new Answer(item)) : this.#missing(name, "a list");
  }

  texts(name: string): string[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
      return this.#missing(name, "a list of texts");
    }
    return value;
  }

  #missing(name: string, kind: string): never {
    throw new TransportError(`the server's answer has no field \`${name}\` that is ${kind}`, {
      hint: "is the server of another version than this package?",
    });
  }
}
