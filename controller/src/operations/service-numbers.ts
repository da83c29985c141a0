/** Every subscription has an address of its own from its first PUT on. */
import { ControllerError } from "../errors.ts";
import { listUnnumbered, setServiceNumber, takeServiceNumber } from "../store/service-numbers.ts";
import type { Store, Unit } from "../store/unit.ts";

/** @throws ControllerError TOO_MANY */
export function requireServiceNumber({ sql }: Unit): number {
  const number = takeServiceNumber(sql);
  if (number !== undefined) return number;
  throw new ControllerError("TOO_MANY", "every address of the service network is taken", {
    hint: "delete subscriptions that nobody uses",
  });
}

/** Gives one to each that an older controller made. */
export function numberServices(store: Store): void {
  if (listUnnumbered(store.sql).length === 0) return;
  store.write((unit) => {
    for (const id of listUnnumbered(unit.sql))
      setServiceNumber(unit.sql, id, requireServiceNumber(unit));
  });
}
