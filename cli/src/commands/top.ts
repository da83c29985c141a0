import { setTimeout as delay } from "node:timers/promises";

import type { Top } from "@strata/protocol/agent/top";
import { formatBytes } from "@strata/protocol/format-bytes";

import { findProcess } from "../api/find-process.ts";
import { getResource } from "../api/resource.ts";
import { openSession, pathSegment } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getFlag, getText, requireChoice } from "../options.ts";
import { formatAge } from "../output/age.ts";
import { formatTable } from "../output/table.ts";

const WATCH_MS = 1500;
const CLEAR_SCREEN = "\u001b[H\u001b[2J";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const format = requireChoice(
    getText(options, "output") ?? "table",
    ["table", "json"],
    "--output",
  );
  const client = await openSession(invocation);
  const { id } = await findProcess(client, { name, tenant: getText(options, "tenant") });
  const isScreen = context.stdout.isTTY === true && format === "table";
  do {
    const top = await getResource<Top>(client, `/v1/processes/${pathSegment(id)}/top`);
    const text = format === "json" ? JSON.stringify(top) : formatTop(top, context.now());
    print(context, getFlag(options, "watch") && isScreen ? CLEAR_SCREEN + text : text);
    if (!getFlag(options, "watch")) return;
    await delay(WATCH_MS, undefined, { signal: context.signal }).catch(() => undefined);
  } while (!context.signal.aborted);
}

/** The busiest first. */
function formatTop({ total, processes }: Top, now: number): string {
  const rows = processes
    .toSorted((one, other) => other.cpuPercent - one.cpuPercent || one.pid - other.pid)
    .map(({ pid, user, state, cpuPercent, memoryBytes, threads, startedAt, command }) => [
      String(pid),
      String(user),
      state,
      cpuPercent.toFixed(1),
      formatBytes(memoryBytes),
      String(threads),
      formatAge(startedAt, now),
      command,
    ]);
  const titles = ["PID", "USER", "STATE", "CPU%", "MEMORY", "THREADS", "AGE", "COMMAND"];
  const more = total - processes.length;
  return formatTable(titles, rows) + (more > 0 ? `\nand ${more} more` : "");
}
