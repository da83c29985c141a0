import { setAsideDamaged } from "../drivers/sqlite/set-aside-damaged.ts";
import { fsck } from "../fsck.ts";
import type { Arguments, OptionKinds } from "../serve/arguments.ts";
import { createLog } from "../serve/log.ts";
import { databaseIn, openFolder } from "../serve/open-folder.ts";
import { readBucket, readDataFolder } from "../serve/settings.ts";
import type { World } from "../world.ts";

export const fsckOptions: OptionKinds = { data: "text", blobs: "text", deep: "flag" };

/** Gives the exit status: 1 when blobs are lost. */
export async function runFsck(world: World, args: Arguments): Promise<number> {
  const { env, stdout, clock, newId } = world;
  const data = readDataFolder(args, env);
  const broken = setAsideDamaged(databaseIn(data));
  if (broken !== undefined) stdout.write(`damaged database kept as ${broken}\n`);
  const place = {
    folder: data,
    bucket: readBucket(args, env),
    newId,
    logger: createLog(world.stderr),
  };
  const folder = await openFolder(place, ({ replayed, damaged }) =>
    stdout.write(`journal: ${replayed} lines replayed, ${damaged} damaged\n`),
  );
  try {
    const report = await fsck({ ...folder, clock }, { deep: args.flag("deep") });
    const { lost, restored, unnamed } = report;
    stdout.write(
      `${report.blobs} blobs known, ${lost.length} lost, ${restored.length} restored, ${unnamed} unnamed\n`,
    );
    for (const digest of lost) stdout.write(`lost ${digest}\n`);
    return lost.length === 0 ? 0 : 1;
  } finally {
    folder.blobs.close?.();
    folder.metadata.close();
  }
}
