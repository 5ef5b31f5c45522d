/** Calls, one after the other: a request to an answer. */
import { MAX_BYTES, NotJson, step, toJson } from "./node/sdk/declare/json-value.js";

import { describe, Exit, Refused } from "./failure.mjs";
import { own, renew } from "./randomness.mjs";
import { flaw } from "./schema.mjs";
import { encoded } from "./streams.mjs";

/** Why a promise that is waited for never settles: nothing is left that could settle it. */
const UNSETTLED = "nothing is left to do, and its promise is not settled";

export class Calls {
  #streams;
  #exit = process.exit.bind(process);
  /** Rejects what is waited for, for a reason that its own promise does not tell. */
  #fail;

  constructor(streams) {
    this.#streams = streams;
    own();
    renew();
    // The end of the program is the end of the call only, where it can be.
    process.exit = (code) => {
      const exit = new Exit(code);
      this.#fail?.(exit);
      throw exit;
    };
    const stray = (error) => {
      if (this.#fail !== undefined) return this.#fail(error);
      const { traceback, message } = describe(error);
      process.stderr.write(`after the call: ${traceback || message}\n`);
      return undefined;
    };
    process.on("uncaughtException", stray);
    process.on("unhandledRejection", stray);
    process.on("beforeExit", () => this.#fail?.(new Refused("NeverSettled", UNSETTLED)));
  }

  /** Loads the app's module. */
  loading(load) {
    return this.#settled(load);
  }

  /** Answers requests until they end. */
  async answer(found) {
    for (;;) {
      const line = await this.#streams.next();
      if (line === undefined) return;
      this.#streams.reply(await this.#reply(found, line));
    }
  }

  async #reply(found, line) {
    try {
      const given = argumentsOf(found, line);
      renew();
      const value = await this.#settled(() => found.function(...given));
      return returned(found, value);
    } catch (error) {
      return { event: "raised", error: describe(error) };
    }
  }

  /** What a function comes to, or what fails beside it while it is waited for. */
  #settled(start) {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      // Not at once: what is thrown before the first `await` is to reject too.
      Promise.resolve().then(start).then(resolve, reject);
    }).finally(() => {
      this.#fail = undefined;
    });
  }

  /** Ends. What the function left running does not keep the worker. */
  leave(code) {
    this.#exit(code);
  }
}

function argumentsOf(found, line) {
  if (line === null) throw new Refused("ArgumentsTooLarge", `the request is over ${MAX_BYTES} bytes`);
  let request;
  try {
    request = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line));
  } catch (error) {
    throw new Refused("ArgumentsInvalid", `the request is not JSON: ${error.message.slice(0, 200)}`);
  }
  const given = request?.arguments;
  const isOne = typeof given === "object" && given !== null && !Array.isArray(given);
  if (!isOne || Object.keys(request).length !== 1) {
    throw new Refused("ArgumentsInvalid", 'the request is not of the form `{"arguments": {…}}`');
  }
  const broken = flaw(given, found.argumentsSchema, "arguments");
  if (broken !== undefined) throw new Refused("ArgumentsInvalid", broken);
  return inOrder(found.parameters, given);
}

/** The arguments in the order of the parameters; what is left out at the end has its default. */
function inOrder(parameters, given) {
  const unknown = Object.keys(given).find((name) => !parameters.includes(name));
  if (unknown !== undefined) {
    throw new Refused("ArgumentsInvalid", `the function has no parameter \`${step("arguments", unknown)}\``);
  }
  const last = parameters.reduce((count, name, at) => (Object.hasOwn(given, name) ? at + 1 : count), 0);
  return parameters.slice(0, last).map((name) => (Object.hasOwn(given, name) ? given[name] : undefined));
}

function returned(found, result) {
  const answer = { event: "returned", value: null };
  try {
    // A function that returns nothing returns null to JSON.
    if (result !== undefined) answer.value = toJson(result, "result");
  } catch (error) {
    if (error instanceof NotJson) throw new Refused("ResultNotJson", `${error.message}; ${error.hint}`);
    throw error;
  }
  const size = encoded(answer).length;
  if (size > MAX_BYTES) throw new Refused("ResultTooLarge", `the result is ${size} bytes of JSON, and ${MAX_BYTES} are the most`);
  const broken = flaw(answer.value, found.resultSchema, "result");
  if (broken !== undefined) throw new Refused("ResultInvalid", broken);
  return answer;
}
