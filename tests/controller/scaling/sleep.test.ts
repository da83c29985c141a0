import { listSubscriptions } from "@strata/controller/store/subscriptions";
import type { Assignment, ProcessReport } from "@strata/protocol/agent/messages";

import type { Answer } from "../../support/controller.ts";
import { aFakeAgent } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aScaling, patient, type Scaling } from "./support.ts";

/** Asleep as soon as nothing was in flight for five seconds. */
const policy = {
  min: 0,
  max: 5,
  idleAfter: "5s",
  sleep: "frozen",
  metrics: [{ kind: "in-flight", target: 10 }],
  stabilisation: { shrink: 0 },
  stableWindow: "1s",
  panic: { window: "1s" },
  sampleInterval: "1s",
  forecast: { enabled: false },
};
const idle = (): { connections: number } => ({ connections: 0 });

type Shown = {
  readonly id: string;
  readonly state: string;
  readonly frozen: boolean;
  readonly node: string | null;
};

async function shown(scaling: Scaling): Promise<readonly Shown[]> {
  return (await scaling.controller.call("GET", "/v1/subscriptions/hi/processes")).body.items;
}

async function message({ controller }: Scaling): Promise<string> {
  return (await controller.call("GET", "/v1/subscriptions/hi")).body.status.message;
}

async function wake({ controller, agent }: Scaling): Promise<Answer> {
  const [subscription] = listSubscriptions(controller.services.store.sql);
  return await controller.call("POST", `/v1/nodes/${agent.nodeId}/wake`, {
    token: agent.credential,
    body: { service: subscription?.id },
  });
}

async function sleepFrozen(changes: object = {}): Promise<Scaling> {
  const scaling = await aScaling({ ...policy, ...changes }, { processes: 1 });
  const path = `/v1/nodes/${scaling.agent.nodeId}/roles`;
  await scaling.controller.call("PUT", path, { body: { roles: ["ingress"] } });
  await scaling.run(12_000, idle);
  return scaling;
}

const told = ({ agent }: Scaling): readonly Assignment[] => [...agent.told.values()];

