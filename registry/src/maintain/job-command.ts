/** `gc` and `scrub`: by the store that runs on the folder, or else on the folder itself. */
import { existsSync } from "node:fs";

import { parseBytes, parseDurationMs } from "@strata/protocol/units";

import { createRegistry } from "../create-registry.ts";
import type { Arguments } from "../serve/arguments.ts";
import { readConfig } from "../serve/config.ts";
import { ServeError } from "../serve/errors.ts";
import { createLog } from "../serve/log.ts";
import { databaseIn, openFolder } from "../serve/open-folder.ts";
import { readBucket, readDataFolder } from "../serve/settings.ts";
import type { World } from "../world.ts";
import { askControl } from "./ask-control.ts";
import { describeJob } from "./describe-report.ts";
import { Job, type JobProgress, type JobReport, jobStatus, runJob } from "./job.ts";
import { createProgressLine, describeProgress } from "./progress.ts";

/** Gives the exit status. @throws ServeError, and ParseError for what is no time or size */
export async function runGc(world: World, args: Arguments): Promise<number> {
  const grace = args.text("grace");
  const graceMs = grace === undefined ? undefined : parseDurationMs(grace);
  return runCommand(world, args, Job.parse({ kind: "gc", dryRun: args.flag("dry-run"), graceMs }));
}

/** Gives the exit status: 1 when blobs are lost or corrupt. @throws as `runGc` */
export async function runScrub(world: World, args: Arguments): Promise<number> {
  const [rate, duration] = [args.text("rate"), args.text("for")];
  const job = Job.safeParse({
    kind: "scrub",
    dryRun: args.flag("dry-run"),
    bytesPerSecondMax: rate === undefined ? undefined : parseBytes(rate),
    durationMs: duration === undefined ? undefined : parseDurationMs(duration),
  });
  if (job.success) return runCommand(world, args, job.data);
  throw new ServeError("USAGE", "--rate and --for are more than nothing", {
    cause: job.error,
    hint: "leave them out for the settings' rate and for no limit",
  });
}

async function runCommand(world: World, args: Arguments, job: Job): Promise<number> {
  const data = readDataFolder(args, world.env);
  const done = await perform(world, args, { data, job });
  const lines = args.flag("json") ? [JSON.stringify(done.report, undefined, 2)] : describeJob(done);
  world.stdout.write(`${lines.join("\n")}\n`);
  return jobStatus(done);
}

type Wanted = { readonly data: string; readonly job: Job };

async function perform(world: World, args: Arguments, wanted: Wanted): Promise<JobReport> {
  const { signal } = world;
  using line = createProgressLine(world);
  const onProgress = (progress: JobProgress): void =>
    line.show(describeProgress(wanted.job.kind, progress));
  const report = await askControl({ ...wanted, signal, onProgress });
  return report ?? (await performHere(world, args, { ...wanted, onProgress }));
}

type Here = Wanted & { readonly onProgress: (progress: JobProgress) => void };

async function performHere(world: World, args: Arguments, here: Here): Promise<JobReport> {
  const { env, clock, newId, signal } = world;
  const { data, job, onProgress } = here;
  if (!existsSync(databaseIn(data))) {
    throw new ServeError("USAGE", `${data} is no folder of a store`, {
      hint: "name it with --data; fsck makes a lost database anew",
    });
  }
  const config = readConfig(args.text("config"));
  const logger = createLog(world.stderr);
  const place = { folder: data, bucket: readBucket(args, env), newId, logger };
  const folder = await openFolder(place, (recovery) =>
    logger.warn(recovery, "metadata brought up to its journal"),
  );
  const registry = createRegistry({
    ...folder,
    mirrors: config.mirrors,
    // Nobody asks it anything.
    authorize: () => ({ kind: "denied" }),
    clock,
    newId,
    logger,
  });
  try {
    return await runJob(job, { registry, settings: config.upkeep, signal, onProgress });
  } finally {
    registry.close();
  }
}
