import { join } from "node:path";

import { formatBytes } from "@strata/protocol/format-bytes";
import type { Compression } from "@strata/protocol/oci/media-type";

import { buildImage, type BuiltImage, openSource } from "../cartridge/build.ts";
import { packLayout } from "../cartridge/layout-archive.ts";
import { publishLayout } from "../cartridge/layout.ts";
import type { BuildOptions } from "../cartridge/options.ts";
import { scratchBeside } from "../cartridge/scratch.ts";
import type { Invocation } from "../command.ts";
import { type Context, print, say } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag, getText, type Options, requireChoice } from "../options.ts";
import { painter } from "../output/style.ts";
import { cacheFolder } from "../settings/paths.ts";
import { pushLayout } from "../store/push-layout.ts";

const compressions: readonly Compression[] = ["gzip", "zstd", "none"];

export async function run({ context, args, options }: Invocation): Promise<void> {
  const [path = "."] = args;
  const { output, isPushed, isQuiet } = parseTarget(options);
  const source = await openSource(path, getText(options, "tag"));
  const cache = cacheFolder(context.env);
  await using scratch = await scratchBeside(output ?? join(cache, "build"));
  const layout = join(scratch.path, "layout");
  const epochSeconds = epochOf(context);
  const built = await buildImage(source, {
    ...reporting(context, isQuiet),
    layout,
    compression: requireChoice(
      getText(options, "compression") ?? "gzip",
      compressions,
      "--compression",
    ),
    epochSeconds,
    cacheFolder: cache,
    isFresh: getFlag(options, "fresh"),
    architecture: process.arch === "x64" ? "amd64" : process.arch,
  });
  if (isPushed) await pushLayout(layout, { context, options });
  if (output?.endsWith(".tar") === true) await packLayout(layout, output, epochSeconds);
  else if (output !== undefined) await publishLayout(layout, output);
  print(context, isQuiet ? built.digest : describe(built));
}

type Target = {
  readonly output: string | undefined;
  readonly isPushed: boolean;
  readonly isQuiet: boolean;
};

function parseTarget(options: Options): Target {
  const output = getText(options, "output");
  const isPushed = getFlag(options, "push") || getFlag(options, "register");
  if (output !== undefined || isPushed)
    return { output, isPushed, isQuiet: getFlag(options, "quiet") };
  throw new CliError("USAGE", "a build has to go somewhere", {
    hint: "add -o LAYOUT, -o IMAGE.tar or --push",
  });
}

function reporting(
  context: Context,
  isQuiet: boolean,
): Pick<BuildOptions, "onStep" | "onLine" | "onWarning"> {
  const paint = painter(context, context.stderr);
  return {
    onStep: (text) => (isQuiet ? undefined : say(context, paint("bold", text))),
    onLine: (line) => (isQuiet ? undefined : say(context, paint("dim", `  ${line}`))),
    onWarning: (text) => say(context, `${paint("yellow", "warning:")} ${text}`),
  };
}

function describe({ repository, tag, digest, size, layers }: BuiltImage): string {
  return `${repository}:${tag} ${digest} (${layers} ${layers === 1 ? "layer" : "layers"}, ${formatBytes(size)}B)`;
}

/** https://reproducible-builds.org/specs/source-date-epoch/ */
function epochOf(context: Context): number {
  const text = context.env["SOURCE_DATE_EPOCH"] ?? "0";
  if (/^\d{1,11}$/.test(text)) return Number(text);
  throw new CliError("USAGE", `SOURCE_DATE_EPOCH is ${JSON.stringify(text)}`, {
    hint: "seconds since 1970, like: export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)",
  });
}
