import { setTimeout as delay } from "node:timers/promises";

import type { Process, Subscription } from "@strata/protocol/api/resources";

import type { Invocation } from "../command.ts";
import { CliError } from "../errors.ts";
import { getCount, getFlag, getText } from "../options.ts";
import type { ApiClient } from "./client.ts";
import { getResource, listResources } from "./resource.ts";
import { requireComing } from "./rollout.ts";
import { pathSegment, withQuery } from "./session.ts";

const TIMEOUT_DEFAULT_SECONDS = 300;
const POLL_MS = 500;

/** Asks again and again until it is done. `look` says what is still missing, or nothing.
 * @throws CliError TIMED_OUT after `--timeout` seconds */
export async function waitUntil(
  look: () => Promise<string | undefined>,
  { context, options }: Invocation,
): Promise<void> {
  const seconds = getCount(options, "timeout") ?? TIMEOUT_DEFAULT_SECONDS;
  const end = context.now() + seconds * 1000;
  for (;;) {
    const missing = await look();
    if (missing === undefined) return;
    if (context.now() >= end) {
      throw new CliError("TIMED_OUT", `not done after ${seconds} s: ${missing}`, {
        hint: "it goes on without you; look again later, or wait longer with --timeout",
      });
    }
    await delay(POLL_MS, undefined, { signal: context.signal });
  }
}

/** With `--wait`, returns when as many processes as wished are ready and no older ones are left.
 * @throws CliError TIMED_OUT, ROLLOUT_FAILED */
export async function waitForSubscription(
  client: ApiClient,
  alias: string,
  invocation: Invocation,
): Promise<void> {
  if (!getFlag(invocation.options, "wait")) return;
  const tenant = getText(invocation.options, "tenant");
  const path = `/v1/subscriptions/${pathSegment(alias)}`;
  let awaited: number | undefined;
  await waitUntil(async () => {
    const subscription = await getResource<Subscription>(client, withQuery(path, { tenant }));
    awaited ??= subscription.generation;
    await requireComing(client, subscription, awaited);
    const processes = await listResources<Process>(
      client,
      withQuery(`${path}/processes`, { tenant }),
    );
    return whatIsMissing(subscription, processes);
  }, invocation);
}

/** What a subscription still lacks, in words. Its own status is not asked alone: right after a restart every old
 * process is still ready. */
function whatIsMissing(
  { generation, processes: wished, status }: Subscription,
  processes: readonly Process[],
): string | undefined {
  const ready = processes.filter((process) => process.ready && process.generation === generation);
  const others = processes.length - ready.length;
  if (ready.length === wished && others === 0) return undefined;
  return (
    status.message ?? `${ready.length} of ${wished} processes are ready, ${others} others are left`
  );
}
