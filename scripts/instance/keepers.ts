import type { Instance } from "./instance.ts";
import type { Keeper } from "./keeper.ts";
import { createSupervisedKeeper } from "./supervised.ts";
import { createSystemdKeeper, isSystemdRunning } from "./systemd.ts";

export function createKeeper(instance: Instance): Keeper {
  return isSystemdRunning() ? createSystemdKeeper(instance) : createSupervisedKeeper(instance);
}
