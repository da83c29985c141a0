import { PartitionPolicyInput, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import { canOverlap, isActive, ScheduleInput } from "@strata/protocol/api/schedules";
import fc from "fast-check";
import { z } from "zod";

import { assert, suite } from "../../support/suite.ts";

const weekly = (parts: Record<string, unknown> = {}) => ({
  kind: "weekly",
  from: "08:00",
  to: "18:00",
  ...parts,
});

/** What is wrong with the input, one line each. */
function faults(input: unknown, schema: z.ZodType = ScalingPolicyInput): readonly string[] {
  const { error } = schema.safeParse(input);
  return error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ?? [];
}

function firstFault(input: unknown, schema: z.ZodType = ScalingPolicyInput): string {
  return faults(input, schema)[0] ?? "nothing is wrong";
}

suite("scaling policies", (test) => {
  test("need no more than a max", () => {
    const policy = ScalingPolicyInput.parse({ max: 5 });
    assert.equal([policy.min, policy.max, policy.metrics, policy.sampleInterval], [1, 5, [], 2000]);
  });

  test("can be shown as they may be written again", () => {
    const policy = ScalingPolicyInput.parse({
      max: 5,
      metrics: [{ kind: "custom", name: "jobs", target: 3, interval: "1500ms" }],
      schedules: [weekly({ min: 2 })],
      idleAfter: "5m",
    });
    const written = z.encode(ScalingPolicyInput, policy);
    assert.is(written.idleAfter, "300s");
    assert.equal(ScalingPolicyInput.parse(JSON.parse(JSON.stringify(written))), policy);
  });

  test("are refused with min above max, by themselves or in a schedule", () => {
    assert.equal(faults({ min: 3, max: 2 }), ["min: min 3 is above max 2"]);
    assert.match(
      firstFault({ max: 5, schedules: [weekly({ min: 6 })] }),
      /schedules\.0: .*give it both bounds/,
    );
    assert.match(firstFault({ max: 5, schedules: [weekly({ initialMin: 6 })] }), /schedules\.0/);
    assert.equal(faults({ max: 5, schedules: [weekly({ min: 6, max: 8 })] }), []);
  });

  test("are refused when two schedules can overlap and ask for min above max", () => {
    const conflict = (a: unknown, b: unknown): boolean =>
      faults({ max: 50, schedules: [a, b] }).length > 0;
    const low = weekly({ max: 3 });
    assert.ok(conflict(low, weekly({ from: "17:59", to: "20:00", min: 4 })));
    assert.not(conflict(low, weekly({ from: "18:00", to: "20:00", min: 4 })));
    assert.not(conflict(low, weekly({ from: "17:59", to: "20:00", min: 3 })));
    assert.ok(
      conflict(
        weekly({ days: ["sun"], from: "22:00", to: "06:00", max: 3 }),
        weekly({ days: ["mon"], from: "05:00", min: 4 }),
      ),
    );
    const berlin = weekly({ max: 3, timeZone: "Europe/Berlin" });
    assert.ok(
      conflict(berlin, weekly({ from: "16:59", to: "20:00", min: 4 })),
      "18:00 in winter is 17:00 UTC",
    );
    assert.not(conflict(berlin, weekly({ from: "17:00", to: "20:00", min: 4 })));
    const eve = { kind: "once", from: "2026-12-24T12:00", to: "2026-12-24T20:00", min: 9 };
    assert.ok(conflict(low, eve));
    assert.not(conflict(weekly({ days: ["fri"], max: 3 }), eve), "it is a Thursday");
  });

  test("are refused for what can never work, with the remedy", () => {
    assert.match(
      firstFault({ min: 0, max: 5, metrics: [{ kind: "cpu", target: 70 }] }),
      /needs a metric that can wake/,
    );
    const twice = { kind: "cpu", target: 70 };
    assert.match(firstFault({ max: 5, metrics: [twice, twice] }), /cpu is there twice/);
    assert.match(firstFault({ max: 5, fallback: { mode: "static" } }), /say how many/);
    assert.match(
      firstFault({ max: 5, schedules: [weekly({ timeZone: "Mars/Olympus" })] }),
      /Europe\/Berlin/,
    );
    assert.match(
      firstFault({
        max: 5,
        schedules: [{ kind: "once", from: "tomorrow", to: "2026-12-24T20:00" }],
      }),
      /2026-12-24T18:00/,
    );
    assert.match(
      firstFault({ max: 5, stableWindow: 3600, sampleInterval: 1 }),
      /600 sampling intervals/,
    );
    assert.match(firstFault({ max: 5, panic: { window: 120 } }), /longer than the stable window/);
    assert.match(firstFault({ max: 5, idleAfter: "soon" }), /not a duration/);
    assert.match(firstFault({ max: 5, colour: "red" }), /colour/);
  });
});

suite("partition policies", (test) => {
  test("have a default for every field", () => {
    const { minNodes, maxNodes, providers, remove } = PartitionPolicyInput.parse({});
    assert.equal([minNodes, maxNodes, providers], [0, 100, []]);
    assert.equal([remove.emptyAfter, remove.below, remove.belowAfter], [60_000, 50, 600_000]);
  });

  test("can be shown as they may be written again", () => {
    const provider = {
      provider: "lxd",
      flavor: "small",
      capacity: { cpu: 2, memory: "4Gi", pids: 1000 },
    };
    const policy = PartitionPolicyInput.parse({ providers: [provider], headroom: { nodes: 1 } });
    assert.is(policy.providers[0]?.capacity?.memory, 4 * 1024 ** 3);
    assert.equal(PartitionPolicyInput.parse(z.encode(PartitionPolicyInput, policy)), policy);
  });

  test("are refused for contradictions", () => {
    const provider = { provider: "lxd", flavor: "small" };
    assert.match(
      firstFault({ minNodes: 3, maxNodes: 2 }, PartitionPolicyInput),
      /minNodes is above/,
    );
    assert.match(
      firstFault({ providers: [provider, provider] }, PartitionPolicyInput),
      /there twice/,
    );
    assert.match(
      firstFault({ batch: { idle: 9, max: 3 } }, PartitionPolicyInput),
      /idle is above max/,
    );
  });
});

suite("schedules", (test) => {
  const time = fc.integer({ min: 0, max: 1439 }).map((minute) => {
    const two = (value: number): string => String(value).padStart(2, "0");
    return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
  });
  const schedule = fc
    .record({
      days: fc.subarray(["mon", "tue", "wed", "thu", "fri", "sat", "sun"], { minLength: 1 }),
      from: time,
      to: time,
      timeZone: fc.constantFrom(
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Pacific/Auckland",
      ),
    })
    .map((parts) => ScheduleInput.parse({ kind: "weekly", ...parts }));

  test("that are ever active together are known to overlap", () => {
    const START = Date.UTC(2026, 0, 1);
    fc.assert(
      fc.property(
        schedule,
        schedule,
        fc.array(fc.integer({ min: 0, max: 365 * 1440 }), { minLength: 60, maxLength: 60 }),
        (a, b, minutes) => {
          for (const minute of minutes) {
            const at = START + minute * 60_000;
            if (isActive(a, at) && isActive(b, at)) assert.ok(canOverlap(a, b));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test("of one zone that are never active together in a week are known not to overlap", () => {
    fc.assert(
      fc.property(schedule, schedule, (a, b) => {
        const inUtc = { ...a, timeZone: "UTC" };
        const other = { ...b, timeZone: "UTC" };
        const quarters = Array.from(
          { length: 10_080 / 5 },
          (_, index) => Date.UTC(2026, 5, 1) + index * 300_000,
        );
        const together = quarters.some((at) => isActive(inUtc, at) && isActive(other, at));
        if (canOverlap(inUtc, other) && !together) {
          // Only an overlap shorter than the five minutes between two looks may be missed.
          const exact = Array.from(
            { length: 10_080 },
            (_, index) => Date.UTC(2026, 5, 1) + index * 60_000,
          );
          assert.ok(exact.some((at) => isActive(inUtc, at) && isActive(other, at)));
        }
      }),
      { numRuns: 20 },
    );
  });
});
