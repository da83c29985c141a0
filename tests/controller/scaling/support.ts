/** A subscription `hi` with a scaling policy `auto`, on a fake node whose processes use what a test wants. */
import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import {
  aController,
  type Answer,
  type ControllerOptions,
  type TestController,
} from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, GIB, prepare } from "../../support/fake-agent.ts";

/** What one process uses. */
export type Load = {
  readonly cpuPercent?: number;
  readonly memoryBytes?: number;
  readonly connections?: number;
};

export type Scaling = {
  readonly controller: TestController;
  readonly agent: FakeAgent;
  /** Lets so much time pass in ticks of 500 ms; the node obeys and reports every second what `load` says. */
  readonly run: (ms: number, load?: (processId: string) => Load) => Promise<void>;
  readonly desired: () => Promise<number>;
  readonly post: (metrics: Readonly<Record<string, number>>) => Promise<Answer>;
  readonly decisions: (query?: string) => Promise<readonly ShownDecision[]>;
} & AsyncDisposable;

export type ShownDecision = {
  readonly id: number;
  readonly from: number;
  readonly desired: number;
  readonly acted: boolean;
  readonly limiter: string | null;
  readonly reason: string;
};

export const queuePolicy = {
  min: 1,
  max: 10,
  metrics: [{ kind: "custom", name: "queue", target: 10 }],
};

/** Room for everything that a test starts. */
export const roomy = { cpuMillis: 1_000_000, memoryBytes: 1000 * GIB, pids: 1_000_000 };

/** Minutes of the controller's clock take seconds of ours; on a busy machine, many. */
export const patient = { timeoutMs: 120_000 };

const TICK_MS = 500;
const REPORT_MS = 1000;

export async function aScaling(
  policy: object,
  { processes, ...options }: ControllerOptions & { readonly processes?: number } = {},
): Promise<Scaling> {
  const controller = await aController(options);
  await prepare(controller);
  await put(controller, "/v1/scaling-policies/auto", policy);
  await put(controller, "/v1/subscriptions/hi", {
    cartridge: "hello",
    scalingPolicy: "auto",
    ...(processes === undefined ? {} : { processes }),
  });
  controller.settle();
  return scalingOf(controller, await aFakeAgent(controller, { capacity: roomy }));
}

export function scalingOf(controller: TestController, agent: FakeAgent): Scaling {
  const { call, services } = controller;
  const metricsOf = createUsage(() => services.clock.nowMs());
  return {
    controller,
    agent,
    run: async (ms, load = () => ({})) => {
      for (let passed = 0; passed < ms; passed += TICK_MS) {
        controller.advance(TICK_MS);
        if (passed % REPORT_MS === 0) {
          await agent.work(({ processId }) => ({ metrics: metricsOf(processId, load(processId)) }));
        }
        controller.settle();
      }
    },
    desired: async () => Number((await call("GET", "/v1/subscriptions/hi")).body.processes),
    post: (metrics) => call("POST", "/v1/subscriptions/hi/metrics", { body: { metrics } }),
    decisions: async (query = "limit=1000") =>
      (await call("GET", `/v1/subscriptions/hi/decisions?${query}`)).body.items,
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
}

/** Counters that grow as those of a cgroup whose limit is one processor. */
function createUsage(nowMs: () => number): (processId: string, load: Load) => ProcessMetrics {
  const used = new Map<string, { at: number; us: number }>();
  const bootedAt = nowMs() - 1_000_000;
  return (processId, { cpuPercent = 0, memoryBytes = 1024 ** 2, connections = 0 }) => {
    const before = used.get(processId) ?? { at: nowMs(), us: 0 };
    const us = before.us + Math.round(((nowMs() - before.at) * 1000 * cpuPercent) / 100);
    used.set(processId, { at: nowMs(), us });
    return {
      cpuUsageUs: us,
      memoryBytes,
      pids: 1,
      networkRxBytes: 0,
      networkTxBytes: 0,
      sampledAtMs: nowMs() - bootedAt,
      connections,
    };
  };
}

export async function put(
  { call }: Pick<TestController, "call">,
  path: string,
  body: object,
): Promise<void> {
  const answer = await call("PUT", path, { body });
  if (answer.status > 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
}
