import { stat } from "node:fs/promises";

import { formatBytes } from "@strata/protocol/format-bytes";
import { parseReference, type Reference } from "@strata/protocol/oci/reference";
import { parseDurationMs } from "@strata/protocol/units";

import { createApiClient } from "../api/client.ts";
import type { Collection } from "../bundle/collect.ts";
import { createBundle, type ExtraFile } from "../bundle/create.ts";
import { findAgents, readResources } from "../bundle/extras.ts";
import { type Known, knownByBundle, knownSince } from "../bundle/known.ts";
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
  const sinceMs = parseSince(getText(options, "since"), context.now());
  if (baseFile !== undefined && sinceMs !== undefined) {
    throw new CliError("USAGE", "--base and --since both say what the other side has: give one");
  }
  await using base = baseFile === undefined ? undefined : await openBundle(baseFile);
  const findKnown = async (collection: Collection): Promise<Known | undefined> => {
    if (base !== undefined) return knownByBundle(base, store, signal);
    return sinceMs === undefined ? undefined : knownSince(store, { sinceMs, collection, signal });
  };
  const created = await createBundle(store, {
    file,
    references,
    findKnown,
    extras,
    progress,
    signal,
  });
  if (isQuiet) return print(context, created.id);
  const { size } = await stat(file);
  const saved = [
    ...(created.leftOut > 0 ? [`${created.leftOut} blobs left out`] : []),
    ...(created.deltas > 0 ? [`${created.deltas} layers as what changed in them`] : []),
  ];
  const facts = [`${created.images} images in ${formatBytes(size)}B`, ...saved, created.id];
  print(context, `${file}: ${facts.join(", ")}`);
}

/** A moment like `2026-11-20T12:00:00Z`, a day, or how long ago like `7d`.
 * @throws CliError USAGE */
function parseSince(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+[smhd]$/.test(text)) return nowMs - parseDurationMs(text);
  const at = /^\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new CliError("USAGE", `--since wants a time, not ${JSON.stringify(text)}`, {
    hint: "write 2026-11-20T12:00:00Z, 2026-11-20 (in UTC), or how long ago: 36h, 7d",
  });
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
