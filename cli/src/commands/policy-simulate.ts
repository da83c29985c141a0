import { readFile, stat, writeFile } from "node:fs/promises";

import { plotSvg } from "@strata/controller/domain/simulate/plot-svg";
import { plotTerminal } from "@strata/controller/domain/simulate/plot-terminal";
import type { RunSeries } from "@strata/controller/domain/simulate/series";
import type { Simulation } from "@strata/protocol/api/simulation";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print, say } from "../context.ts";
import { CliError } from "../errors.ts";
import { getCount, getFlag, getList, getText, type Options } from "../options.ts";

const FILE_BYTES_MAX = 4 * 1024 * 1024;

/** What the controller's own type of it says more narrowly. */
type Answer = Omit<Simulation, "series"> & { readonly series: RunSeries };

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const body = await readBody(options);
  const tenant = getText(options, "tenant");
  const answer = await sendResource<Answer>(await openSession(invocation), {
    method: "POST",
    path: withQuery(`/v1/scaling-policies/${pathSegment(name)}/simulate`, { tenant }),
    body,
  });
  if (getFlag(options, "json")) print(context, JSON.stringify(answer));
  else {
    const width = Math.min(160, Math.max(40, (context.stdout.columns ?? 80) - 8));
    print(context, plotTerminal(answer.series, { width, height: 12 }).trimEnd());
    print(context, `\n${summaryOf(answer)}`);
  }
  const svg = getText(options, "svg");
  if (svg === undefined) return;
  await writeFile(svg, plotSvg(answer.series));
  say(context, `the plot is in ${svg}`);
}

function summaryOf({
  mode,
  decisions,
  same,
  changes,
  highest,
  processHours,
  last,
}: Answer): string {
  const what =
    mode === "replay"
      ? `${decisions} decisions made again, ${same} exactly as they were`
      : `${decisions} decisions`;
  const hours = Math.round(processHours * 10) / 10;
  const end = last === null ? "" : `\nlast: ${last.reason}`;
  return `${what}; ${changes} changes, ${highest} processes at most, ${hours} process hours${end}`;
}

async function readBody(options: Options): Promise<object> {
  const subscription = getText(options, "subscription");
  const file = getText(options, "file");
  if ((subscription === undefined) === (file === undefined)) {
    throw new CliError("USAGE", "say either --subscription or --file", {
      hint: "the stored decisions of a subscription, or samples as lines seconds,value",
    });
  }
  const initial = getCount(options, "initial");
  return {
    set: Object.fromEntries(getList(options, "set").map(parseSetting)),
    ...(initial === undefined ? {} : { initial }),
    ...(file === undefined ? { subscription } : await readSamples(file)),
  };
}

/** CSV as it is; JSON as lists of pairs by metric. */
async function readSamples(file: string): Promise<object> {
  const text = await readText(file);
  if (!file.endsWith(".json")) return { csv: text };
  try {
    return { samples: JSON.parse(text) };
  } catch (cause) {
    throw new CliError("SOURCE_INVALID", `${file} is no JSON`, {
      cause,
      hint: 'write { "custom/queue": [[seconds, value], …] }',
    });
  }
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > FILE_BYTES_MAX)
      throw new CliError("USAGE", `${file} has ${size} bytes; at most ${FILE_BYTES_MAX} are sent`);
    return await readFile(file, "utf8");
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError("USAGE", `${file} cannot be read`, { cause });
  }
}

/** `max=20` or `panic.threshold=null`. */
function parseSetting(text: string): readonly [string, unknown] {
  const [, path, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (path === undefined || value === undefined) {
    throw new CliError("USAGE", `--set wants path=value, not ${JSON.stringify(text)}`, {
      hint: "such as --set max=20 or --set metrics.0.target=5",
    });
  }
  if (/^(null|true|false|-?\d+(\.\d+)?)$/.test(value)) return [path, JSON.parse(value)];
  return [path, value];
}
