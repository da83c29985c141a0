import { type Instance, SetupError } from "./instance.ts";
import type { Keeper, Service } from "./keeper.ts";
import { indent } from "./program.ts";
import { waitFor } from "./wait.ts";

const READY_TIMEOUT_MS = 30_000;

/** What every step of `up` works with. */
export type Context = {
  readonly instance: Instance;
  readonly keeper: Keeper;
  readonly say: (line: string) => void;
};

export type Started<Value> = { readonly value: Value; readonly state: string };

/** Starts a service and waits until `probe` answers.
 * @throws SetupError with the end of its log when it ends by itself, or does not become ready in time. */
export async function startService<Value>(
  { keeper }: Context,
  service: Service,
  { probe, remedy }: { readonly probe: () => Promise<Value | undefined>; readonly remedy: string },
): Promise<Started<Value>> {
  const state = await keeper.start(service);
  const value = await waitFor(probe, {
    timeoutMs: READY_TIMEOUT_MS,
    giveUp: () => keeper.hasFailed(service.name),
  });
  if (value !== undefined) return { value, state };
  // What cannot work is not left trying in the background: the next `up` begins anew.
  await keeper.stop(service.name);
  const log = indent(await keeper.readLog(service.name));
  throw new SetupError(
    `the ${service.name} did not become ready; the end of its log:\n${log}`,
    `${remedy}\n    The log: ${keeper.logCommand(service.name)}`,
  );
}
