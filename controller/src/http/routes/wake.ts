/** A request came for a subscription that sleeps. See protocol/agent/network.ts; docs/reference/sleep.md has the rest. */
import type { Report } from "@strata/protocol/agent/messages";
import { WakeRequest } from "@strata/protocol/agent/network";
import { z } from "zod";

import { ControllerError } from "../../errors.ts";
import { wakeSubscription } from "../../loops/wake.ts";
import { wakeProcesses } from "../../operations/freeze.ts";
import { isIngressNode } from "../../store/nodes.ts";
import { listProcessesOfNode } from "../../store/processes.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ id: z.string().max(100) });

export function addWakeRoute(router: Router, services: Services): void {
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/wake",
    access: "node",
    summary: "Wakes a subscription: a request for it waits at the node, which is an ingress.",
    params: Params,
    body: WakeRequest,
    answers: { 204: { description: "It has a process that runs, is thawed, or is started." } },
    handle: ({ params: { id: nodeId }, body: { service }, c }) => {
      services.epochs.requireConfirmed();
      requireIngress(services, nodeId);
      wake(services, service);
      return c.body(null, 204);
    },
  });
}

/** Requests come to ingresses alone, so no other node has a reason to wake what is somebody else's.
 * @throws ControllerError FORBIDDEN */
function requireIngress({ store }: Services, nodeId: string): void {
  if (isIngressNode(store.sql, nodeId)) return;
  throw new ControllerError("FORBIDDEN", "only a node with the role ingress wakes subscriptions", {
    hint: `PUT /v1/nodes/${nodeId}/roles gives the node its own roles, PUT /v1/partitions those of all its nodes`,
  });
}

/** A node may have woken a frozen process when nobody could be asked: that is so, and its subscription is awake. */
export function takeWoken(services: Services, nodeId: string, { processes }: Report): void {
  const woken = new Map(
    processes.flatMap(({ processId, sleep, fence }) =>
      sleep === "woken" ? [[processId, fence] as const] : [],
    ),
  );
  if (woken.size === 0 || !services.epochs.isConfirmed()) return;
  for (const { id, fence, freeze, subscriptionId } of listProcessesOfNode(
    services.store.sql,
    nodeId,
  )) {
    if (freeze !== "ordered" || woken.get(id) !== fence) continue;
    try {
      wake(services, subscriptionId);
    } catch (error) {
      if (!(error instanceof ControllerError)) throw error;
      // It may not wake, so it is to be frozen again, and that has to be ordered anew.
      services.store.write((unit) => wakeProcesses(unit, subscriptionId));
      services.reconcileSoon();
    }
  }
}

function wake({ store, usage, external, clock, reconcileNow }: Services, id: string): void {
  const { nowMs } = clock;
  wakeSubscription(
    { store, usage, external: external.readings, nowMs, onChange: reconcileNow },
    id,
  );
}
