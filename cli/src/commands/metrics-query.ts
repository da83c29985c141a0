import type { MetricAnswer, MetricNames, MetricSeries } from "@strata/protocol/api/metrics";

import { getResource } from "../api/resource.ts";
import { openSession, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText, requireChoice } from "../options.ts";
import { formatTable } from "../output/table.ts";

const BARS = "▁▂▃▄▅▆▇█";
const BARS_MAX = 60;

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const format = requireChoice(
    getText(options, "output") ?? "table",
    ["table", "json", "csv"],
    "--output",
  );
  const [metric] = args;
  const client = await openSession(invocation);
  if (metric === undefined) {
    const names = await getResource<MetricNames>(client, "/v1/metrics/names");
    print(context, format === "json" ? JSON.stringify(names) : formatNames(names));
    return;
  }
  const path = withQuery("/v1/metrics/query", {
    metric,
    ...Object.fromEntries(
      ["subscription", "process", "node", "since", "until", "step", "agg", "by", "tenant"].map(
        (name) => [name, getText(options, name)],
      ),
    ),
  });
  const answer = await getResource<MetricAnswer>(client, path);
  const show = { json: JSON.stringify, csv: formatCsv, table: formatAnswer }[format];
  print(context, show(answer));
}

function formatNames({ items }: MetricNames): string {
  const rows = items.map(({ name, unit, by, summary }) => [name, unit, by.join(","), summary]);
  return formatTable(["NAME", "UNIT", "BY", "MEANING"], rows);
}

function nameOf({ tenant, subscription, process, node }: MetricSeries["labels"]): string {
  const ofTenant = tenant === undefined || tenant === "default" ? "" : `${tenant}/`;
  return process ?? (subscription === undefined ? (node ?? "") : `${ofTenant}${subscription}`);
}

/** A line for each series: its latest value, its bounds and its course. */
function formatAnswer({ metric, unit, agg, series }: MetricAnswer): string {
  const rows = series.map(({ labels, points }) => {
    const values = points.map(([, value]) => value);
    return [
      nameOf(labels),
      shorten(values.at(-1)),
      shorten(Math.min(...values)),
      shorten(Math.max(...values)),
      drawBars(values),
    ];
  });
  return rows.length === 0
    ? `nothing is known of ${metric} then`
    : formatTable(["OF", "LAST", "LEAST", "MOST", `${metric} (${unit}, ${agg})`], rows);
}

function shorten(value: number | undefined): string {
  if (value === undefined) return "-";
  const size = Math.abs(value);
  const [factor, unit] =
    size >= 1e9 ? [1e9, "G"] : size >= 1e6 ? [1e6, "M"] : size >= 1e4 ? [1e3, "k"] : [1, ""];
  return `${Number((value / factor).toPrecision(4))}${unit}`;
}

/** From 0, so that a steady value is no drama. */
function drawBars(values: readonly number[]): string {
  const most = Math.max(...values);
  const perBar = Math.max(1, values.length / BARS_MAX);
  const count = Math.ceil(values.length / perBar);
  return Array.from({ length: count }, (_, index) => {
    const some = values.slice(
      Math.floor(index * perBar),
      Math.max(Math.floor(index * perBar) + 1, Math.floor((index + 1) * perBar)),
    );
    const share = most <= 0 ? 0 : Math.max(0, ...some) / most;
    return BARS[Math.round(share * (BARS.length - 1))] ?? "";
  }).join("");
}

function formatCsv({ series }: MetricAnswer): string {
  const lines = series.flatMap(({ labels, points }) =>
    points.map(([at, value]) => `${nameOf(labels)},${at},${value}`),
  );
  return ["of,time,value", ...lines].join("\n");
}
