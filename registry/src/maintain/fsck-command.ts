import { setAsideDamaged } from "../drivers/sqlite/set-aside-damaged.ts";
import { fsck } from "../fsck.ts";
import type { Arguments, OptionKinds } from "../serve/arguments.ts";
import { databaseIn, openFolder } from "../serve/open-folder.ts";
import { readDataFolder } from "../serve/settings.ts";
import type { World } from "../world.ts";

export const fsckOptions: OptionKinds = { data: "text", deep: "flag" };

/** Gives the exit status: 1 when blobs are lost. */
export async function runFsck({ env, stdout, clock }: World, args: Arguments): Promise<number> {
  const data = readDataFolder(args, env);
  const broken = setAsideDamaged(databaseIn(data));
  if (broken !== undefined) stdout.write(`damaged database kept as ${broken}\n`);
  const folder = await openFolder(data, ({ replayed, damaged }) =>
    stdout.write(`journal: ${replayed} lines replayed, ${damaged} damaged\n`),
  );
  try {
    const report = await fsck({ ...folder, clock }, { deep: args.flag("deep") });
    const { lost, restored, unnamed } = report;
    stdout.write(
      `${report.blobs} blobs known, ${lost.length} lost, ${restored.length} restored, ${unnamed} unnamed on the disk\n`,
    );
    for (const digest of lost) stdout.write(`lost ${digest}\n`);
    return lost.length === 0 ? 0 : 1;
  } finally {
    folder.metadata.close();
  }
}
