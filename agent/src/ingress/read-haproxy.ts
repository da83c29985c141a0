/** What HAProxy says of itself. Pure. */
import type { ActualServer, ActualServers } from "./plan-changes.ts";

export type Workers = {
  readonly master: number;
  /** Undefined when the last configuration could not be loaded and nothing serves. */
  readonly current: number | undefined;
  /** Of configurations before: they finish what they have. */
  readonly old: readonly number[];
};

/** `show proc` of the master; undefined when it says something else. */
export function parseWorkers(text: string): Workers | undefined {
  const pids: Record<"master" | "worker" | "old", number[]> = { master: [], worker: [], old: [] };
  let isOld = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) isOld = line.startsWith("# old");
    const [, pid, type] = /^(\d+)\s+(master|worker)\s/.exec(line) ?? [];
    if (pid === undefined) continue;
    pids[type === "master" ? "master" : isOld ? "old" : "worker"].push(Number(pid));
  }
  const [master] = pids.master;
  return master === undefined ? undefined : { master, current: pids.worker[0], old: pids.old };
}

/** The id of its configuration, from `show info`. */
export function parseConfigId(text: string): string | undefined {
  return /^description: strata-([0-9a-f]+)$/m.exec(text)?.[1];
}

/** Flags of a server that takes nothing new (management.txt, "show servers state", srv_admin_state): forced or inherited
 * maintenance and drain. One that was disabled in the configuration and made ready since keeps only another flag. */
const RESTS = 0x01 | 0x02 | 0x08 | 0x10 | 0x20;

/** All servers but the waker, from `show servers state`. */
export function parseServers(text: string): ActualServers {
  const backends = new Map<string, Map<string, ActualServer>>();
  for (const line of text.split("\n")) {
    const columns = line.split(" ");
    const [, backend = "", , name = "", address = "", , flags, weight] = columns;
    if (!backend.startsWith("r.") || columns.length < 19 || address === "-") continue;
    const servers = backends.get(backend) ?? new Map<string, ActualServer>();
    backends.set(backend, servers);
    servers.set(name, {
      address,
      port: Number(columns[18]),
      weight: Number(weight),
      takesNew: (Number(flags) & RESTS) === 0,
    });
  }
  return backends;
}

/** One line of `show stat` that counts for us. */
export type ServerStat = {
  readonly backend: string;
  /** `BACKEND` of the backend itself. */
  readonly name: string;
  readonly queued: number;
  readonly inFlight: number;
  readonly requests: number;
  readonly errors: number;
  /** Mean over the last 1024 requests. */
  readonly totalMs: number;
};

export function parseStats(text: string): readonly ServerStat[] {
  const [head = "", ...lines] = text.split("\n");
  const names = head.replace(/^# /, "").split(",");
  const at = (name: string): number => names.indexOf(name);
  const [queued, inFlight, requests] = [at("qcur"), at("scur"), at("stot")];
  const [broken, failed, ttime] = [at("eresp"), at("hrsp_5xx"), at("ttime")];
  return lines.flatMap((line) => {
    if (!line.startsWith("r.")) return [];
    const columns = line.split(",");
    const count = (index: number): number => Number(columns[index] ?? "") || 0;
    return {
      backend: columns[0] ?? "",
      name: columns[1] ?? "",
      queued: count(queued),
      inFlight: count(inFlight),
      requests: count(requests),
      // Of routes by port there are no statuses.
      errors: Math.max(count(failed), count(broken)),
      totalMs: count(ttime),
    };
  });
}
