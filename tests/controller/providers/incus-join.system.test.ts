/** A container of lxd becomes a node by itself: controller and agent as they ship. */
import type { FirstBoot } from "@strata/controller/providers/first-boot";
import { createIncusProvider } from "@strata/controller/providers/incus";
import { IncusSettings } from "@strata/controller/providers/incus-settings";

import { anLxd, IMAGE_ALIAS } from "../../support/machines/lxd.ts";
import { aRunningInstance } from "../../support/running-instance.ts";
import { assert, suite } from "../../support/suite.ts";
import { aJoiningRequest, servesOn } from "./joining.ts";

const never = new AbortController().signal;

suite("a container of lxd", (test) => {
  for (const firstBoot of ["exec", "cloud-init"]) {
    test(
      `joins by its first boot (${firstBoot}) and serves cartridges`,
      async () => {
        await using lxd = await anLxd();
        await using strata = await aRunningInstance();
        const settings = IncusSettings.parse({ ...lxd.settings, firstBoot });
        const provider = createIncusProvider({ controllerId: "controller-a", settings });
        const request = await aJoiningRequest(strata, lxd.bridgeAddress, 1000);
        const { id } = await provider.create({ ...request, image: IMAGE_ALIAS }, never);
        const logs = "cat /var/log/strata-first-boot.log /var/log/cloud-init-output.log; true";
        await servesOn(request, strata, () => lxd.run(id, logs));
        await hidesToken(request.firstBoot, (script) => lxd.run(id, script));
        await provider.delete(id, never);
      },
      { timeoutMs: 500_000 },
    );
  }
});

async function hidesToken(
  firstBoot: FirstBoot,
  run: (script: string) => Promise<string>,
): Promise<void> {
  const seen = await run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>&1; true");
  const secret = firstBoot.files.at(-1)?.content.split(".")[2] ?? "";
  assert.ok(secret.length > 20 && !seen.includes(secret));
}
