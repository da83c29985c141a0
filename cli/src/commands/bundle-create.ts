import { stat } from "node:fs/promises";

import { formatBytes } from "@strata/protocol/format-bytes";
import { parseReference, type Reference } from "@strata/protocol/oci/reference";

import { createApiClient } from "../api/client.ts";
import { createBundle, type ExtraFile } from "../bundle/create.ts";
import { findAgents, readResources } from "../bundle/extras.ts";
import { openBundle } from "../bundle/read.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag, getText } from "../options.ts";
import { createProgress, createSilence } from "../output/progress.ts";
import { type Connection, findConnection } from "../settings/connection.ts";
import { openStore, type StoreClient } from "../store/client.ts";

export async function run({ context, args, options }: Invocation): Promise<void> {
  const file = getText(options, "output");
  if (file === undefined) {
    throw new CliError("USAGE", "a bundle wants a file", { hint: "name it: -o FILE.tar" });
  }
  const references = args.map(parseReference);
  const connection = await findConnection(context, getText(options, "context"));
  const { signal } = context;
  await using store = openStore(connection, signal);
  const isQuiet = getFlag(options, "quiet");
  const extras = await findExtras(store, { connection, references, options, signal });
  using progress = isQuiet ? createSilence() : createProgress(context);
  const baseFile = getText(options, "base");
  await using base = baseFile === undefined ? undefined : await openBundle(baseFile);
  const created = await createBundle(store, { file, references, base, extras, progress, signal });
  if (isQuiet) return print(context, created.id);
  const { size } = await stat(file);
  const saved = [
    ...(created.leftOut > 0 ? [`${created.leftOut} blobs left out`] : []),
    ...(created.deltas > 0 ? [`${created.deltas} layers as what changed in them`] : []),
  ];
  const facts = [`${created.images} images in ${formatBytes(size)}B`, ...saved, created.id];
  print(context, `${file}: ${facts.join(", ")}`);
}

type Wanted = {
  readonly connection: Connection;
  readonly references: readonly Reference[];
  readonly options: Invocation["options"];
  readonly signal: AbortSignal;
};

async function findExtras(store: StoreClient, wanted: Wanted): Promise<readonly ExtraFile[]> {
  const { connection, references, options, signal } = wanted;
  const agents = getFlag(options, "agent") ? await findAgents(store, signal) : [];
  if (!getFlag(options, "policies")) return agents;
  return [...agents, await readResources(createApiClient(connection, signal), references)];
}
