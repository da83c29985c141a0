import type { Packing } from "@strata/controller/domain/autoscale/l2/bins";
import { findObstacle } from "@strata/controller/domain/obstacle";
import {
  type Candidate,
  schedule,
  type SchedulingOptions,
  sizeOf,
  toBin,
  type WaitingProcess,
} from "@strata/controller/domain/schedule";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import {
  aNode,
  anyNodes,
  anyPacking,
  anyWaiting,
  aPacking,
  fill,
  OVERCOMMIT,
  someWaiting,
  zones,
} from "./support.ts";

/** The even nodes have image `one`. */
const holdersOf: SchedulingOptions["holdersOf"] = (_partition, image) =>
  image === "one"
    ? { bytesOn: new Map(["n-0", "n-2", "n-4"].map((id) => [id, 7])), most: 7 }
    : undefined;

const by = (packing: Packing): SchedulingOptions => ({
  cpuOvercommit: OVERCOMMIT,
  packingOf: () => packing,
  holdersOf,
});

/** How many of the subscription are on the node. */
function own({ held }: Candidate, subscription: string): number {
  return held.filter((one) => one.subscription === subscription).length;
}

/** The rules once more, as plainly as can be: whether the node as it is takes the process. */
function couldTake(
  node: Candidate,
  process: WaitingProcess,
  { packing, nodes }: { readonly packing: Packing; readonly nodes: readonly Candidate[] },
): boolean {
  const { rule = {}, limits, hostPorts, subscription } = process;
  const isFor = (other: Candidate): boolean =>
    (rule.nodeId ?? other.id) === other.id &&
    (rule.architectures?.includes(other.architecture ?? "") ?? true) &&
    (rule.zones?.includes(other.zone ?? "") ?? true) &&
    Object.entries(rule.labels ?? {}).every(([name, value]) => other.labels?.[name] === value);
  if (node.closed !== undefined || !isFor(node)) return false;
  const used = (of: (size: ReturnType<typeof sizeOf>) => number): number =>
    node.held.reduce((sum, { size, count }) => sum + count * of(size), 0);
  const { capacity } = node;
  if (limits.cpuMaxMillis > capacity.cpuMillis) return false;
  if (used((size) => size.cpuMillis) + limits.cpuMaxMillis > capacity.cpuMillis * OVERCOMMIT)
    return false;
  if (used((size) => size.memoryBytes) + limits.memoryMaxBytes > capacity.memoryBytes) return false;
  if (used((size) => size.pids) + limits.pidsMax > capacity.pids) return false;
  const taken = new Set(node.held.flatMap(({ hostPorts: ports = [] }) => ports));
  if (hostPorts.some((port) => taken.has(port))) return false;
  const most = packing.exclusive ? 1 : (packing.maxPerNode ?? Infinity);
  if (node.held.length >= most) return false;
  const apart = rule.apart ?? packing.apart;
  const count = own(node, subscription);
  if (count >= (rule.maxPerNode ?? Infinity)) return false;
  if (apart.nodes === "require" && count > 0) return false;
  if (apart.zones !== "require") return true;
  const inZone = new Map<string | null, number>(
    zones.filter((zone) => rule.zones?.includes(zone) ?? true).map((zone) => [zone, 0]),
  );
  const open = nodes.filter(({ closed }) => closed === undefined);
  for (const { zone } of open.filter(isFor)) inZone.set(zone, 0);
  for (const other of open) {
    const before = inZone.get(other.zone);
    if (before !== undefined) inZone.set(other.zone, before + own(other, subscription));
  }
  return (inZone.get(node.zone) ?? 0) === Math.min(...inZone.values());
}

