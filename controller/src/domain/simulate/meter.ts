/** What a simulation measures. Times before `countFrom` are run but not counted. */

export type Totals = {
  /** Money: the sum of price times hours of all nodes, from the request to the deletion. */
  cost: number;
  nodeHours: number;
  peakNodes: number;
  /** Requests, or whatever else the load counts. */
  offered: number;
  violated: number;
  violationSeconds: number;
  served: number;
  /** What ready processes could have served. */
  servable: number;
  /** Hours of nodes, weighted by the share that was promised to processes. */
  allocatedNodeHours: number;
  /** Decisions that changed a count. */
  countChanges: number;
  processStarts: number;
  processStops: number;
  /** Starts that only moved a process. */
  moves: number;
  nodesAdded: number;
  nodesRemoved: number;
  decisions: number;
};

export type Meter = {
  readonly totals: Totals;
  readonly countFrom: number;
  /** Adds to a total, if this moment counts. */
  readonly count: (what: keyof Totals, amount: number, now: number) => void;
  /** Hours of the span that count. */
  readonly hours: (from: number, to: number) => number;
};

export function createMeter(countFrom: number): Meter {
  const totals: Totals = {
    cost: 0,
    nodeHours: 0,
    peakNodes: 0,
    offered: 0,
    violated: 0,
    violationSeconds: 0,
    served: 0,
    servable: 0,
    allocatedNodeHours: 0,
    countChanges: 0,
    processStarts: 0,
    processStops: 0,
    moves: 0,
    nodesAdded: 0,
    nodesRemoved: 0,
    decisions: 0,
  };
  return {
    totals,
    countFrom,
    count: (what, amount, now) => {
      if (now >= countFrom) totals[what] += amount;
    },
    hours: (from, to) => Math.max(0, to - Math.max(from, countFrom)) / 3_600_000,
  };
}

export type SimulationReport = Totals & {
  readonly scenario: string;
  readonly simulatedHours: number;
  /** Share of the requests that violated their objective. */
  readonly violatedShare: number;
  /** Share of the ready processes' capacity that was used. */
  readonly utilisation: number;
  /** Share of the nodes that was promised to processes. */
  readonly allocation: number;
  /** Everything that was started or stopped: processes and nodes. */
  readonly changes: number;
};

export function reportOf(
  meter: Meter,
  { name, end }: { readonly name: string; readonly end: number },
): SimulationReport {
  const { totals } = meter;
  const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
  return {
    ...totals,
    scenario: name,
    simulatedHours: meter.hours(meter.countFrom, end),
    violatedShare: share(totals.violated, totals.offered),
    utilisation: share(totals.served, totals.servable),
    allocation: share(totals.allocatedNodeHours, totals.nodeHours),
    changes: totals.processStarts + totals.processStops + totals.nodesAdded + totals.nodesRemoved,
  };
}
