import { constants } from "node:os";

import { InvalidArgument } from "./errors.js";

/** The number that a signal has in the guest, which is a Linux whatever this program runs on. */
export function signalNumber(signal: number | NodeJS.Signals): number {
  const number = typeof signal === "number" ? signal : linuxNumber(signal);
  if (number === undefined || !Number.isInteger(number) || number < 1 || number > 64) {
    throw new InvalidArgument(`\`${signal}\` is not a signal`);
  }
  return number;
}

/** Those that other systems number differently. */
const linux: Partial<Record<string, number>> = {
  SIGBUS: 7,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGURG: 23,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
};

function linuxNumber(name: NodeJS.Signals): number | undefined {
  const known: Partial<Record<string, number>> = constants.signals;
  return linux[name] ?? known[name];
}
