import { join } from "node:path";

import { formatBytes } from "@strata/protocol/format-bytes";

import { extractFiles } from "../bundle/extract.ts";
import { loadBundle } from "../bundle/load.ts";
import { openBundle } from "../bundle/read.ts";
import { readKeys } from "../bundle/require-signed.ts";
import type { Invocation } from "../command.ts";
import { print, say } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag, getList, getText } from "../options.ts";
import { createProgress, createSilence } from "../output/progress.ts";
import { findConnection } from "../settings/connection.ts";
import { cacheFolder } from "../settings/paths.ts";
import { openStore } from "../store/client.ts";

export async function run({ context, args, options }: Invocation): Promise<void> {
  const [file] = args;
  if (file === undefined) throw new CliError("USAGE", "which bundle? name its file");
  const isDryRun = getFlag(options, "dryRun");
  const isQuiet = getFlag(options, "quiet");
  const keys = await readKeys(getList(options, "verifyKey"));
  const folder = getText(options, "files");
  if (folder !== undefined && keys.length > 0) {
    throw new CliError("USAGE", "the files of a bundle are not signed, only its images", {
      hint: "load with --verify-key; then, if you trust them, write the files with --files and --dry-run",
    });
  }
  const connection = await findConnection(context, getText(options, "context"));
  await using bundle = await openBundle(file);
  await using store = openStore(connection, context.signal);
  using progress = isQuiet ? createSilence() : createProgress(context);
  let checked = 0;
  await loadBundle(store, bundle, {
    isDryRun,
    scratch: join(cacheFolder(context.env), "bundle"),
    keys,
    progress,
    signal: context.signal,
    onChecked: (bytes) => {
      checked = bytes;
    },
    onLoaded: (name, digest) => {
      if (!isQuiet) print(context, `${name} ${digest}${isDryRun ? " would be loaded" : ""}`);
    },
  });
  const files = folder === undefined ? [] : await extractFiles(bundle, folder);
  if (!isQuiet) for (const path of files) print(context, path);
  if (!isQuiet) say(context, `${file}: ${formatBytes(checked)}B checked, ${bundle.id}`);
}
