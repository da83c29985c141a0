/** What an agent does that another one tries. */
import { writeFileSync } from "node:fs";
import process from "node:process";

import type { ReportResponse } from "@strata/protocol/agent/messages";

import type { CommandContext } from "../commands/context.ts";
import type { Session } from "../session.ts";

/** Set in the environment of an agent on trial. */
export const TRIAL_VARIABLE = "STRATA_UPGRADE_TRIAL";

/** From the first report that was taken to the one that proves it. */
const PROOF_MS = 3000;
/** It need not wait for its next beat for that. */
const NEXT_REPORT_MS = 500;

type Hear = (answer: ReportResponse) => void;

export type Trial = {
  /** What is done with the answers to reports, and, on trial, their count as well. */
  readonly hearing: (hear: Hear) => Hear;
};

/** Nothing for an agent that nobody tries. One on trial shows that the controller takes its reports, and ends with the
 * agent that tries it. */
export function beOnTrial(
  { environment, clock }: Pick<CommandContext, "environment" | "clock">,
  proofPath: string,
  session: () => Pick<Session, "changed" | "close">,
): Trial {
  if (environment[TRIAL_VARIABLE] === undefined) return { hearing: (hear) => hear };
  const end = (): void => session().close();
  process.stdin.on("end", end).on("error", end).resume();
  let firstMs: number | undefined;
  let isProved = false;
  const count = (): void => {
    if (isProved) return;
    firstMs ??= clock();
    isProved = Math.abs(clock() - firstMs) >= PROOF_MS;
    if (isProved) writeFileSync(proofPath, "");
    else setTimeout(() => session().changed("now"), NEXT_REPORT_MS);
  };
  return {
    hearing: (hear) => (answer) => {
      hear(answer);
      count();
    },
  };
}
