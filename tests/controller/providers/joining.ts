/** How a machine that a provider makes becomes a node: what it is told, and what shows that it is one. */
import { planJoin } from "@strata/controller/providers/first-boot";
import type { VmRequest } from "@strata/controller/providers/provider";
import { JoinTokenCreated, listOf, Node } from "@strata/protocol/api/resources";

import { waitFor } from "../../../scripts/instance/wait.ts";
import { aVmRequest } from "../../support/machines/vm-request.ts";
import { pageOf, type RunningInstance, urlOf } from "../../support/running-instance.ts";
import { assert } from "../../support/suite.ts";

/** Of one step; an emulated machine on a busy host takes minutes to boot. */
const STEP_MS = 700_000;

/** A request for a machine of the partition `rented`, whose first boot joins it to this controller. */
export async function aJoiningRequest(
  { instance, call, mustCall }: RunningInstance,
  hostAddress: string,
  cpuMillis: number,
): Promise<VmRequest> {
  await mustCall("PUT", "/v1/partitions/rented", {});
  const created = await mustCall("POST", "/v1/join-tokens", { partition: "rented" });
  const { text: caPem } = await call("GET", "/ca.pem");
  const { flavor } = aVmRequest();
  return aVmRequest({
    partition: "rented",
    flavor: { ...flavor, cpuMillis, memoryBytes: 1024 ** 3 },
    firstBoot: planJoin({
      controllerUrl: `https://${hostAddress}:${instance.settings["STRATA_PORT"]}`,
      caPem,
      joinToken: JoinTokenCreated.parse(created).token,
    }),
  });
}

/** Waits for the machine to be a node of its flavor's size, and for two processes on it that answer. */
export async function servesOn(
  { clientToken: name, flavor }: VmRequest,
  strata: RunningInstance,
  readLog: () => Promise<string>,
): Promise<void> {
  const node = await waitFor(
    async () => (await nodes(strata)).find((one) => one.name === name && one.state === "ready"),
    { timeoutMs: STEP_MS },
  );
  assert.is(node?.partition, "rented", await logOf(node, readLog));
  const { cpuMillis, memoryBytes } = node?.capacity ?? { cpuMillis: 0, memoryBytes: 0 };
  assert.is(cpuMillis, flavor.cpuMillis);
  assert.ok(memoryBytes <= flavor.memoryBytes && memoryBytes > flavor.memoryBytes / 2);
  const wanted = { cartridge: "hello", partition: "rented", processes: 2 };
  await strata.mustCall("PUT", "/v1/subscriptions/away", wanted);
  const ready = await waitFor(
    async () => {
      const all = await strata.processes("away");
      return all.length === 2 && all.every((one) => one.ready) ? all : undefined;
    },
    { timeoutMs: STEP_MS },
  );
  assert.is(ready?.length, 2, JSON.stringify(await strata.processes("away")));
  for (const process of ready ?? []) {
    assert.is(process.node, name);
    assert.match(await pageOf(urlOf(process)), process.id);
  }
}

async function nodes({ mustCall }: RunningInstance): Promise<readonly Node[]> {
  return listOf(Node).parse(await mustCall("GET", "/v1/nodes")).items;
}

/** What the machine's first boot had to say, when there is no node. */
async function logOf(node: Node | undefined, readLog: () => Promise<string>): Promise<string> {
  return node === undefined ? `no node came up:\n${await readLog()}` : "";
}
