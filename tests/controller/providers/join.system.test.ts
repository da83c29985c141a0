/** A machine made by a provider becomes a node by itself: lxd as the cloud, the controller and agent as they ship. */
import { planJoin } from "@strata/controller/providers/first-boot";
import { createIncusProvider } from "@strata/controller/providers/incus";
import { IncusSettings } from "@strata/controller/providers/incus-settings";
import { JoinTokenCreated, listOf, Node } from "@strata/protocol/api/resources";

import { requireDebianImage } from "../../support/machines/debian-image.ts";
import { aLxdServer, IMAGE_ALIAS, type LxdServer } from "../../support/machines/lxd-server.ts";
import { aVmRequest } from "../../support/machines/vm-request.ts";
import {
  aRunningInstance,
  mustBecome,
  pageOf,
  type RunningInstance,
  urlOf,
} from "../../support/running-instance.ts";
import { assert, suite } from "../../support/suite.ts";

const never = new AbortController().signal;

suite("a VM that a provider made", (test) => {
  for (const firstBoot of ["exec", "cloud-init"]) {
    test(
      `joins by its first boot (${firstBoot}) and serves cartridges`,
      async () => {
        await using server = await aLxdServer(requireDebianImage().tarFile);
        await using strata = await aRunningInstance();
        const provider = aProvider(server, firstBoot);
        const request = aVmRequest({
          image: IMAGE_ALIAS,
          partition: "rented",
          flavor: { ...aVmRequest().flavor, memoryBytes: 1024 ** 3 },
          firstBoot: planJoin(await joinOptions(strata, server)),
        });
        const vm = await provider.create(request, never);
        const node = await nodeOf(strata, vm.clientToken, server);
        assert.is(node.partition, "rented");
        const seen = await server.run(
          vm.id,
          "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>&1; true",
        );
        const secret = request.firstBoot.files.at(-1)?.content.split(".")[2] ?? "";
        assert.ok(secret.length > 20 && !seen.includes(secret));

        await strata.mustCall("PUT", "/v1/subscriptions/away", {
          cartridge: "hello",
          partition: "rented",
          processes: 2,
        });
        for (const process of await strata.readyProcesses("away", 2)) {
          assert.is(process.node, node.name);
          assert.match(await pageOf(urlOf(process)), process.id);
        }
        await provider.delete(vm.id, never);
        await mustBecome("the node is away", async () =>
          (await nodes(strata)).some((other) => other.name === node.name && other.state === "away")
            ? true
            : undefined,
        );
      },
      { timeoutMs: 300_000 },
    );
  }
});

function aProvider(server: LxdServer, firstBoot: string) {
  const settings = IncusSettings.parse({
    kind: "incus",
    endpoint: server.endpoint,
    network: server.network,
    instances: "container",
    privileged: true,
    firstBoot,
  });
  return createIncusProvider({ controllerId: "controller-a", settings });
}

async function joinOptions({ instance, call, mustCall }: RunningInstance, server: LxdServer) {
  await mustCall("PUT", "/v1/partitions/rented", {});
  const created = await mustCall("POST", "/v1/join-tokens", { partition: "rented" });
  const { text: caPem } = await call("GET", "/ca.pem");
  return {
    controllerUrl: `https://${server.bridgeAddress}:${instance.settings["STRATA_PORT"]}`,
    caPem,
    joinToken: JoinTokenCreated.parse(created).token,
  };
}

async function nodes({ mustCall }: RunningInstance): Promise<readonly Node[]> {
  return listOf(Node).parse(await mustCall("GET", "/v1/nodes")).items;
}

/** On failure it says what the machine's first boot had to say. */
async function nodeOf(strata: RunningInstance, name: string, server: LxdServer): Promise<Node> {
  try {
    return await mustBecome(`${name} is a ready node`, async () =>
      (await nodes(strata)).find((node) => node.name === name && node.state === "ready"),
    );
  } catch (cause) {
    const logs =
      "cat /var/log/strata-first-boot.log /var/log/cloud-init-output.log; journalctl -u strata-agent";
    throw new Error(await server.run(name, `${logs}; true`), { cause });
  }
}
