/** What ingress nodes have carried out: who may be stopped, because nothing leads to him any more. */
import type { NetworkReport } from "@strata/protocol/agent/network";

type Acknowledgement = {
  readonly revision: number;
  /** Requests under way at each process that has any. */
  readonly inFlight: ReadonlyMap<string, number>;
};

export type AckBook = {
  /** What came of an older table than this controller's says nothing about it. */
  readonly take: (nodeId: string, report: NetworkReport) => void;
  readonly forget: (nodeId: string) => void;
  /** Whether each of the nodes has carried out `revision`, and has no request under way at the process, if one is named.
   * A node that has said nothing yet has not. */
  readonly isDone: (
    nodeIds: readonly string[],
    awaited: { readonly processId?: string; readonly revision: number },
  ) => boolean;
  /** Whether the node has ever said anything. */
  readonly hasHeard: (nodeId: string) => boolean;
};

/** `boot` is the life of this controller, whose revisions count. */
export function createAckBook(boot: string): AckBook {
  const known = new Map<string, Acknowledgement>();
  return {
    take: (nodeId, report) => {
      if (report.boot !== boot) return;
      known.set(nodeId, {
        revision: report.revision,
        inFlight: new Map(
          report.endpoints
            .filter(({ inFlight }) => inFlight > 0)
            .map(({ processId, inFlight }) => [processId, inFlight]),
        ),
      });
    },
    forget: (nodeId) => void known.delete(nodeId),
    hasHeard: (nodeId) => known.has(nodeId),
    isDone: (nodeIds, { processId, revision }) =>
      nodeIds.every((nodeId) => {
        const said = known.get(nodeId);
        if (said === undefined || said.revision < revision) return false;
        return processId === undefined || !said.inFlight.has(processId);
      }),
  };
}
