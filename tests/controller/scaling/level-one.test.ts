import { assert, suite } from "../../support/suite.ts";
import { aScaling, patient, put, queuePolicy } from "./support.ts";

suite("level 1 at work", (test) => {
  test(
    "grows on a posted metric at once, and says why",
    async () => {
      await using scaling = await aScaling(queuePolicy);
      await scaling.post({ queue: 8 });
      await scaling.run(10_000);
      assert.is(await scaling.desired(), 1);
      const answer = await scaling.post({ queue: 200 });
      assert.is(answer.status, 200);
      assert.is(answer.body.items[0].value, 200);
      await scaling.run(500);
      assert.is(await scaling.desired(), 5);
      const [newest] = await scaling.decisions("changes=true&limit=1");
      assert.is(newest?.from, 1);
      assert.is(newest?.desired, 5);
      assert.ok(newest?.acted);
      assert.match(newest?.reason ?? "", /^grow from 1 to 5: custom\/queue jumped/);
      assert.is(newest?.limiter, "grow-rate");
      await scaling.run(2000);
      const { body } = await scaling.controller.call("GET", "/v1/subscriptions/hi");
      const { rollout, address: _address, hosts: _hosts, ...status } = body.status;
      assert.equal(status, { desired: 5, running: 5, ready: 5, message: null });
      assert.is(rollout.state, "complete");
      assert.is(body.generation, 1, "what runs has not changed");
    },
    patient,
  );

  test(
    "grows on processor use and shrinks when it falls",
    async () => {
      const policy = { min: 1, max: 6, warmUp: "0s", metrics: [{ kind: "cpu", target: 50 }] };
      const rates = { shrink: { processes: 3, period: "10s" } };
      await using scaling = await aScaling({ ...policy, rates, stabilisation: { shrink: "10s" } });
      await scaling.run(10_000, () => ({ cpuPercent: 45 }));
      assert.is(await scaling.desired(), 1);
      await scaling.run(60_000, () => ({ cpuPercent: 100 }));
      assert.is(await scaling.desired(), 6, "each burns all it gets, so the maximum is right");
      await scaling.run(120_000, () => ({ cpuPercent: 5 }));
      assert.is(await scaling.desired(), 1);
    },
    patient,
  );

  test(
    "counts memory without page cache, and connections, of each process",
    async () => {
      const policy = {
        min: 1,
        max: 9,
        metrics: [
          { kind: "memory", target: 50 },
          { kind: "in-flight", target: 10 },
        ],
      };
      await using scaling = await aScaling(policy);
      await scaling.run(5000, () => ({ memoryBytes: 100 * 1024 ** 2, connections: 4 }));
      assert.is(await scaling.desired(), 1);
      await scaling.run(5000, () => ({ memoryBytes: 100 * 1024 ** 2, connections: 40 }));
      assert.ok((await scaling.desired()) >= 3);
      const [{ inputs }] = (
        await scaling.controller.call("GET", "/v1/subscriptions/hi/decisions?inputs=true")
      ).body.items;
      assert.is(inputs.processes[0].sample.values["in-flight"], 40);
      assert.is(inputs.processes[0].sample.values.memory, 39.06);
    },
    patient,
  );

  test(
    "sleeps when idle and wakes on a posted metric",
    async () => {
      await using scaling = await aScaling({
        ...queuePolicy,
        min: 0,
        idleAfter: "20s",
        stabilisation: { shrink: "10s" },
      });
      await scaling.post({ queue: 3 });
      await scaling.run(4000);
      for (let second = 0; second < 200 && (await scaling.desired()) > 0; second += 5) {
        await scaling.post({ queue: 0 });
        await scaling.run(5000);
      }
      assert.is(await scaling.desired(), 0);
      await scaling.post({ queue: 1 });
      await scaling.run(500);
      assert.is(await scaling.desired(), 1);
      const [newest] = await scaling.decisions("changes=true&limit=1");
      assert.match(newest?.reason ?? "", /work for a sleeping subscription/);
    },
    patient,
  );

  test(
    "never shrinks while the metric is missing, and says so",
    async () => {
      await using scaling = await aScaling({ ...queuePolicy, stabilisation: { shrink: 0 } });
      await scaling.post({ queue: 50 });
      await scaling.run(15_000);
      assert.is(await scaling.desired(), 5);
      await scaling.run(120_000);
      assert.is(await scaling.desired(), 5);
      const { body } = await scaling.controller.call("GET", "/v1/subscriptions/hi");
      assert.match(body.status.message, /no value of the metric custom\/queue/);
      await scaling.post({ queue: 0 });
      await scaling.run(15_000);
      const after = await scaling.controller.call("GET", "/v1/subscriptions/hi");
      assert.not.match(after.body.status.message ?? "", /no value/);
    },
    patient,
  );

  test(
    "a fallback takes over after three failures",
    async () => {
      const fallback = { after: 3, mode: "static", processes: 4 };
      await using scaling = await aScaling({ ...queuePolicy, fallback });
      await scaling.run(90_000);
      assert.is(await scaling.desired(), 4);
    },
    patient,
  );

  test(
    "without an ingress requests have no source: the policy never shrinks and says why",
    async () => {
      const policy = { min: 1, max: 5, metrics: [{ kind: "requests", target: 10 }] };
      await using scaling = await aScaling(policy, { processes: 3 });
      await scaling.run(60_000);
      assert.is(await scaling.desired(), 3);
      const { body } = await scaling.controller.call("GET", "/v1/subscriptions/hi");
      assert.match(body.status.message, /no ingress leads requests to it/);
    },
    patient,
  );

  test(
    "dryRun decides and records, and leaves the count alone",
    async () => {
      await using scaling = await aScaling({ ...queuePolicy, dryRun: true });
      await scaling.post({ queue: 95 });
      await scaling.run(20_000);
      assert.is(await scaling.desired(), 1);
      const changes = await scaling.decisions("changes=true");
      assert.ok(changes.length > 0);
      assert.ok(changes.every(({ acted, from }) => !acted && from === 1));
    },
    patient,
  );

  test(
    "a count set by hand is left alone for a while",
    async () => {
      await using scaling = await aScaling({ ...queuePolicy, pauseAfterScale: "60s" });
      const scale = await scaling.controller.call("POST", "/v1/subscriptions/hi/scale", {
        body: { processes: 3 },
      });
      assert.match(scale.body.status.message, /set by hand.*until 2026-01-01T00:01:0/);
      for (let second = 0; second < 50; second += 10) {
        await scaling.post({ queue: 100 });
        await scaling.run(10_000);
      }
      assert.is(await scaling.desired(), 3);
      const [paused] = await scaling.decisions("limit=1");
      assert.is(paused?.limiter, "paused");
      await scaling.post({ queue: 100 });
      await scaling.run(15_000);
      assert.ok((await scaling.desired()) > 3);
    },
    patient,
  );

  test(
    "a PUT with another count pauses too, one without a count does not",
    async () => {
      await using scaling = await aScaling(queuePolicy);
      const body = { cartridge: "hello", scalingPolicy: "auto" };
      await put(scaling.controller, "/v1/subscriptions/hi", { ...body, lostAfter: "90s" });
      await scaling.post({ queue: 30 });
      await scaling.run(2000);
      assert.is(await scaling.desired(), 3);
      await put(scaling.controller, "/v1/subscriptions/hi", { ...body, processes: 2 });
      await scaling.post({ queue: 90 });
      await scaling.run(20_000);
      assert.is(await scaling.desired(), 2);
    },
    patient,
  );

  test(
    "a schedule alone sets bounds by the time of day",
    async () => {
      const schedules = [
        { kind: "weekly", from: "00:01", to: "00:03", timeZone: "UTC", min: 4, max: 8 },
      ];
      await using scaling = await aScaling({ min: 1, max: 3, schedules });
      await scaling.run(30_000);
      assert.is(await scaling.desired(), 1);
      await scaling.run(60_000);
      assert.is(await scaling.desired(), 4, "above the policy's own maximum");
    },
    patient,
  );
});
