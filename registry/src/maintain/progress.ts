import { formatBytes } from "@strata/protocol/format-bytes";

import type { World } from "../world.ts";
import type { JobProgress } from "./job.ts";

export type ProgressLine = Disposable & { readonly show: (text: string) => void };

const REDRAW_MS = 200;
/** Where no terminal is, a line now and then shows that it goes on. */
const LINE_MS = 10_000;

/** One line that is written over on a terminal; disposing takes it away. */
export function createProgressLine({ stderr, clock }: World): ProgressLine {
  const isTerminal = stderr.isTTY === true;
  const everyMs = isTerminal ? REDRAW_MS : LINE_MS;
  let shownAt = isTerminal ? -Infinity : clock();
  let drawn = false;
  return {
    show: (text) => {
      if (clock() - shownAt < everyMs) return;
      shownAt = clock();
      drawn = isTerminal;
      stderr.write(isTerminal ? `\r\u001b[K${text}` : `${text}\n`);
    },
    [Symbol.dispose]: () => {
      if (drawn) stderr.write("\r\u001b[K");
    },
  };
}

export function describeProgress(kind: "gc" | "scrub", { done, total }: JobProgress): string {
  if (kind === "gc") return `${done} repositories`;
  const share = total === undefined || total === 0 ? 100 : Math.min(100, (done / total) * 100);
  return `${formatBytes(done)}B of ${formatBytes(total ?? done)}B read, ${Math.floor(share)} %`;
}
