/** Upgrades of agents: what a report says of one, and whose turn is next. Pure. */
import type { Report } from "@strata/protocol/agent/messages";
import type { UpgradeOrder } from "@strata/protocol/agent/upgrade";
import type { NodeUpgrade } from "@strata/protocol/api/nodes";

/** The new program reports for so long, in one life, until the upgrade counts as complete. */
const SETTLE_MS = 10_000;
/** From the order to its end. Fetching may take ten minutes, the trial one. */
const UPGRADE_MS_MAX = 15 * 60_000;

/** What the node is told; nothing once it is over. */
export function orderOf(upgrade: NodeUpgrade | null): UpgradeOrder | undefined {
  if (upgrade?.state !== "wanted" && upgrade?.state !== "settling") return undefined;
  return { id: upgrade.id, sha256: upgrade.sha256 };
}

type Said = Pick<Report, "upgrade" | "bootId" | "agentVersion">;

/** What a report changes in it; undefined for nothing. Reports of another request change nothing. */
export function judgeUpgrade(
  upgrade: NodeUpgrade | null,
  { upgrade: said, bootId, agentVersion }: Said,
  nowMs: number,
): NodeUpgrade | undefined {
  if (upgrade === null || orderOf(upgrade) === undefined || said?.id !== upgrade.id)
    return undefined;
  switch (said.state) {
    case "working":
      return undefined;
    case "refused":
    case "rolledBack":
      return { ...upgrade, state: said.state, reason: said.reason ?? "the node did not say why" };
    case "installed": {
      const { settling } = upgrade;
      if (settling?.bootId === bootId) {
        const isLong = nowMs - Date.parse(settling.since) >= SETTLE_MS;
        return isLong ? { ...upgrade, state: "complete" } : undefined;
      }
      const since = new Date(nowMs).toISOString();
      return { ...upgrade, state: "settling", version: agentVersion, settling: { since, bootId } };
    }
    default:
      return said.state satisfies never;
  }
}

/** Whether the node has to be told again: it has taken in all else, and does not speak of the upgrade. */
export function isUnheard(
  node: { readonly upgrade: NodeUpgrade | null; readonly assignmentRevision: number },
  { upgrade: said, revision }: Pick<Report, "upgrade" | "revision">,
): boolean {
  const order = orderOf(node.upgrade);
  return order !== undefined && said?.id !== order.id && revision >= node.assignmentRevision;
}

/** A node as the plan sees it. */
export type UpgradingNode = {
  readonly id: string;
  readonly name: string;
  readonly presence: "present" | "away";
  readonly upgrade: NodeUpgrade | null;
};

export type UpgradeStep = {
  readonly nodeId: string;
  /** Null: its turn never comes. */
  readonly upgrade: NodeUpgrade | null;
};

/** Starts the next nodes of each staged upgrade, ends what takes too long, and calls the rest off where one did not
 * succeed. At most one step for each node. */
export function planUpgrades(
  nodes: readonly UpgradingNode[],
  nowMs: number,
): readonly UpgradeStep[] {
  const overdue = nodes.flatMap((node) => endOverdue(node, nowMs));
  const ended = new Map(overdue.map((step) => [step.nodeId, step.upgrade]));
  const now = nodes.flatMap((node) => {
    const upgrade = ended.get(node.id) ?? node.upgrade;
    return upgrade === null || upgrade.stage === null ? [] : [{ ...node, upgrade }];
  });
  const stages = Map.groupBy(now, ({ upgrade }) => upgrade.stage?.id);
  return [...overdue, ...[...stages.values()].flatMap((stage) => planStage(stage, nowMs))];
}

function endOverdue({ id, upgrade }: UpgradingNode, nowMs: number): readonly UpgradeStep[] {
  const isUnderWay = orderOf(upgrade) !== undefined;
  if (upgrade === null || !isUnderWay || nowMs - Date.parse(upgrade.requestedAt) < UPGRADE_MS_MAX)
    return [];
  const reason = `the node did not say how it ended in ${UPGRADE_MS_MAX / 60_000} min`;
  return [{ nodeId: id, upgrade: { ...upgrade, state: "refused", reason } }];
}

type StagedNode = UpgradingNode & { readonly upgrade: NodeUpgrade };

function planStage(nodes: readonly StagedNode[], nowMs: number): readonly UpgradeStep[] {
  const queued = nodes.filter(({ upgrade }) => upgrade.state === "queued");
  const hasFailed = nodes.some(({ upgrade: { state } }) => /^(refused|rolledBack)$/.test(state));
  if (hasFailed) return queued.map(({ id }) => ({ nodeId: id, upgrade: null }));
  const underWay = nodes.filter(({ upgrade }) => orderOf(upgrade) !== undefined).length;
  const [atOnce = 1] = nodes.map(({ upgrade }) => upgrade.stage?.atOnce ?? 1);
  return queued
    .toSorted((left, right) => (left.name < right.name ? -1 : 1))
    .slice(0, Math.max(0, atOnce - underWay))
    .map(({ id, presence, upgrade }) => {
      const requestedAt = new Date(nowMs).toISOString();
      return presence === "present"
        ? { nodeId: id, upgrade: { ...upgrade, state: "wanted", requestedAt } }
        : { nodeId: id, upgrade: { ...upgrade, state: "refused", reason: "the node is away" } };
    });
}