suite("placement", (test) => {
  test("each process goes where it may be at its turn, and one that goes nowhere could go nowhere", () => {
    fc.assert(
      fc.property(anyWaiting, anyNodes, anyPacking, (waiting, nodes, packing) => {
        const { placed, deferred, unplaced } = schedule(waiting, nodes, by(packing));
        assert.equal(deferred, []);
        const ids = [...placed, ...unplaced].map(({ processId }) => processId);
        assert.is(new Set(ids).size, waiting.length);
        assert.is(ids.length, waiting.length);
        let now = nodes;
        for (const one of placed) {
          const node = now.find(({ id }) => id === one.nodeId);
          const process = waiting.find(({ id }) => id === one.processId);
          assert.ok(node !== undefined && process !== undefined);
          assert.ok(couldTake(node, process, { packing, nodes: now }), one.processId);
          now = fill(now, waiting, [one]);
        }
        for (const { processId } of unplaced) {
          const process = waiting.find(({ id }) => id === processId);
          const takers = now.filter(
            (node) => process !== undefined && couldTake(node, process, { packing, nodes: now }),
          );
          assert.equal(takers, [], processId);
        }
      }),
      { numRuns: 400 },
    );
  });

  test("names an obstacle exactly where a node does not take the process", () => {
    fc.assert(
      fc.property(anyWaiting, anyNodes, anyPacking, (waiting, nodes, packing) => {
        const bins = nodes.map((node) => toBin(node, OVERCOMMIT));
        const open = bins.filter((_, index) => nodes[index]?.closed === undefined);
        for (const process of waiting) {
          nodes.forEach((node, index) => {
            const bin = bins[index];
            if (bin === undefined) return;
            const wanted = { ...process, size: sizeOf(process.limits) };
            const obstacle = findObstacle({ bin, node, packing, open }, wanted);
            const could = couldTake(node, process, { packing, nodes });
            assert.is(
              obstacle === undefined,
              could,
              `${process.id} on ${node.id}: ${obstacle?.text}`,
            );
          });
        }
      }),
      { numRuns: 300 },
    );
  });

  test("is the same whatever the order of its input, and changes nothing the second time", () => {
    fc.assert(
      fc.property(anyWaiting, anyNodes, anyPacking, (waiting, nodes, packing) => {
        const sorted = ({ placed }: ReturnType<typeof schedule>): readonly string[] =>
          placed.map((one) => JSON.stringify(one)).toSorted();
        const first = schedule(waiting, nodes, by(packing));
        const turned = schedule(waiting.toReversed(), nodes.toReversed(), by(packing));
        assert.equal(sorted(turned), sorted(first));
        const left = new Set(first.unplaced.map(({ processId }) => processId));
        const again = schedule(
          waiting.filter(({ id }) => left.has(id)),
          fill(nodes, waiting, first.placed),
          by(packing),
        );
        assert.equal(again.placed, []);
      }),
      { numRuns: 200 },
    );
  });

  test("a limit of starts holds some back and moves none to another node", () => {
    fc.assert(
      fc.property(anyWaiting, anyNodes, anyPacking, (waiting, nodes, packing) => {
        const startsAtOnce = 1 + (waiting.length % 3);
        const free = schedule(waiting, nodes, by(packing));
        const held = schedule(waiting, nodes, by({ ...packing, startsAtOnce }));
        const nodeOf = new Map(free.placed.map(({ processId, nodeId }) => [processId, nodeId]));
        for (const { processId, nodeId } of held.placed) assert.is(nodeId, nodeOf.get(processId));
        assert.equal(
          [...held.placed.map(({ processId }) => processId), ...held.deferred].toSorted(),
          [...nodeOf.keys()].toSorted(),
        );
        for (const { id, starting } of nodes) {
          const here = held.placed.filter(({ nodeId }) => nodeId === id).length;
          const wanted = free.placed.filter(({ nodeId }) => nodeId === id).length;
          assert.is(here, Math.min(wanted, Math.max(0, startsAtOnce - starting)));
        }
      }),
      { numRuns: 200 },
    );
  });

  test("of nodes that are equal the one with most of the layers has it", () => {
    const bytes = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 6 });
    const strategies = fc.constantFrom("pack", "spread");
    fc.assert(
      fc.property(bytes, strategies, fc.integer({ min: 1, max: 30 }), (list, strategy, count) => {
        const nodes = list.map((_, index) => aNode(`n-${index}`));
        const bytesOn = new Map(list.map((amount, index) => [`n-${index}`, amount]));
        const waiting = someWaiting(count, { image: "one" });
        const { placed } = schedule(waiting, nodes, {
          ...by(aPacking({ strategy })),
          holdersOf: () => ({ bytesOn, most: Math.max(...list) }),
        });
        let now: readonly Candidate[] = nodes;
        for (const one of placed) {
          const there = now.find(({ id }) => id === one.nodeId);
          const equals = now.filter(({ held }) => held.length === there?.held.length);
          const most = Math.max(...equals.map(({ id }) => bytesOn.get(id) ?? 0));
          assert.is(one.layerBytes, most);
          assert.is(bytesOn.get(one.nodeId), most);
          now = fill(now, waiting, [one]);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("layers decide between equal nodes alone: as many nodes are used as without them", () => {
    const memories = fc.array(fc.constantFrom(100, 250, 400), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(memories, (list) => {
        const nodes = Array.from({ length: 6 }, (_, index) => aNode(`n-${index}`));
        const waiting = list.map((memoryMaxBytes, index): WaitingProcess => ({
          id: `p-${index}`,
          partition: "web",
          subscription: `s-${memoryMaxBytes}`,
          limits: { memoryMaxBytes, cpuMaxMillis: 1, pidsMax: 1 },
          hostPorts: [],
          image: memoryMaxBytes === 250 ? "one" : "two",
        }));
        const used = (options: SchedulingOptions): readonly number[] => {
          const { placed } = schedule(waiting, nodes, options);
          return fill(nodes, waiting, placed)
            .map(({ held }) => held.reduce((sum, { size }) => sum + size.memoryBytes, 0))
            .toSorted((a, b) => a - b);
        };
        const { holdersOf: _none, ...without } = by(aPacking());
        assert.equal(used(by(aPacking())), used(without));
      }),
    );
  });
});
