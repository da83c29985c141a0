import { randomBytes } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";

import { DELTA_ARCHIVE_HEADER, DELTA_BASES_HEADER } from "@strata/protocol/agent/messages";
import { applyDelta } from "@strata/protocol/delta/delta";

import { aController, type TestController } from "../support/controller.ts";
import { aFakeAgent } from "../support/fake-agent.ts";
import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

const KIB = 1024;

/** Two layers of one repository that differ a little, and one of another. */
function someLayers(): Record<"old" | "target" | "foreign", Buffer> {
  const start = randomBytes(200 * KIB);
  const end = randomBytes(100 * KIB);
  return {
    old: gzipSync(Buffer.concat([start, randomBytes(5 * KIB), end])),
    target: gzipSync(Buffer.concat([start, randomBytes(5 * KIB), end])),
    foreign: gzipSync(Buffer.concat([start, end])),
  };
}

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly layers: ReturnType<typeof someLayers>;
  /** How often a blob was read. */
  readonly reads: () => number;
  readonly ask: (body: object) => Promise<Response>;
};

async function aScene(environment: Readonly<Record<string, string>> = {}): Promise<Scene> {
  const layers = someLayers();
  let reads = 0;
  const stored = new Map([
    [`app ${digestOf(layers.old)}`, layers.old],
    [`app ${digestOf(layers.target)}`, layers.target],
    [`other ${digestOf(layers.foreign)}`, layers.foreign],
  ]);
  const controller = await aController({
    environment,
    images: {
      resolve: async () => undefined,
      readBlob: async ({ repository, digest, sizeBytesMax }) => {
        reads += 1;
        const bytes = stored.get(`${repository} ${digest}`);
        return bytes !== undefined && bytes.length <= sizeBytesMax ? bytes : undefined;
      },
    },
  });
  await controller.call("PUT", "/v1/partitions/web", { body: {} });
  const { nodeId, credential } = await aFakeAgent(controller);
  return {
    controller,
    layers,
    reads: () => reads,
    ask: (body) =>
      controller.request(`/v1/nodes/${nodeId}/deltas`, {
        method: "POST",
        headers: { authorization: `Bearer ${credential}` },
        body: JSON.stringify(body),
      }),
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
}

suite("deltas for nodes", (test) => {
  test("give a layer in about the size of its change, and are made once", async () => {
    await using scene = await aScene();
    const { old, target } = scene.layers;
    const wish = { repository: "app", digest: digestOf(target), bases: [digestOf(old)] };
    const [one, two] = await Promise.all([scene.ask(wish), scene.ask(wish)]);
    assert.is(one.status, 200);
    assert.is(one.headers.get(DELTA_BASES_HEADER), digestOf(old));
    const delta = Buffer.from(await one.arrayBuffer());
    assert.ok(delta.length < 6 * KIB, `${delta.length} bytes`);
    const archive = gunzipSync(target);
    assert.is(one.headers.get(DELTA_ARCHIVE_HEADER), String(archive.length));
    assert.ok(applyDelta([gunzipSync(old)], delta, archive.length).equals(archive));
    assert.ok(Buffer.from(await two.arrayBuffer()).equals(delta));
    const again = await scene.ask(wish);
    assert.ok(Buffer.from(await again.arrayBuffer()).equals(delta));
    assert.is(scene.reads(), 2, "the two layers, each once");
  });

  test("build on layers of the same repository alone", async () => {
    await using scene = await aScene();
    const { old, target, foreign } = scene.layers;
    const wish = { repository: "app", digest: digestOf(target) };
    const alone = await scene.ask({ ...wish, bases: [digestOf(foreign)] });
    assert.is(alone.status, 204);
    const both = await scene.ask({ ...wish, bases: [digestOf(foreign), digestOf(old)] });
    assert.is(both.headers.get(DELTA_BASES_HEADER), digestOf(old));
    const unknown = await scene.ask({ ...wish, repository: "none", bases: [digestOf(old)] });
    assert.is(unknown.status, 204);
  });

  test("are made again when what was kept is damaged", async () => {
    await using scene = await aScene();
    const { old, target } = scene.layers;
    const wish = { repository: "app", digest: digestOf(target), bases: [digestOf(old)] };
    const first = Buffer.from(await (await scene.ask(wish)).arrayBuffer());
    const folder = join(scene.controller.services.config.dataDirectory, "controller", "deltas");
    const [name = ""] = readdirSync(folder);
    writeFileSync(join(folder, name), "cut off");
    const second = Buffer.from(await (await scene.ask(wish)).arrayBuffer());
    assert.ok(second.equals(first));
  });

  test("can be switched off, and are for nodes alone", async () => {
    await using scene = await aScene({ STRATA_DELTA_MAX_MIB: "0" });
    const { old, target } = scene.layers;
    const wish = { repository: "app", digest: digestOf(target), bases: [digestOf(old)] };
    assert.is((await scene.ask(wish)).status, 204);
    assert.is(scene.reads(), 0);
    const other = await scene.controller.call("POST", "/v1/nodes/none/deltas", { body: wish });
    assert.ok([401, 403].includes(other.status), String(other.status));
  });
});
