import { planProbes } from "@strata/agent/container/probe-plan";
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import type { ImageConfig } from "@strata/protocol/oci/image";

import { assert, suite } from "../../support/suite.ts";

const SECOND_NS = 1_000_000_000;

type Healthcheck = NonNullable<NonNullable<ImageConfig["config"]>["Healthcheck"]>;

const of = (
  Healthcheck: Healthcheck,
  spec: Pick<ProcessSpec, "health" | "probes"> = {},
): ReturnType<typeof planProbes> => planProbes(spec, { Healthcheck });

const readiness = {
  kind: "exec",
  command: ["/bin/check", "-q"],
  intervalMs: 30_000,
  timeoutMs: 30_000,
  failureThreshold: 3,
} as const;
const test1 = ["CMD", "/bin/check", "-q"];
const network = {
  kind: "tcp",
  port: 80,
  intervalMs: 1000,
  timeoutMs: 1000,
  failureThreshold: 1,
} as const;

suite("the probes of a run", (test) => {
  test("come from the image's HEALTHCHECK when nobody says a readiness probe", () => {
    assert.equal(of({ Test: test1 }), { readiness });
    assert.equal(of({ Test: test1, Interval: 0, Timeout: 0, Retries: 0, StartPeriod: 0 }), {
      readiness,
    });
    assert.equal(of({ Test: test1 }, { health: network }), { readiness: network });
    assert.equal(of({ Test: test1 }, { probes: { liveness: network } }), {
      readiness,
      liveness: network,
    });
    assert.equal(of({ Test: test1 }, { probes: { readiness: { ...readiness, command: ["x"] } } }), {
      readiness: { ...readiness, command: ["x"] },
    });
  });

  test("are none where that is said", () => {
    assert.equal(of({ Test: test1 }, { probes: { readiness: { kind: "none" } } }), {});
    const wait = { Test: test1, StartPeriod: SECOND_NS };
    assert.equal(of(wait, { probes: { startup: { kind: "none" } } }), { readiness });
    assert.equal(of(wait, { probes: { readiness: { kind: "none" } } }), {});
    for (const Test of [["NONE"], [], ["CMD"], ["NEWER", "x"], ["CMD", "a\0b"], null, undefined])
      assert.equal(of({ Test }), {});
    assert.equal(planProbes({}, undefined), {});
  });

  test("take a shell line to the image's shell", () => {
    const line = { Test: ["CMD-SHELL", "curl -f localhost || exit 1"] };
    assert.equal(of(line).readiness, {
      ...readiness,
      command: ["/bin/sh", "-c", "curl -f localhost || exit 1"],
    });
    const Shell = ["/bin/bash", "-o", "pipefail", "-c"];
    const { readiness: own } = planProbes({}, { Healthcheck: line, Shell });
    assert.equal(own, { ...readiness, command: [...Shell, "curl -f localhost || exit 1"] });
  });

  test("give a start period and the retries after it to the startup", () => {
    const check = {
      Test: test1,
      Interval: 10 * SECOND_NS,
      Retries: 2,
      StartPeriod: 60 * SECOND_NS,
    };
    const { startup } = of(check);
    assert.equal(startup, { ...readiness, intervalMs: 5000, failureThreshold: 16 });
    const quick = of({ ...check, StartInterval: 2 * SECOND_NS }).startup;
    assert.equal([quick?.intervalMs, quick?.failureThreshold], [2000, 40]);
  });

  test("stay within limits, whatever the image says", () => {
    const huge = 2 ** 63;
    const { readiness: long, startup } = of({
      Test: test1,
      Interval: huge,
      Timeout: huge,
      StartPeriod: huge,
      Retries: huge,
    });
    for (const probe of [long, startup]) {
      assert.ok(Number(probe?.intervalMs) <= 24 * 3_600_000);
      assert.ok(Number(probe?.timeoutMs) <= 24 * 3_600_000);
      assert.ok(Number(probe?.failureThreshold) <= 10_000);
    }
    const short = of({ Test: test1, Interval: 1, Timeout: 1, Retries: -1 }).readiness;
    assert.equal([short?.intervalMs, short?.timeoutMs, short?.failureThreshold], [1000, 1000, 3]);
  });
});
