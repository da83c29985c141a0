/** Upkeep that a store does while it serves, or while it is stopped. */
import { z } from "zod";

import type { GarbageReport } from "../collect-garbage.ts";
import type { Registry } from "../create-registry.ts";
import type { RetentionPolicy } from "../retention.ts";
import type { ScrubReport } from "../scrub.ts";

export type UpkeepSettings = {
  readonly collectEveryMs: number;
  readonly graceMs: number;
  readonly policies: readonly RetentionPolicy[];
  readonly scrubEveryMs: number;
  readonly bytesPerSecondMax: number;
};

/** What somebody asks for; what is left out comes from the settings. */
export const Job = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("gc"),
    dryRun: z.boolean(),
    graceMs: z.int().nonnegative().optional(),
  }),
  z.strictObject({
    kind: z.literal("scrub"),
    dryRun: z.boolean(),
    bytesPerSecondMax: z.int().positive().optional(),
    durationMs: z.int().positive().optional(),
  }),
]);
export type Job = z.infer<typeof Job>;

export type JobProgress = { readonly done: number; readonly total: number | undefined };

export type JobReport =
  | { readonly kind: "gc"; readonly report: GarbageReport }
  | { readonly kind: "scrub"; readonly report: ScrubReport & { readonly dryRun: boolean } };

export type JobOptions = {
  readonly registry: Pick<Registry, "collectGarbage" | "scrub" | "sumBytes">;
  readonly settings: UpkeepSettings;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: JobProgress) => void;
};

/** Progress is repositories of a collection, and bytes of a scrub. */
export async function runJob(job: Job, options: JobOptions): Promise<JobReport> {
  const { registry, settings, signal, onProgress } = options;
  const { dryRun } = job;
  if (job.kind === "gc") {
    const report = await registry.collectGarbage({
      dryRun,
      graceMs: job.graceMs ?? settings.graceMs,
      policies: settings.policies,
      signal,
      onProgress: ({ repositories }) => onProgress({ done: repositories, total: undefined }),
    });
    return { kind: "gc", report };
  }
  const total = await registry.sumBytes("");
  const { durationMs, bytesPerSecondMax = settings.bytesPerSecondMax } = job;
  const report = await registry.scrub({
    dryRun,
    bytesPerSecondMax,
    signal,
    ...(durationMs === undefined ? {} : { durationMsMax: durationMs }),
    onProgress: ({ bytes }) => onProgress({ done: bytes, total }),
  });
  return { kind: "scrub", report: { ...report, dryRun } };
}

/** The exit status: 1 when blobs are lost or corrupt. */
export function jobStatus(job: JobReport): number {
  if (job.kind === "gc") return 0;
  const { lost, corrupt, repaired } = job.report;
  return lost.length > 0 || corrupt.some((digest) => !repaired.includes(digest)) ? 1 : 0;
}
