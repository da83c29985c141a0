/** Processes of subscriptions that sleep. */
import { listProcessesOfSubscription, type ProcessRow, updateProcess } from "../store/processes.ts";
import type { Unit } from "../store/unit.ts";

/** Its node hears of it when the process is to be frozen, and when it no longer is. */
export function setFreeze(unit: Unit, row: ProcessRow, freeze: ProcessRow["freeze"]): void {
  const isHeard = (freeze === "ordered") !== (row.freeze === "ordered");
  updateProcess(unit.sql, row.id, {
    freeze,
    ...(isHeard &&
      row.nodeId !== null && {
        fence: row.fence + 1,
        decidedRevision: unit.touchNode(row.nodeId),
      }),
  });
}

/** All of them, at once: somebody waits for it. */
export function wakeProcesses(unit: Unit, subscriptionId: string): void {
  for (const row of listProcessesOfSubscription(unit.sql, subscriptionId))
    if (row.freeze !== null) setFreeze(unit, row, null);
}
