/** Why the partition has the nodes that it has, in one sentence. */
import type { Group, L2Action, L2Trace } from "./model.ts";

export function reasonOf(trace: L2Trace, actions: readonly L2Action[], desired: number): string {
  if (trace.frozen) {
    return `keep all as it is: ${trace.nodes.away} nodes are away at once, which is more likely a fault on the controller's side`;
  }
  const done = actionTexts(actions);
  return done.length > 0
    ? `${done.join(", ")}: ${whyActing(trace, actions)}`
    : `keep ${desired}: ${whyKeeping(trace)}`;
}

function actionTexts(actions: readonly L2Action[]): readonly string[] {
  const adds = actions.flatMap((action) =>
    action.kind === "add" ? [`add ${action.count} of ${action.offer}`] : [],
  );
  const ids = (kind: "drain" | "cancel-drain"): string =>
    actions.flatMap((action) => (action.kind === kind ? [action.nodeId] : [])).join(" and ");
  const deleted = actions.flatMap((action) =>
    action.kind === "delete" ? [`delete ${action.nodeId} (${action.why})`] : [],
  );
  return [
    ...adds,
    ...(ids("cancel-drain") === "" ? [] : [`use ${ids("cancel-drain")} again`]),
    ...(ids("drain") === "" ? [] : [`drain ${ids("drain")}`]),
    ...deleted,
  ];
}

function whyActing({ remainder, nodesToAdd }: L2Trace, actions: readonly L2Action[]): string {
  if (remainder.length > 0) return `${groupTexts(remainder)} had no room`;
  if (actions.some(({ kind }) => kind === "cancel-drain")) return "the demand has come back";
  return nodesToAdd > 0 ? "the policy's minimum" : "the demand fits on fewer nodes";
}

function whyKeeping({
  remainder,
  unplaceable,
  barred,
  nodesToAdd,
  backingOff,
  kept,
}: L2Trace): string {
  if (unplaceable.length > 0) {
    const resting = Object.keys(backingOff);
    const because =
      barred.length > 0
        ? `no offer makes nodes that the placement of ${barred.join(" and ")} allows`
        : resting.length > 0
          ? `${resting.join(" and ")} failed and is left alone`
          : "no offer or limit allows more";
    return `${groupTexts(unplaceable)} have no room, but ${because}`;
  }
  if (nodesToAdd > 0)
    return `${groupTexts(remainder)} need ${nodesToAdd} more, which are gathered for one request`;
  return kept ?? "everything has room";
}

function groupTexts(groups: readonly Group[]): string {
  return groups.map(({ subscription, count }) => `${count} of ${subscription}`).join(", ");
}