suite("sleep", (test) => {
  test(
    "the last process is frozen where it is, and a request thaws it without a tick",
    async () => {
      await using scaling = await sleepFrozen();
      const [process, ...others] = await shown(scaling);
      assert.equal(others, []);
      assert.equal([process?.state, process?.frozen], ["running", true]);
      assert.equal(
        told(scaling).map(({ desired, frozen }) => [desired, frozen]),
        [["running", true]],
      );
      assert.match(await message(scaling), /asleep \(frozen\)/);
      assert.is(await scaling.desired(), 0);

      assert.is((await wake(scaling)).status, 204);
      await scaling.agent.poll();
      assert.equal(
        told(scaling).map(({ processId, frozen }) => [processId, frozen]),
        [[process?.id, undefined]],
      );
      assert.is(await scaling.desired(), 1);
      const [decision] = await scaling.decisions();
      assert.match(decision?.reason ?? "", /there is work for a sleeping subscription/);
      await scaling.run(4000, idle);
      assert.is(await scaling.desired(), 1, "level 1 does not send it back to sleep at once");
      await scaling.run(8000, idle);
      assert.is(await scaling.desired(), 0, "but it does after idleAfter");
      assert.equal(
        (await shown(scaling)).map(({ id, frozen }) => [id, frozen]),
        [[process?.id, true]],
      );
    },
    patient,
  );

  test(
    "one that sleeps stopped has no process until a request comes",
    async () => {
      await using scaling = await sleepFrozen({ sleep: "stopped" });
      assert.equal(await shown(scaling), []);
      assert.match(await message(scaling), /asleep \(stopped\)/);
      assert.is((await wake(scaling)).status, 204);
      assert.is((await wake(scaling)).status, 204, "a second request changes nothing");
      scaling.controller.settle();
      await scaling.run(1000, idle);
      assert.equal(
        (await shown(scaling)).map(({ state }) => state),
        ["running"],
      );
    },
    patient,
  );

  test(
    "only a node that is an ingress wakes it",
    async () => {
      await using scaling = await sleepFrozen({ sleep: "stopped" });
      const { controller, agent } = scaling;
      const path = `/v1/nodes/${agent.nodeId}/roles`;
      await controller.call("PUT", path, { body: { roles: [] } });
      const refused = await wake(scaling);
      assert.equal([refused.status, refused.body.code], [403, "FORBIDDEN"]);
      assert.match(refused.body.detail, /role ingress/);
      assert.is(await scaling.desired(), 0);
      await controller.call("PUT", path, { body: { roles: ["ingress"] } });
      assert.is((await wake(scaling)).status, 204);
      assert.is(await scaling.desired(), 1);
    },
    patient,
  );

  test(
    "what a node woke on its own is awake",
    async () => {
      await using scaling = await sleepFrozen();
      await scaling.agent.work((assignment): Partial<ProcessReport> => ({
        ...(assignment.frozen === true && { ready: true, sleep: "woken" }),
      }));
      assert.is(await scaling.desired(), 1);
      await scaling.agent.poll();
      assert.equal(
        told(scaling).map(({ frozen }) => frozen),
        [undefined],
      );
    },
    patient,
  );

  test(
    "a count of 0 that was set by hand is no sleep that a request ends",
    async () => {
      await using scaling = await sleepFrozen();
      await wake(scaling);
      await scaling.run(1000, idle);
      const { controller } = scaling;
      await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 0 } });
      await scaling.run(2000, idle);
      const refused = await wake(scaling);
      assert.equal([refused.status, refused.body.code], [409, "NOT_WAKEABLE"]);
      assert.is(await scaling.desired(), 0);
      // Where the node woke it all the same, it is told anew.
      const before = told(scaling)[0]?.fence ?? 0;
      await scaling.agent.work((): Partial<ProcessReport> => ({ ready: true, sleep: "woken" }));
      await scaling.run(2000, idle);
      const [after] = told(scaling);
      assert.equal([after?.frozen, (after?.fence ?? 0) > before], [true, true]);
    },
    patient,
  );

  test(
    "a roll-out while it is frozen ends with the newest generation frozen",
    async () => {
      await using scaling = await sleepFrozen();
      const { controller } = scaling;
      const [old] = await shown(scaling);
      const put = await controller.call("PUT", "/v1/subscriptions/hi", {
        body: { cartridge: "hello", scalingPolicy: "auto", env: { NEW: "1" } },
      });
      assert.is(put.status, 200);
      await scaling.run(6000, idle);
      const now = await shown(scaling);
      assert.equal(
        now.map(({ frozen }) => frozen),
        [true],
      );
      assert.is.not(now[0]?.id, old?.id);
      assert.is(await scaling.desired(), 0);
    },
    patient,
  );

  test(
    "a node that is drained gives its frozen process to another",
    async () => {
      await using scaling = await sleepFrozen();
      const { controller, agent } = scaling;
      const other = await aFakeAgent(controller, { name: "node-b" });
      await controller.call("POST", `/v1/nodes/${agent.nodeId}/drain`);
      for (let turn = 0; turn < 6; turn += 1) {
        controller.settle();
        await agent.work();
        await other.work();
      }
      const left = await shown(scaling);
      assert.equal(
        left.map(({ frozen }) => frozen),
        [true],
      );
      assert.equal(
        [...other.told.values()].map(({ frozen }) => frozen),
        [true],
      );
    },
    patient,
  );

  test(
    "a sleeping subscription without its frozen process gets one, and deletion leaves none",
    async () => {
      await using scaling = await sleepFrozen();
      const { controller, agent } = scaling;
      const [lost] = await shown(scaling);
      await agent.work(() => ({ state: "failed", ready: false }));
      await scaling.run(15_000, idle);
      const [next] = await shown(scaling);
      assert.is(next?.frozen, true);
      assert.is.not(next?.id, lost?.id);
      await controller.call("DELETE", "/v1/subscriptions/hi");
      await scaling.run(2000, idle);
      await agent.poll();
      assert.equal(told(scaling), []);
    },
    patient,
  );
});
