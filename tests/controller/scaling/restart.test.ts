import { join } from "node:path";

import { aController, type ControllerOptions } from "../../support/controller.ts";
import { aFakeAgent } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aScaling, patient, queuePolicy, roomy, scalingOf, type Scaling } from "./support.ts";

/** Two lives of one controller share its data. */
const lifeIn = (folder: string): ControllerOptions => ({
  file: join(folder, "strata.db"),
  environment: { STRATA_DATA: folder },
});

const policy = { ...queuePolicy, max: 40, rates: { grow: { processes: 2, percent: 0 } } };

type Step = { readonly from: number; readonly desired: number; readonly reason: string };

/** A jump that takes several steps, each held back by the rate. */
async function jump(scaling: Scaling, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 4) {
    await scaling.post({ queue: 200 });
    await scaling.run(4000);
  }
}

async function changesOf(scaling: Scaling): Promise<readonly Step[]> {
  const changes = await scaling.decisions("changes=true&limit=100");
  return changes.map(({ from, desired, reason }) => ({ from, desired, reason }));
}

suite("a restart of the controller in mid-scale", (test) => {
  test(
    "goes on as if nothing had happened: the same decisions, cooldowns kept",
    async () => {
      await using folder = aTemporaryDirectory();
      await using through = await aScaling(policy);
      await jump(through, 64);
      const expected = await changesOf(through);
      assert.ok(expected.length >= 3);

      const life = lifeIn(folder.path);
      const first = await aScaling(policy, life);
      await jump(first, 32);
      const startMs = first.controller.services.clock.nowMs();
      await first[Symbol.asyncDispose]();

      await using controller = await aController({ ...life, startMs });
      const agent = await aFakeAgent(controller, { capacity: roomy });
      const second = scalingOf(controller, agent);
      await jump(second, 32);
      assert.equal(await changesOf(second), expected);
    },
    patient,
  );

  test(
    "keeps the pause of a count that was set by hand",
    async () => {
      await using folder = aTemporaryDirectory();
      const life = lifeIn(folder.path);
      const first = await aScaling(policy, life);
      const { call } = first.controller;
      await call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 3 } });
      const startMs = first.controller.services.clock.nowMs();
      await first[Symbol.asyncDispose]();
      await using controller = await aController({ ...life, startMs });
      const agent = await aFakeAgent(controller, { capacity: roomy });
      const second = scalingOf(controller, agent);
      await jump(second, 32);
      assert.is(await second.desired(), 3);
      assert.match(
        (await controller.call("GET", "/v1/subscriptions/hi")).body.status.message,
        /hand/,
      );
    },
    patient,
  );
});
