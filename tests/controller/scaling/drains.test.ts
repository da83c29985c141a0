import { assert, suite } from "../../support/suite.ts";
import { aScaling, patient, type Load, type Scaling } from "./support.ts";

/** A queue that asks for as many processes as it is long; shrinks at once. */
const policy = {
  min: 0,
  max: 10,
  idleAfter: 0,
  metrics: [{ kind: "custom", name: "wanted", target: 1 }],
  stabilisation: { shrink: 0 },
  stableWindow: "1s",
  panic: { window: "1s" },
  sampleInterval: "1s",
  rates: { grow: { processes: 10 }, shrink: { processes: 10, period: "1s" } },
  forecast: { enabled: false },
  drainMax: "30s",
};

type Shown = { readonly id: string; readonly state: string; readonly node: string };

async function processesOf(scaling: Scaling): Promise<readonly Shown[]> {
  return (await scaling.controller.call("GET", "/v1/subscriptions/hi/processes")).body.items;
}

/** Posts anew in every second, as metrics grow old. */
async function want(
  scaling: Scaling,
  { count, seconds }: { readonly count: number; readonly seconds: number },
  load: (id: string) => Load,
): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    await scaling.post({ wanted: count });
    await scaling.run(1000, load);
  }
}

const states = (shown: readonly Shown[]): readonly string[] =>
  shown.map(({ state }) => state).toSorted();

suite("drains", (test) => {
  test(
    "an idle process goes at once; one with connections drains, shows it, and goes when they end",
    async () => {
      await using scaling = await aScaling(policy);
      await want(scaling, { count: 3, seconds: 4 }, () => ({}));
      const [busy = "", ...idle] = (await processesOf(scaling)).map(({ id }) => id);
      assert.is(idle.length, 2);
      let open = 4;
      const load = (id: string): Load => ({ connections: id === busy ? open : 0 });
      await want(scaling, { count: 0, seconds: 5 }, load);
      const left = await processesOf(scaling);
      assert.equal(
        left.map(({ id }) => id),
        [busy],
        "the idle ones have gone",
      );
      assert.equal(states(left), ["draining"]);
      assert.is(scaling.agent.told.get(busy)?.desired, "running", "its node has not heard of it");
      open = 0;
      await want(scaling, { count: 0, seconds: 4 }, load);
      assert.equal(await processesOf(scaling), []);
    },
    patient,
  );

  test(
    "a drain ends after drainMax whatever is in flight",
    async () => {
      await using scaling = await aScaling({ ...policy, drainMax: "10s" });
      const load = (): Load => ({ connections: 1 });
      await want(scaling, { count: 1, seconds: 4 }, load);
      await want(scaling, { count: 0, seconds: 6 }, load);
      assert.equal(states(await processesOf(scaling)), ["draining"]);
      await want(scaling, { count: 0, seconds: 12 }, load);
      assert.equal(await processesOf(scaling), []);
    },
    patient,
  );

  test(
    "a grow takes drains back first and starts no others",
    async () => {
      await using scaling = await aScaling(policy);
      const load = (): Load => ({ connections: 2 });
      await want(scaling, { count: 4, seconds: 4 }, load);
      const before = new Set((await processesOf(scaling)).map(({ id }) => id));
      await want(scaling, { count: 1, seconds: 4 }, load);
      const draining = await processesOf(scaling);
      assert.equal(states(draining), ["draining", "draining", "draining", "running"]);
      const { body } = await scaling.controller.call("GET", "/v1/subscriptions/hi");
      assert.is(body.status.ready, 1);
      assert.match(body.status.message, /3 processes are stopping/);
      await want(scaling, { count: 4, seconds: 4 }, load);
      const after = await processesOf(scaling);
      assert.equal(states(after), ["running", "running", "running", "running"]);
      assert.ok(
        after.every(({ id }) => before.has(id)),
        "no process was started",
      );
    },
    patient,
  );

  test(
    "the least loaded go first",
    async () => {
      await using scaling = await aScaling(policy);
      await want(scaling, { count: 3, seconds: 4 }, () => ({}));
      const ids = (await processesOf(scaling)).map(({ id }) => id);
      const load = (id: string): Load => ({ cpuPercent: 30 * (1 + ids.indexOf(id)) });
      await want(scaling, { count: 3, seconds: 2 }, load);
      await want(scaling, { count: 1, seconds: 4 }, load);
      assert.equal(
        (await processesOf(scaling)).map(({ id }) => id),
        ids.slice(2),
      );
    },
    patient,
  );
});
