/** Cartridges that run to their end: once, or by a calendar. */
import { z } from "zod";

import { DurationMs } from "../units.ts";

export const jobRunStates = ["running", "succeeded", "failed", "cancelled"] as const;
export type JobRunState = (typeof jobRunStates)[number];

/** When and how often; what runs is said as a subscription says it. */
export const JobScheduleInput = z.strictObject({
  /** crontab(5): five fields. Left out, it runs when somebody asks. */
  cron: z.string().max(256).optional(),
  /** Of the IANA database. */
  timezone: z.string().max(64).default("UTC"),
  /** When a run is due while another goes on. */
  concurrency: z.enum(["forbid", "replace", "allow"]).default("forbid"),
  /** Tries after the first. */
  retries: z.int().min(0).max(100).default(0),
  /** A run that takes longer is stopped and has failed. */
  timeout: DurationMs.optional(),
  /** A run that could not begin for so long after its time is left out. */
  startWithin: DurationMs.default(600_000),
  suspended: z.boolean().default(false),
  /** Ended runs that are remembered. */
  keepRuns: z.int().min(1).max(1000).default(20),
});
export type JobInput = z.input<typeof JobScheduleInput>;
