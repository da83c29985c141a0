import { constants } from "node:os";

/** glibc's; the kernel keeps 32 and 33 for threads. */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** The number of `SIGTERM`, `SIGRTMIN+3` and the like; undefined for a name that Linux does not have. */
export function getSignalNumber(name: string): number | undefined {
  const realTime = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime !== null) {
    const [, base, sign, offset = "0"] = realTime;
    const number = (base === "MIN" ? SIGRTMIN : SIGRTMAX) + Number(`${sign ?? ""}${offset}`);
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
  }
  const known: Readonly<Record<string, number>> = constants.signals;
  return Object.hasOwn(known, name) ? known[name] : undefined;
}
