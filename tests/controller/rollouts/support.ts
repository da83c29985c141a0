/** A subscription `hi` on one node whose agent does with each generation what a test says. */
import type { Assignment, ProcessReport } from "@strata/protocol/agent/messages";
import type { Rollout, RolloutStatus } from "@strata/protocol/api/rollouts";

import type { Answer, ControllerOptions, TestController } from "../../support/controller.ts";
import { aController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert } from "../../support/suite.ts";

export type Conduct = (assignment: Assignment) => Partial<ProcessReport> | undefined;

export type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly agent: FakeAgent;
  /** Of generations; those not named come up well. */
  readonly conduct: Map<number, Conduct>;
  /** The controller and the agent do their work so many times [8]. */
  readonly work: (rounds?: number) => Promise<void>;
  /** So many seconds go by, with beats of the agent. */
  readonly pass: (seconds: number) => Promise<void>;
  readonly put: (body: object) => Promise<Answer>;
  readonly post: (path: string, body?: object) => Promise<Answer>;
  readonly rollout: () => Promise<RolloutStatus>;
  readonly history: () => Promise<readonly Rollout[]>;
  /** Generations of the processes that are to run, sorted. */
  readonly generations: () => Promise<readonly number[]>;
  /** Their ids. */
  readonly ids: () => Promise<readonly string[]>;
  /** Types of events of the subscription, oldest first. */
  readonly events: () => Promise<readonly string[]>;
};

export const fails: Conduct = ({ desired }) =>
  desired === "running"
    ? {
        state: "failed",
        ready: false,
        problem: { code: "IMAGE_NOT_FOUND", message: "the store has no such image" },
      }
    : {};
/** It never gets ready. */
export const hangs: Conduct = ({ desired }) => (desired === "running" ? { ready: false } : {});

/** Less than an agent's beat. */
const STRIDE_SECONDS = 3;

export async function aScene(
  subscription: object = {},
  options: ControllerOptions & { readonly controller?: TestController } = {},
): Promise<Scene> {
  const controller = options.controller ?? (await aController(options));
  await prepare(controller);
  const agent = await aFakeAgent(controller);
  const conduct = new Map<number, Conduct>();
  const call = async (method: string, path: string, body?: object): Promise<Answer> =>
    controller.call(method, `/v1/subscriptions/hi${path}`, body === undefined ? {} : { body });
  const ours = async (): Promise<readonly { id: string; generation: number }[]> =>
    (await call("GET", "/processes")).body.items;
  const scene: Scene = {
    controller,
    agent,
    conduct,
    work: async (rounds = 8) => {
      for (let round = 0; round < rounds; round += 1) {
        controller.settle();
        await agent.work((assignment) => (conduct.get(assignment.generation) ?? well)(assignment));
      }
      controller.settle();
    },
    pass: async (seconds) => {
      for (let second = 0; second < seconds; second += STRIDE_SECONDS) {
        controller.advance(STRIDE_SECONDS * 1000);
        await scene.work(2);
      }
    },
    put: (body) => call("PUT", "", { cartridge: "hello", ...subscription, ...body }),
    post: (path, body) => call("POST", path, body),
    rollout: async () => (await call("GET", "")).body.status.rollout,
    history: async () => (await call("GET", "/rollouts")).body.items,
    generations: async () =>
      (await ours()).map(({ generation }) => generation).toSorted((a, b) => a - b),
    ids: async () => (await ours()).map(({ id }) => id).toSorted(),
    events: async () => {
      const { items } = (await controller.call("GET", "/v1/events?limit=1000")).body;
      return items
        .filter(({ subject }: { subject: string }) => subject === "hi")
        .map(({ type }: { type: string }) => type);
    },
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
  const answer = await scene.put({});
  assert.is(answer.status, 201, JSON.stringify(answer.body));
  await scene.work();
  return scene;
}

const well: Conduct = () => ({});
