/** Rule 14: VMs that never became nodes. */
import type { L2Situation, L2State, NodeView } from "./model.ts";
import { providerFailed } from "./offers.ts";

export type Overdue = { readonly nodeIds: readonly string[]; readonly state: L2State };

/** Gives up nodes whose launch call or join has taken too long, and counts each once against its provider. */
export function giveUpOverdue(situation: L2Situation): Overdue {
  const { policy, offers, nodes, now } = situation;
  const overdue = nodes.filter((node) => isOverdue(node, policy, now));
  let { state } = situation;
  const failed = new Set<string>();
  for (const { id, offer } of overdue) {
    const provider = offers.find(({ key }) => key === offer)?.provider;
    if (provider === undefined || state.givenUp.includes(id)) continue;
    failed.add(provider);
  }
  // Many VMs that fail together are one failure.
  for (const provider of failed) state = providerFailed(state, provider, { policy, now });
  const nodeIds = overdue.map(({ id }) => id);
  return { nodeIds, state: { ...state, givenUp: nodeIds } };
}

function isOverdue(
  { status, requestedAt }: NodeView,
  policy: L2Situation["policy"],
  now: number,
): boolean {
  if (status === "launching") return now - requestedAt >= policy.launchTimeout;
  return status === "booting" && now - requestedAt >= policy.joinTimeout;
}

/** VMs that the provider has and the controller does not know, to be deleted: a lost answer of a launch call, or a
 * deletion that never arrived. Younger ones are spared, since their launch may still be under way.
 *
 * @param vms only those that carry this controller's tag */
export function planSweep(
  vms: readonly { readonly id: string; readonly createdAt: number }[],
  {
    known,
    now,
    graceMs,
  }: { readonly known: ReadonlySet<string>; readonly now: number; readonly graceMs: number },
): readonly string[] {
  return vms
    .filter(({ id, createdAt }) => !known.has(id) && now - createdAt >= graceMs)
    .map(({ id }) => id);
}
