/** Placement as people meet it: through the API, with agents that say what a test wants. */
import { createHash } from "node:crypto";

import type { ImageSource } from "@strata/controller/images/inspect-image";
import { PlacementExplanation } from "@strata/protocol/api/placement";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, aProcessReport, type FakeAgent } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const MIB = 1024 ** 2;
const layer = `sha256:${"5".repeat(64)}`;

/** `app:1` and `app:2` for the architectures, each with a layer of 5 MiB. */
function images(architectures: readonly string[]): ImageSource {
  const blobs = new Map<string, Buffer>();
  const put = (value: object): { readonly digest: string; readonly size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  };
  const manifests = architectures.map((architecture) => {
    const rootfs = { type: "layers", diff_ids: [layer] };
    const config = { mediaType: mediaTypes.config, ...put({ architecture, os: "linux", rootfs }) };
    const layers = [{ mediaType: mediaTypes.layerGzip, digest: layer, size: 5 * MIB }];
    const { manifest: mediaType } = mediaTypes;
    const manifest = put({ schemaVersion: 2, mediaType, config, layers });
    return { mediaType, platform: { os: "linux", architecture }, ...manifest };
  });
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
  const tags = new Map([
    ["1", put(index).digest],
    ["2", put({ ...index, annotations: { second: "yes" } }).digest],
  ]);
  return {
    resolve: async (_repository, reference) => {
      const digest = tags.get(reference) ?? reference;
      const body = blobs.get(digest);
      const isIndex = [...tags.values()].includes(digest);
      const mediaType = isIndex ? mediaTypes.index : mediaTypes.manifest;
      return body === undefined ? undefined : { digest, mediaType, body };
    },
    readBlob: async ({ digest }) => blobs.get(digest),
  };
}

