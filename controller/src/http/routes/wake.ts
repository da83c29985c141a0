/** A request came for a subscription that sleeps. See protocol/agent/network.ts; docs/reference/sleep.md has the rest. */
import type { Report } from "@strata/protocol/agent/messages";
import { WakeRequest } from "@strata/protocol/agent/network";
import { z } from "zod";

import { ControllerError } from "../../errors.ts";
import { wakeSubscription } from "../../loops/wake.ts";
import { wakeProcesses } from "../../operations/freeze.ts";
import { listProcessesOfNode } from "../../store/processes.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ id: z.string().max(100) });

export function addWakeRoute(router: Router, services: Services): void {
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/wake",
    access: "node",
    summary: "Wakes a subscription: a request for it waits at the node.",
    params: Params,
    body: WakeRequest,
    answers: { 204: { description: "It has a process that runs, is thawed, or is started." } },
    handle: ({ body: { service }, c }) => {
      services.epochs.requireConfirmed();
      wake(services, service);
      return c.body(null, 204);
    },
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

function wake({ store, usage, external, clock, reconcileSoon }: Services, id: string): void {
  const { nowMs } = clock;
  wakeSubscription(
    { store, usage, external: external.readings, nowMs, onChange: reconcileSoon },
    id,
  );
}
