/** A machine made by a provider becomes a node by itself: lxd or QEMU as the cloud, controller and agent as they ship. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { type FirstBoot, planJoin } from "@strata/controller/providers/first-boot";
import { createIncusProvider } from "@strata/controller/providers/incus";
import { IncusSettings } from "@strata/controller/providers/incus-settings";
import type { Provider, VmId, VmRequest } from "@strata/controller/providers/provider";
import { createQemuProvider } from "@strata/controller/providers/qemu";
import { QemuSettings } from "@strata/controller/providers/qemu-settings";
import { JoinTokenCreated, listOf, Node } from "@strata/protocol/api/resources";

import { waitFor } from "../../../scripts/instance/wait.ts";
import { aBridge } from "../../support/machines/bridge.ts";
import { requireDebianImage } from "../../support/machines/debian-image.ts";
import { anLxd, IMAGE_ALIAS } from "../../support/machines/lxd.ts";
import { aVmRequest } from "../../support/machines/vm-request.ts";
import {
  aRunningInstance,
  pageOf,
  type RunningInstance,
  urlOf,
} from "../../support/running-instance.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const never = new AbortController().signal;
const MiB = 1024 ** 2;
/** Of one step; an emulated machine on a busy host takes minutes to boot. */
const STEP_MS = 400_000;

suite("a VM that a provider made", (test) => {
  for (const firstBoot of ["exec", "cloud-init"]) {
    test(
      `joins from a container of lxd by its first boot (${firstBoot}) and serves cartridges`,
      async () => {
        await using lxd = await anLxd();
        await using strata = await aRunningInstance();
        const settings = IncusSettings.parse({ ...lxd.settings, firstBoot });
        const provider = createIncusProvider({ controllerId: "controller-a", settings });
        const request = await aJoiningRequest(strata, lxd.bridgeAddress);
        const { id } = await provider.create({ ...request, image: IMAGE_ALIAS }, never);
        const logs = "cat /var/log/strata-first-boot.log /var/log/cloud-init-output.log; true";
        await servesOn(request.clientToken, strata, () => lxd.run(id, logs));
        await hidesToken(request.firstBoot, (script) => lxd.run(id, script));
        await provider.delete(id, never);
      },
      { timeoutMs: 500_000 },
    );
  }

  test(
    "joins from a virtual machine of QEMU, on cgroup v2, and serves cartridges",
    async () => {
      await using bridge = aBridge();
      await using strata = await aRunningInstance();
      await using folder = aTemporaryDirectory();
      const provider = aQemuProvider(join(folder.path, "vms"), bridge.name);
      const request = await aJoiningRequest(strata, bridge.address);
      const { id } = await provider.create(request, never);
      await using _ = { [Symbol.asyncDispose]: () => provider.delete(id, never) };
      await servesOn(request.clientToken, strata, () => consoleOf(folder.path, id));
    },
    { timeoutMs: 580_000 },
  );
});

function aQemuProvider(folder: string, bridge: string): Provider {
  const { diskFile: disk, kernelFile: kernel, initrdFile: initrd } = requireDebianImage();
  const images = { "debian-12": { disk, format: "raw", kernel, initrd } };
  const settings = QemuSettings.parse({ kind: "qemu", images, bridge, stopGrace: "1s" });
  return createQemuProvider({ controllerId: "controller-a", settings, folder });
}

async function aJoiningRequest(
  { instance, call, mustCall }: RunningInstance,
  hostAddress: string,
): Promise<VmRequest> {
  await mustCall("PUT", "/v1/partitions/rented", {});
  const created = await mustCall("POST", "/v1/join-tokens", { partition: "rented" });
  const { text: caPem } = await call("GET", "/ca.pem");
  const { flavor } = aVmRequest();
  return aVmRequest({
    partition: "rented",
    flavor: { ...flavor, cpuMillis: 2000, memoryBytes: 1024 * MiB },
    firstBoot: planJoin({
      controllerUrl: `https://${hostAddress}:${instance.settings["STRATA_PORT"]}`,
      caPem,
      joinToken: JoinTokenCreated.parse(created).token,
    }),
  });
}

/** Waits for the node of this name, and for two processes on it that answer. */
async function servesOn(
  name: string,
  strata: RunningInstance,
  readLog: () => Promise<string>,
): Promise<void> {
  const node = await waitFor(
    async () => (await nodes(strata)).find((one) => one.name === name && one.state === "ready"),
    { timeoutMs: STEP_MS },
  );
  assert.is(node?.partition, "rented", await logOf(node, readLog));
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

async function hidesToken(
  firstBoot: FirstBoot,
  run: (script: string) => Promise<string>,
): Promise<void> {
  const seen = await run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>&1; true");
  const secret = firstBoot.files.at(-1)?.content.split(".")[2] ?? "";
  assert.ok(secret.length > 20 && !seen.includes(secret));
}

/** The end of the VM's console, from QEMU's memory. */
async function consoleOf(folder: string, id: VmId): Promise<string> {
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; <$s>;
    for my $c ('"qmp_capabilities"', '"ringbuf-read", "arguments": {"device": "console", "size": 65536}') {
    print $s "{\\"execute\\": $c}\\n"; $s->flush; while (<$s>) { print; last if /"return"/ } }`;
  const qmp = join(folder, "vms", id, "qmp");
  return (await promisify(execFile)("perl", ["-e", script, qmp])).stdout.replaceAll("\\r\\n", "\n");
}