async function put(controller: TestController, path: string, body: object): Promise<void> {
  const answer = await controller.call("PUT", path, { body });
  if (answer.status > 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
}

/** Partition `web` and cartridge `app`, which runs on amd64 unless another is said. */
async function aScene(architectures: readonly string[] = ["amd64"]): Promise<TestController> {
  const controller = await aController({ images: images(architectures) });
  await put(controller, "/v1/partitions/web", {});
  await put(controller, "/v1/cartridges/app", { image: "app:1", partition: "web" });
  return controller;
}

async function idsOf(controller: TestController, alias = "hi"): Promise<readonly string[]> {
  const { body } = await controller.call("GET", `/v1/subscriptions/${alias}/processes`);
  return body.items.map(({ id }: { id: string }) => id);
}

async function explain(
  controller: TestController,
  id: string | undefined,
  query = "",
): Promise<PlacementExplanation> {
  const answer = await controller.call("GET", `/v1/processes/${id}/placement${query}`);
  assert.is(answer.status, 200, JSON.stringify(answer.body));
  return PlacementExplanation.parse(answer.body);
}

async function toldCount(agent: FakeAgent): Promise<number> {
  await agent.poll();
  return agent.told.size;
}

suite("placement of a subscription", (test) => {
  test("goes where architecture, labels and zone allow it", async () => {
    await using controller = await aScene(["amd64", "arm64"]);
    const join = (name: string, options: object): Promise<FakeAgent> =>
      aFakeAgent(controller, { name, ...options });
    const plain = await join("plain", {});
    const fast = await join("fast", { labels: { disk: "ssd", zone: "west" } });
    const arm = await join("arm", { architecture: "arm64", labels: { disk: "ssd" } });
    const subscribe = async (alias: string, placement: object): Promise<void> =>
      put(controller, `/v1/subscriptions/${alias}`, { cartridge: "app", placement });
    await subscribe("on-ssd", { labels: { disk: "ssd" }, architecture: "amd64" });
    await subscribe("on-arm", { architecture: "arm64" });
    await subscribe("in-west", { zones: ["west"] });
    controller.settle();
    assert.is(await toldCount(plain), 0);
    assert.is(await toldCount(fast), 2);
    assert.is(await toldCount(arm), 1);
    await subscribe("nowhere", { zones: ["south"] });
    controller.settle();
    const [id] = await idsOf(controller, "nowhere");
    const { nodes, totals, waits } = await explain(controller, id);
    assert.equal(totals, { ZONE: 3 });
    assert.equal(nodes[1], {
      node: "fast",
      code: "ZONE",
      message: "is in zone west, it needs south",
    });
    assert.is(waits?.code, "NO_ROOM");
  });

  test("an image is not given to a node that it is not made for, without being told so", async () => {
    await using controller = await aScene(["arm64"]);
    const agent = await aFakeAgent(controller, {});
    await put(controller, "/v1/subscriptions/hi", { cartridge: "app" });
    controller.settle();
    assert.is(await toldCount(agent), 0);
    const [id] = await idsOf(controller);
    const { nodes } = await explain(controller, id);
    assert.equal(nodes, [
      { node: "node-a", code: "ARCHITECTURE", message: "is amd64, it needs arm64" },
    ]);
  });

  test("of equal nodes the one with the layers has it, and it says so", async () => {
    await using controller = await aScene();
    await aFakeAgent(controller, { name: "a" });
    const holder = await aFakeAgent(controller, { name: "b" });
    const news = { bootId: "boot-1", port: 7075, complete: true, have: [layer], gone: [] };
    const path = `/v1/nodes/${holder.nodeId}/peers/announce`;
    const answer = await controller.call("POST", path, { token: holder.credential, body: news });
    assert.ok(answer.status < 300, JSON.stringify(answer.body));
    await put(controller, "/v1/subscriptions/hi", { cartridge: "app" });
    controller.settle();
    const [id] = await idsOf(controller);
    const { placed, partition, nodes } = await explain(controller, id);
    assert.is(placed?.node, "b");
    assert.is(
      placed?.why,
      `the fullest node that has room, and it has ${5 * MIB} bytes of its image`,
    );
    assert.is(placed?.at, "2026-01-01T00:00:00.000Z");
    assert.is(partition, "web");
    assert.equal(nodes, []);
  });

  test("a node that runs the image has its layers, though it keeps no blobs", async () => {
    await using controller = await aScene();
    await put(controller, "/v1/cartridges/other", { image: "app:2", partition: "web" });
    const agents = [
      await aFakeAgent(controller, { name: "a", labels: { runs: "other" } }),
      await aFakeAgent(controller, { name: "b", labels: { runs: "app" } }),
    ];
    // So both are equally full.
    for (const cartridge of ["other", "app"]) {
      const placement = { labels: { runs: cartridge } };
      await put(controller, `/v1/subscriptions/on-${cartridge}`, { cartridge, placement });
    }
    controller.settle();
    for (const agent of agents) await agent.work();
    for (const [alias, cartridge, node] of [
      ["one", "app", "b"],
      ["two", "other", "a"],
    ]) {
      await put(controller, `/v1/subscriptions/${alias}`, { cartridge });
      controller.settle();
      const [id] = await idsOf(controller, alias);
      const { placed } = await explain(controller, id);
      assert.is(placed?.node, node);
      assert.match(placed?.why ?? "", /has 5242880 bytes of its image/);
      await controller.call("DELETE", `/v1/subscriptions/${alias}`);
      for (const agent of agents) await agent.work();
      controller.settle();
      for (const agent of agents) await agent.work();
      controller.settle();
    }
  });

  test("a node starts eight at once; the next ones go out as soon as some run", async () => {
    await using controller = await aScene();
    const agent = await aFakeAgent(controller, {});
    const idle = await aFakeAgent(controller, { name: "idle" });
    await put(controller, "/v1/subscriptions/hi", {
      cartridge: "app",
      processes: 20,
      resources: { memory: "16Mi", cpu: "100m", pids: 100 },
    });
    controller.settle();
    assert.is(await toldCount(agent), 8);
    const ids = await idsOf(controller);
    const waiting = (await Promise.all(ids.map((id) => explain(controller, id)))).filter(
      ({ placed }) => placed === null,
    );
    assert.is(waiting.length, 12);
    for (const { waits, totals } of waiting) {
      assert.is(waits?.code, "STARTS");
      assert.equal(totals, { STARTS: 1, ROOM: 1 });
    }
    const first = [...agent.told.values()].slice(0, 3);
    await agent.report(first.map((assignment) => aProcessReport(assignment)));
    controller.settle();
    assert.is(await toldCount(agent), 11);
    for (let round = 0; round < 4; round += 1) {
      await agent.work();
      controller.settle();
    }
    assert.is(await toldCount(agent), 20);
    assert.is(await toldCount(idle), 0);
  });

  test("a start that takes very long keeps no other one waiting", async () => {
    await using controller = await aScene();
    const agent = await aFakeAgent(controller, {});
    await put(controller, "/v1/subscriptions/hi", {
      cartridge: "app",
      processes: 9,
      resources: { memory: "16Mi", cpu: "100m", pids: 100 },
    });
    controller.settle();
    await agent.work(() => ({ state: "pulling", ready: false }));
    controller.settle();
    assert.is(await toldCount(agent), 8);
    controller.advance(121_000);
    await agent.work(() => ({ state: "pulling", ready: false }));
    controller.settle();
    assert.is(await toldCount(agent), 9);
  });
});

suite("why a process is nowhere", (test) => {
  test("names of each node the first thing that is in the way, with numbers, a page at a time", async () => {
    await using controller = await aScene();
    await aFakeAgent(controller, {
      name: "small",
      capacity: { cpuMillis: 100, memoryBytes: 8 * 1024 * MIB, pids: 1000 },
    });
    await aFakeAgent(controller, { name: "shut" });
    await controller.call("POST", "/v1/nodes/shut/cordon", { body: {} });
    await aFakeAgent(controller, {
      name: "full",
      capacity: { cpuMillis: 4000, memoryBytes: 300 * MIB, pids: 10_000 },
    });
    await put(controller, "/v1/subscriptions/first", { cartridge: "app" });
    controller.settle();
    await put(controller, "/v1/subscriptions/hi", { cartridge: "app" });
    controller.settle();
    const [id] = await idsOf(controller);
    const { nodes, totals, next, process } = await explain(controller, id, "?limit=2");
    assert.is(process, id);
    assert.equal(totals, { MEMORY: 1, CLOSED: 1, TOO_SMALL: 1 });
    assert.equal(nodes, [
      {
        node: "full",
        code: "MEMORY",
        message: `lacks memory: ${44 * MIB} of ${256 * MIB} bytes free`,
      },
      { node: "shut", code: "CLOSED", message: "is cordoned" },
    ]);
    assert.is(next, "shut");
    const rest = await explain(controller, id, "?limit=2&after=shut");
    assert.equal(
      rest.nodes.map(({ node }) => node),
      ["small"],
    );
    assert.is(rest.next, null);
  });

  test("is told to the tenant of the process and to nobody of another one", async () => {
    await using controller = await aScene();
    await put(controller, "/v1/subscriptions/hi", { cartridge: "app" });
    controller.settle();
    const [id] = await idsOf(controller);
    await controller.call("PUT", "/v1/tenants/other", { body: {} });
    const made = await controller.call("POST", "/v1/tokens", {
      body: { name: "o", scope: "viewer", tenant: "other" },
    });
    const { token } = made.body;
    const path = `/v1/processes/${id}/placement`;
    assert.is((await controller.call("GET", path, { token })).status, 404);
    const { totals, waits } = await explain(controller, id);
    assert.equal(totals, {});
    assert.is(waits?.code, "NO_NODES");
  });
});
