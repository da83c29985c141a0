import { readFileSync } from "node:fs";
import { join } from "node:path";

import { createHaproxy } from "@strata/agent/ingress/haproxy";
import { ingressPaths } from "@strata/agent/ingress/ingress-paths";

import { bringDown } from "../../scripts/instance/bring-down.ts";
import { get } from "../agent/ingress/ask.ts";
import { aRunningInstance, type RunningInstance } from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

/** Who answered each of so many requests, or the status of one that was not answered. */
async function whoAnswers(port: number, host: string, requests: number): Promise<Set<string>> {
  const names = new Set<string>();
  for (let index = 0; index < requests; index += 1) {
    const { status, body } = await get(port, host);
    names.add(status === 200 ? (body.trim().split(" ").at(-1) ?? "") : String(status));
  }
  return names;
}

/** Asks until just these answer. */
async function untilAnswers(
  port: number,
  host: string,
  wanted: ReadonlySet<string>,
): Promise<void> {
  const names = await whoAnswers(port, host, 8);
  if (names.symmetricDifference(wanted).size > 0) await untilAnswers(port, host, wanted);
}

function portOf({ instance }: RunningInstance): number {
  return Number(instance.settings["STRATA_INGRESS_HTTP"]);
}

suite("the ingress of an installation", (test) => {
  test(
    "leads a name to all processes, follows them, a route of a tenant and the end of all",
    async () => {
      await using running = await aRunningInstance();
      const { instance, mustCall, readyProcesses } = running;
      const port = portOf(running);
      const host = "hello.default.localhost";
      const scale = (processes: number): Promise<unknown> =>
        mustCall("POST", "/v1/subscriptions/hello/scale", { processes });

      await scale(3);
      const three = await readyProcesses("hello", 3);
      await untilAnswers(port, host, new Set(three.map(({ id }) => id)));

      await mustCall("PUT", "/v1/routes/shop", {
        hosts: ["shop.test"],
        backends: [{ subscription: "hello" }],
      });
      const untilRouted = async (): Promise<void> => {
        if ((await get(port, "shop.test")).status !== 200) await untilRouted();
      };
      await untilRouted();
      assert.is((await get(port, "nobody.test")).status, 404);

      await scale(1);
      const [one] = await readyProcesses("hello", 1);
      await untilAnswers(port, host, new Set([one?.id ?? ""]));

      const folder = join(instance.run, "agent/ingress");
      const paths = ingressPaths(folder, join(instance.data, "agent"));
      const lines = readFileSync(paths.accessLog, "utf8").split("\n");
      assert.ok(lines.some((line) => line.includes('"host":"shop.test"')));
      assert.ok((await createHaproxy(paths).find()) !== undefined);
      await bringDown(instance, { purge: false, say: () => undefined });
      assert.is(await createHaproxy(paths).find(), undefined);
    },
    { timeoutMs: 240_000 },
  );
});
