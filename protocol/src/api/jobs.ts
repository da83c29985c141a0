/** Cartridges that run to their end: when somebody asks, or by a calendar. */
import { z } from "zod";

import { Argv, Exit } from "../agent/messages.ts";
import { processStates } from "../agent/process-state.ts";
import { Alias, Name } from "../names.ts";
import { DurationMs } from "../units.ts";
import { PlacementInput } from "./placement.ts";
import { CartridgeInput, Running } from "./resources.ts";

export const jobRunStates = ["running", "succeeded", "failed", "cancelled"] as const;
export type JobRunState = (typeof jobRunStates)[number];

const schedule = {
  /** crontab(5): five fields. Left out, it runs when somebody asks. */
  cron: z.string().max(256).optional(),
  /** Of the IANA database. */
  timezone: z.string().max(64).default("UTC"),
  /** When a run is due while another goes on: it waits, takes its place, or runs beside it. */
  concurrency: z.enum(["forbid", "replace", "allow"]).default("forbid"),
  /** Tries after the first. */
  retries: z.int().min(0).max(100).default(0),
  /** A run that takes longer, all its tries together, is stopped and has failed. */
  timeout: DurationMs.refine((ms) => ms > 0, "more than 0").optional(),
  /** A run that could not begin for so long after its time is left out. */
  startWithin: DurationMs.refine((ms) => ms > 0, "more than 0").default(600_000),
  /** The calendar rests; whoever asks still gets a run. */
  suspended: z.boolean().default(false),
  /** Ended runs that are remembered, with their logs. */
  keepRuns: z.int().min(1).max(1000).default(20),
};
/** When and how often; what runs is said as a subscription says it. */
const JobScheduleInput = z.strictObject(schedule);
/** Durations in milliseconds. */
export type JobSchedule = z.output<typeof JobScheduleInput>;

const { description: _description, image: _image, ...running } = CartridgeInput.shape;

export const JobInput = z.strictObject({
  cartridge: Name,
  /** From the first missed beat of a node to another try elsewhere. */
  lostAfter: DurationMs.default(60_000),
  placement: PlacementInput.optional(),
  ...running,
  ...schedule,
});

export const JobRunInput = z.strictObject({
  /** Instead of the job's, for this run. */
  args: Argv.optional(),
});

export const JobRun = z.object({
  id: z.string(),
  job: Alias,
  /** The time of the calendar that it is of; null when somebody asked. */
  scheduledAt: z.iso.datetime().nullable(),
  state: z.enum(jobRunStates),
  /** Tries that failed. */
  failures: z.int(),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
  exit: Exit.nullable(),
  /** Why it waits, or ended otherwise than well. */
  reason: z.string().nullable(),
  /** Its tries that are still known, oldest first: the id is what logs go by. */
  processes: z.array(
    z.object({
      id: z.string(),
      state: z.enum(processStates),
      node: z.string().nullable(),
      exit: Exit.nullable(),
    }),
  ),
});
export type JobRun = z.infer<typeof JobRun>;

export const Job = z.object({
  name: Alias,
  tenant: Name,
  cartridge: Name,
  partition: Name,
  /** Seconds. */
  lostAfter: z.number(),
  placement: PlacementInput.nullable(),
  ...Running.shape,
  cron: z.string().nullable(),
  timezone: z.string(),
  concurrency: schedule.concurrency,
  retries: z.int(),
  /** Seconds. */
  timeout: z.number().nullable(),
  startWithin: z.number(),
  suspended: z.boolean(),
  keepRuns: z.int(),
  /** Of what it runs: each change adds one. */
  generation: z.int(),
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  status: z.object({
    /** Runs that go on. */
    running: z.int(),
    /** Null without a calendar, and while it rests. */
    nextRunAt: z.iso.datetime().nullable(),
    lastRun: JobRun.omit({ processes: true }).nullable(),
  }),
});
export type Job = z.infer<typeof Job>;
