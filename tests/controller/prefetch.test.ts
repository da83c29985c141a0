import { planPrefetch, type PrefetchSubject } from "@strata/controller/domain/prefetch";
import type { Candidate } from "@strata/controller/domain/schedule";
import { PartitionPolicyInput } from "@strata/protocol/api/autoscale";
import { parseDigest } from "@strata/protocol/oci/digest";

import { aController, type TestController } from "../support/controller.ts";
import { aFakeAgent, aCapacity, type FakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";

const image = { repository: "app", digest: parseDigest(`sha256:${"a".repeat(64)}`) };
const scheduling = {
  cpuOvercommit: 8,
  packingOf: () => ({ ...PartitionPolicyInput.parse({}).packing, zones: [] }),
  ownersOf: (): readonly string[] => [],
};

suite("planPrefetch", (test) => {
  test("sends the image of a new generation to the nodes that run an older one", () => {
    const plan = planPrefetch(
      [aSubject({ outdatedOn: new Set(["a", "b", "closed"]), currentOn: new Set(["b"]) })],
      [aCandidate("a"), aCandidate("b"), aCandidate("c"), aCandidate("closed", { closed: "away" })],
      scheduling,
    );
    assert.equal([...plan], [["a", [image]]]);
  });

  test("sends what may scale out to where the scheduler would put it", () => {
    const full = aCandidate("full", { capacity: { ...aCapacity, memoryBytes: 1 } });
    const plan = planPrefetch(
      [aSubject({ growth: 1 })],
      [full, aCandidate("roomy"), aCandidate("elsewhere", { partition: "other" })],
      scheduling,
    );
    assert.equal([...plan], [["roomy", [image]]]);
  });

  test("keeps what sleeps on the nodes that have it, before all that may scale out", () => {
    const others = Array.from({ length: 40 }, (_, index) =>
      aSubject({
        subscription: `a${index}`,
        growth: 1,
        image: { ...image, digest: parseDigest(`sha256:${String(index).padStart(64, "0")}`) },
      }),
    );
    const asleep = aSubject({ subscription: "z", growth: 5, isAsleep: true });
    const nodes = [aCandidate("a"), aCandidate("b"), aCandidate("gone", { closed: "away" })];
    const plan = planPrefetch([...others, asleep], nodes, {
      ...scheduling,
      ownersOf: (_, digest) => (digest === image.digest ? ["b", "gone"] : []),
    });
    assert.equal(plan.get("b")?.[0], image);
    assert.not.ok(plan.has("gone"));
  });

  test("sends nothing for what cannot grow, and no more images than a node takes", () => {
    assert.is(planPrefetch([aSubject({})], [aCandidate("a")], scheduling).size, 0);
    const many = Array.from({ length: 50 }, (_, index) =>
      aSubject({
        subscription: `s${index}`,
        growth: 1,
        image: {
          repository: "app",
          digest: parseDigest(`sha256:${String(index).padStart(64, "0")}`),
        },
      }),
    );
    assert.is(planPrefetch(many, [aCandidate("a")], scheduling).get("a")?.length, 32);
  });
});

suite("prefetch: what the controller tells nodes", (test) => {
  test("names the image of a scale-out to the node that would take it, before it lands", async () => {
    await using scene = await aScene();
    const { controller, first, second } = scene;
    await put(controller, "/v1/scaling-policies/grow", { min: 1, max: 2 });
    const wish = { cartridge: "hello", processes: 1, scalingPolicy: "grow", resources: large };
    await put(controller, "/v1/subscriptions/hi", wish);
    await settle(scene);
    const runner = first.told.size === 1 ? first : second;
    const spare = runner === first ? second : first;
    controller.ticks.prefetch();
    const news = await spare.poll();
    assert.is(news?.prefetch?.length, 1);
    const [running] = [...runner.told.values()];
    assert.equal(news?.prefetch?.[0], running?.spec.image);
    // The same plan is no news, and what landed needs none.
    controller.ticks.prefetch();
    assert.is(await spare.poll(), undefined);
    await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 2 } });
    await settle(scene);
    controller.ticks.prefetch();
    assert.equal((await spare.poll())?.prefetch, []);
  });

  test("names the image of what sleeps to all nodes that ran it, which keep it", async () => {
    await using scene = await aScene();
    const { controller, first, second } = scene;
    const metrics = [{ kind: "in-flight", target: 10 }];
    const naps = { min: 0, max: 5, sleep: "stopped", metrics };
    await put(controller, "/v1/scaling-policies/naps", naps);
    const wish = { cartridge: "hello", processes: 2, scalingPolicy: "naps", resources: large };
    await put(controller, "/v1/subscriptions/hi", wish);
    await settle(scene);
    const image = [...first.told.values()][0]?.spec.image;
    controller.ticks.prefetch();
    await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 0 } });
    await settle(scene);
    assert.equal([first.told.size, second.told.size], [0, 0]);
    controller.ticks.prefetch();
    for (const agent of [first, second]) assert.equal((await agent.poll())?.prefetch, [image]);
    // Later as well.
    await put(controller, "/v1/scaling-policies/naps", { ...naps, max: 6 });
    controller.ticks.prefetch();
    for (const agent of [first, second]) assert.is(await agent.poll(), undefined);
  });

  test("names the image of a new generation to the nodes of the older one", async () => {
    await using scene = await aScene();
    const { controller, first, second } = scene;
    const wish = { cartridge: "hello", processes: 2, resources: large };
    await put(controller, "/v1/subscriptions/hi", wish);
    await settle(scene);
    await put(controller, "/v1/cartridges/hello", { image: "hello:2" });
    controller.ticks.prefetch();
    for (const agent of [first, second]) {
      const news = await agent.poll();
      const [running] = [...agent.told.values()];
      assert.is(news?.prefetch?.length, 1);
      assert.is.not(news?.prefetch?.[0]?.digest, running?.spec.image.digest);
    }
  });
});

/** One fills a node. */
const large = { memory: "6Gi", cpu: 1, pids: 100 };

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly first: FakeAgent;
  readonly second: FakeAgent;
};

async function aScene(): Promise<Scene> {
  const controller = await aController();
  await prepare(controller);
  const first = await aFakeAgent(controller, { name: "node-a" });
  const second = await aFakeAgent(controller, { name: "node-b" });
  return {
    controller,
    first,
    second,
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
}

async function settle({ controller, first, second }: Scene): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) {
    controller.settle();
    await first.work();
    await second.work();
  }
}

async function put(controller: TestController, path: string, body: object): Promise<void> {
  const answer = await controller.call("PUT", path, { body });
  if (answer.status > 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
}

function aSubject(fields: Partial<PrefetchSubject>): PrefetchSubject {
  return {
    subscription: "hi",
    partition: "web",
    image,
    need: {
      limits: { memoryMaxBytes: 1024 ** 3, cpuMaxMillis: 1000, pidsMax: 100 },
      hostPorts: [],
    },
    growth: 0,
    isAsleep: false,
    currentOn: new Set(),
    outdatedOn: new Set(),
    ...fields,
  };
}

function aCandidate(id: string, fields: Partial<Candidate> = {}): Candidate {
  return {
    id,
    name: id,
    partition: "web",
    zone: null,
    starting: 0,
    closed: undefined,
    capacity: aCapacity,
    held: [],
    ...fields,
  };
}
