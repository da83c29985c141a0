import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

import { Name } from "@strata/protocol/names";

import { listRecords, type ProcessRecord } from "../container/record.ts";
import { AgentError } from "../errors.ts";
import { runTool } from "../host/run-tool.ts";
import { agentPaths, type AgentPaths } from "../paths.ts";
import { removeTree } from "../rootfs/remove-tree.ts";
import type { Command, CommandContext } from "./context.ts";

/** The named volumes of this node: nothing but this command deletes one. */
export const volumesCommand: Command = {
  name: "volumes",
  summary: "list named volumes; `volumes delete TENANT NAME` deletes one that no process uses",
  run: async (argv, context) => {
    const { positionals } = parseArgs({ args: [...argv], options: {}, allowPositionals: true });
    const [verb, tenant = "", name = "", ...rest] = positionals;
    if (verb === undefined) return await listVolumes(context);
    const isWhole = Name.safeParse(tenant).success && Name.safeParse(name).success;
    if (verb !== "delete" || !isWhole || rest.length > 0) {
      throw new AgentError("CONFIG_INVALID", "volumes knows nothing or `delete TENANT NAME`", {
        hint: "strata-agent volumes lists what there is",
      });
    }
    await deleteVolume(context, { tenant, name });
    return 0;
  },
};

type VolumeKey = { readonly tenant: string; readonly name: string };

async function listVolumes({ config, logger }: CommandContext): Promise<number> {
  const paths = agentPaths(config);
  const records = listRecords(paths, logger);
  for (const key of findVolumes(paths)) {
    const { stdout } = await runTool("du", ["-sxk", "--", folderOf(paths, key)]);
    const kib = Number(stdout.split("\t")[0]);
    const users = listUsers(records, key);
    const use = users.length === 0 ? "unused" : `used by ${users.join(", ")}`;
    process.stdout.write(`${key.tenant}/${key.name}\t${kib} KiB\t${use}\n`);
  }
  return 0;
}

/** @throws AgentError VOLUME_FAILED when there is none, or a process of this node has it. */
async function deleteVolume({ config, logger }: CommandContext, key: VolumeKey): Promise<void> {
  const paths = agentPaths(config);
  const folder = folderOf(paths, key);
  if (!existsSync(folder)) {
    throw new AgentError("VOLUME_FAILED", `there is no volume ${key.tenant}/${key.name}`);
  }
  const users = listUsers(listRecords(paths, logger), key);
  if (users.length > 0) {
    throw new AgentError(
      "VOLUME_FAILED",
      `volume ${key.tenant}/${key.name} is used by ${users.join(", ")}`,
      { hint: "delete the subscription first, or take the volume out of it" },
    );
  }
  await removeTree(folder);
}

function findVolumes(paths: AgentPaths): readonly VolumeKey[] {
  if (!existsSync(paths.volumes)) return [];
  return readdirSync(paths.volumes)
    .toSorted()
    .flatMap((tenant) =>
      readdirSync(join(paths.volumes, tenant))
        .toSorted()
        .map((name) => ({ tenant, name })),
    );
}

/** Processes that the node holds, running or not. */
function listUsers(
  records: readonly ProcessRecord[],
  { tenant, name }: VolumeKey,
): readonly string[] {
  return records
    .map(({ assignment }) => assignment)
    .filter(
      ({ spec }) =>
        spec.tenant === tenant &&
        (spec.volumes ?? []).some((volume) => volume.kind === "named" && volume.name === name),
    )
    .map(({ processId }) => processId);
}

function folderOf(paths: AgentPaths, { tenant, name }: VolumeKey): string {
  return join(paths.volumes, tenant, name);
}
