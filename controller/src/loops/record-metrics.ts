/** Brings what agents report into the history, every 10 s. */
import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import type { ProcessTraffic, TrafficBook } from "../domain/network/traffic-book.ts";
import { fine } from "../history/chunk.ts";
import type { SeriesKey } from "../history/file.ts";
import type { History, Reading } from "../history/history.ts";
import { addToGroup, emptyGroup, type Values, valuesOf } from "../history/readings.ts";
import { countColumn, processMetrics } from "../history/series.ts";
import type { Sql } from "../store/database.ts";
import { listNodes } from "../store/nodes.ts";
import { listProcessOwners } from "../store/process-owners.ts";
import { readSubscriptionCounts } from "./subscription-counts.ts";

export type RecordMetricsOptions = {
  readonly sql: Sql;
  readonly history: History;
  /** The newest sample of each process, by node. */
  readonly samples: ReadonlyMap<string, ReadonlyMap<string, ProcessMetrics>>;
  /** What goes through the ingress nodes. */
  readonly traffic: Pick<TrafficBook, "ofProcess" | "ofService">;
  readonly beatIntervalMs: () => number;
  readonly nowMs: () => number;
};

/** A process whose agent says nothing new is taken to use what it used, for so long and so many beats. */
const HELD_MS_MIN = 60_000;
const HELD_BEATS = 3;

/** What is known of a process between two ticks. */
type Known = {
  readonly sample: ProcessMetrics;
  readonly values: Values;
  /** When the sample came. */
  readonly atMs: number;
  /** Not too long ago. */
  readonly isHeld: boolean;
};

type Owner = Pick<SeriesKey, "tenant" | "subscription">;

/** One tick, due every second or so. */
export function createRecordMetrics(options: RecordMetricsOptions): () => void {
  const { history, nowMs } = options;
  let known: ReadonlyMap<string, Known> = new Map();
  let owners: ReadonlyMap<string, Owner> = new Map();
  let recordedAt = -Infinity;
  return () => {
    const now = nowMs();
    const at = Math.floor(now / fine.stepMs) * fine.stepMs;
    if (at !== recordedAt) {
      recordedAt = at;
      known = takeSamples(options, known, now);
      owners = findOwners(options.sql, known.keys(), owners);
      history.record(at, readAll(options, { known, owners }));
    }
    history.tend(now);
  };
}

function takeSamples(
  { samples, beatIntervalMs }: RecordMetricsOptions,
  before: ReadonlyMap<string, Known>,
  nowMs: number,
): ReadonlyMap<string, Known> {
  const heldMs = Math.max(HELD_MS_MIN, HELD_BEATS * beatIntervalMs());
  const next = new Map<string, Known>();
  for (const ofNode of samples.values())
    for (const [processId, sample] of ofNode) {
      const last = before.get(processId);
      // The agent's map of a node is made anew with each report, a sample that is the same one came with the last.
      const values = last?.sample === sample ? undefined : valuesOf(last?.sample, sample);
      const found = values === undefined ? last : { sample, values, atMs: nowMs };
      if (found !== undefined)
        next.set(processId, { ...found, isHeld: nowMs - found.atMs <= heldMs });
    }
  return next;
}

/** A process never changes its owner. */
function findOwners(
  sql: Sql,
  ids: Iterable<string>,
  before: ReadonlyMap<string, Owner>,
): ReadonlyMap<string, Owner> {
  const owners = new Map<string, Owner>();
  const unknown: string[] = [];
  for (const id of ids) {
    const owner = before.get(id);
    if (owner === undefined) unknown.push(id);
    else owners.set(id, owner);
  }
  for (const { id, tenant, alias } of listProcessOwners(sql, unknown))
    owners.set(id, { tenant, subscription: alias });
  return owners;
}

type Used = {
  readonly known: ReadonlyMap<string, Known>;
  readonly owners: ReadonlyMap<string, Owner>;
};

function readAll({ sql, samples, traffic }: RecordMetricsOptions, used: Used): readonly Reading[] {
  const readings: Reading[] = [];
  const groups = new Map<string, Reading>();
  const groupOf = (key: SeriesKey): Values => {
    const name = `${key.kind}/${key.tenant}/${key.name}`;
    const group = groups.get(name) ?? { key, values: emptyGroup() };
    groups.set(name, group);
    return group.values;
  };
  for (const { id, name: node } of listNodes(sql)) {
    const ofNode = samples.get(id);
    if (ofNode === undefined) continue;
    const group = groupOf({ kind: "node", tenant: "", name: node, subscription: "", node });
    group[countColumn("processes")] = 0;
    for (const processId of ofNode.keys()) {
      const found = used.known.get(processId);
      const owner = used.owners.get(processId);
      if (found?.isHeld !== true || owner === undefined) continue;
      const values = withTraffic(found.values, traffic.ofProcess(processId));
      readings.push({ key: { kind: "process", name: processId, node, ...owner }, values });
      addToGroup(group, values);
      addToGroup(groupOf(subscriptionKey(owner)), values);
    }
  }
  addCounts({ sql, traffic }, (owner) => groupOf(subscriptionKey(owner)));
  return [...readings, ...groups.values()];
}

function subscriptionKey({ tenant, subscription }: Owner): SeriesKey {
  return { kind: "subscription", tenant, name: subscription, subscription: "", node: "" };
}

const IN_FLIGHT = processMetrics.indexOf("in-flight");

/** Connections stay open between requests. */
function withTraffic(values: Values, traffic: ProcessTraffic | undefined): Values {
  if (traffic?.inFlight === undefined) return values;
  const counted = values.slice();
  counted[IN_FLIGHT] = traffic.inFlight;
  return counted;
}

function addCounts(
  { sql, traffic }: Pick<RecordMetricsOptions, "sql" | "traffic">,
  groupOf: (owner: Owner) => Values,
): void {
  for (const { id, tenant, alias, wished, ready } of readSubscriptionCounts(sql)) {
    const group = groupOf({ tenant, subscription: alias });
    group[countColumn("wished")] = wished;
    group[countColumn("ready")] = ready;
    const seen = traffic.ofService(id);
    group[countColumn("requests")] = seen?.requests ?? NaN;
    group[countColumn("errors")] = seen?.errors ?? NaN;
    group[countColumn("queued")] = seen?.queued ?? NaN;
    group[countColumn("latency")] = seen?.latencyMs ?? NaN;
    const counted = countColumn("processes");
    if (Number.isNaN(group[counted])) group[counted] = 0;
  }
}
