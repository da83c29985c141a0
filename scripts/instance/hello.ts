import { join } from "node:path";

import { Cartridge, listOf, Process, Subscription } from "@strata/protocol/api/resources";

import { root } from "../root.ts";
import type { Call } from "./api.ts";
import { SetupError } from "./instance.ts";
import { LOCAL_PARTITION } from "./node.ts";
import { runProgram } from "./program.ts";
import type { Context } from "./start-service.ts";
import { environmentOf } from "./tour.ts";
import { waitFor } from "./wait.ts";

export const HELLO = "hello";
const IMAGE = `${HELLO}:latest`;
const NO_PROCESS = "(no process: scaled to 0)";
const BUILD_TIMEOUT_MS = 120_000;
const ANSWER_TIMEOUT_MS = 60_000;

export type Hello = {
  readonly url: string;
  /** Otherwise it was scaled to no process. */
  readonly answers: boolean;
  readonly isChanged: boolean;
};

/** Builds the hello cartridge, pushes it to the store, subscribes to it and waits until it answers. */
export async function runHello({ instance, say }: Context, api: Call): Promise<Hello> {
  await pushImage(instance);
  const before = Cartridge.safeParse(await api("GET", `/v1/cartridges/${HELLO}`));
  const cartridge = Cartridge.parse(
    await api("PUT", `/v1/cartridges/${HELLO}`, { image: IMAGE, partition: LOCAL_PARTITION }),
  );
  say(`cartridge   ${IMAGE} in the store, ${cartridge.digest.slice(0, 19)}`);

  const isNew = (await api("GET", `/v1/subscriptions/${HELLO}`)) === undefined;
  if (isNew) {
    await api("PUT", `/v1/scaling-policies/${HELLO}`, { min: 0, max: 20 });
    // The count of processes is left out: it is 1 at first, and what an operator made of it later.
    await api("PUT", `/v1/subscriptions/${HELLO}`, { cartridge: HELLO, scalingPolicy: HELLO });
  }
  const url = await waitFor(() => findAnswer(api), { timeoutMs: ANSWER_TIMEOUT_MS });
  if (url === undefined) throw await explainSilence(api, environmentOf(instance));
  say(`hello       answers at ${url}`);
  return {
    url,
    answers: url !== NO_PROCESS,
    isChanged: isNew || before.data?.digest !== cartridge.digest,
  };
}

async function pushImage({ settings }: Context["instance"]): Promise<void> {
  const cli = join(root, "cli/src/main.ts");
  const folder = join(root, "examples/hello");
  await runProgram([process.execPath, cli, "cartridge", "build", folder, "--push", "-t", IMAGE], {
    what: "building the hello cartridge",
    remedy: "See the lines above.",
    environment: settings,
    timeoutMs: BUILD_TIMEOUT_MS,
  });
}

/** The address of a process that answers to HTTP; undefined while none does. */
async function findAnswer(api: Call): Promise<string | undefined> {
  const answer = await api("GET", `/v1/subscriptions/${HELLO}/processes`);
  const { items } = listOf(Process).parse(answer);
  const urls = items.flatMap(({ endpoints }) => endpoints.map(({ url }) => url));
  for (const url of urls) if (await answers(url)) return url;
  return items.length === 0 && (await isScaledToNone(api)) ? NO_PROCESS : undefined;
}

async function isScaledToNone(api: Call): Promise<boolean> {
  return Subscription.parse(await api("GET", `/v1/subscriptions/${HELLO}`)).processes === 0;
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false; // Not yet.
  }
}

async function explainSilence(api: Call, environment: string): Promise<SetupError> {
  const { status } = Subscription.parse(await api("GET", `/v1/subscriptions/${HELLO}`));
  const { items } = listOf(Process).parse(await api("GET", `/v1/subscriptions/${HELLO}/processes`));
  const lines = items.map(({ id, state, reason }) => `${id} is ${state}: ${reason?.message ?? ""}`);
  return new SetupError(
    `hello does not answer: ${[status.message, ...lines].join("\n    ")}`,
    `See what it printed: ${environment}./strata logs ${HELLO}`,
  );
}
