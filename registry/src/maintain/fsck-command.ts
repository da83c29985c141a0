import { existsSync } from "node:fs";

import { isWhole, setAsideDamaged } from "../drivers/sqlite/set-aside-damaged.ts";
import { fsck, type FsckReport } from "../fsck.ts";
import type { Arguments } from "../serve/arguments.ts";
import { ServeError } from "../serve/errors.ts";
import { createLog } from "../serve/log.ts";
import { databaseIn, openFolder } from "../serve/open-folder.ts";
import { readBucket, readDataFolder } from "../serve/settings.ts";
import type { World } from "../world.ts";
import { describeFsck } from "./describe-report.ts";
import { createProgressLine } from "./progress.ts";

/** What was done to the metadata before the blobs were looked at. */
type Recovered = { damagedKeptAs?: string; linesReplayed?: number; linesDamaged?: number };

/** Gives the exit status: 1 when blobs are lost. @throws ServeError USAGE */
export async function runFsck(world: World, args: Arguments): Promise<number> {
  const data = readDataFolder(args, world.env);
  if (!existsSync(data)) {
    throw new ServeError("USAGE", `there is no folder ${data}`, { hint: "name it with --data" });
  }
  const database = databaseIn(data);
  if (args.flag("dry-run") && !(existsSync(database) && isWhole(database))) {
    world.stdout.write(`${database} is lost or damaged: fsck makes it anew from the journal\n`);
    return 1;
  }
  const recovered: Recovered = {};
  const broken = setAsideDamaged(database);
  if (broken !== undefined) recovered.damagedKeptAs = broken;
  const report = await check(world, args, { data, recovered });
  const lines = args.flag("json")
    ? [JSON.stringify({ ...recovered, ...report }, undefined, 2)]
    : [...describeRecovered(recovered), ...describeFsck(report)];
  world.stdout.write(`${lines.join("\n")}\n`);
  return report.lost.length === 0 ? 0 : 1;
}

type Place = { readonly data: string; readonly recovered: Recovered };

async function check(
  world: World,
  args: Arguments,
  { data, recovered }: Place,
): Promise<FsckReport> {
  const { env, clock, newId, stderr } = world;
  const place = { folder: data, bucket: readBucket(args, env), newId, logger: createLog(stderr) };
  const folder = await openFolder(place, ({ replayed, damaged }) => {
    recovered.linesReplayed = replayed;
    recovered.linesDamaged = damaged;
  });
  using line = createProgressLine(world);
  try {
    return await fsck(
      { ...folder, clock },
      {
        deep: args.flag("deep"),
        dryRun: args.flag("dry-run"),
        onProgress: ({ blobs }) => line.show(`${blobs} blobs`),
      },
    );
  } finally {
    folder.blobs.close?.();
    folder.metadata.close();
  }
}

function describeRecovered(recovered: Recovered): readonly string[] {
  const { damagedKeptAs, linesReplayed, linesDamaged } = recovered;
  return [
    ...(damagedKeptAs === undefined ? [] : [`damaged database kept as ${damagedKeptAs}`]),
    ...(linesReplayed === undefined
      ? []
      : [`journal: ${linesReplayed} lines replayed, ${linesDamaged ?? 0} damaged`]),
  ];
}
