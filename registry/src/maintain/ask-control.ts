import { existsSync } from "node:fs";
import { createInterface } from "node:readline";

import { getErrorCode } from "@strata/protocol/errors";
import { Client } from "undici";

import { ServeError } from "../serve/errors.ts";
import { type ControlLine, controlSocketIn } from "./control.ts";
import type { Job, JobProgress, JobReport } from "./job.ts";

export type AskControl = {
  readonly data: string;
  readonly job: Job;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: JobProgress) => void;
};

/** Has the running store of this folder do it; undefined when none runs.
 * @throws ServeError JOB_FAILED */
export async function askControl({
  data,
  job,
  signal,
  onProgress,
}: AskControl): Promise<JobReport | undefined> {
  const socketPath = controlSocketIn(data);
  if (!existsSync(socketPath)) return undefined;
  // A job takes as long as it takes.
  const client = new Client("http://store", { socketPath, headersTimeout: 0, bodyTimeout: 0 });
  try {
    const body = JSON.stringify(job);
    const answer = await client.request({ method: "POST", path: "/", body, signal });
    for await (const text of createInterface({ input: answer.body })) {
      const line = parseLine(text);
      if ("progress" in line) onProgress(line.progress);
      else if ("report" in line) return line.report;
      else throw failed(line.error.message);
    }
    throw failed("it broke off");
  } catch (error) {
    // A socket that nobody listens to was left by a crash.
    if (getErrorCode(error) === "ECONNREFUSED") return undefined;
    if (error instanceof ServeError) throw error;
    throw failed("the connection broke", error);
  } finally {
    await client.destroy();
  }
}

function parseLine(text: string): ControlLine {
  // Written by this same program, of one version or of another; what is missing shows where it is used.
  return JSON.parse(text) as ControlLine;
}

function failed(what: string, cause?: unknown): ServeError {
  return new ServeError("JOB_FAILED", `the running store did not do it: ${what}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "the store's log has the cause",
  });
}
