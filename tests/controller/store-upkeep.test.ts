import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { pushImage } from "../support/push-image.ts";
import { createClient } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

async function push(
  controller: ControllerProcess,
  image: { readonly repository: string; readonly tag: string; readonly command: string },
): Promise<string> {
  return pushImage({ url: controller.url, token: controller.adminToken() }, image);
}

async function put(controller: ControllerProcess, path: string, body: object): Promise<void> {
  const answer = await controller.call("PUT", path, { body });
  assert.ok([200, 201].includes(answer.status), JSON.stringify(answer.body));
}

async function manifestStatus(
  controller: ControllerProcess,
  repository: string,
  reference: string,
): Promise<number> {
  const credentials = Buffer.from(`x:${controller.adminToken()}`).toString("base64");
  const { status } = await createClient(controller.url).send(
    "GET",
    `/v2/${repository}/manifests/${reference}`,
    { headers: { authorization: `Basic ${credentials}` } },
  );
  return status;
}

suite("upkeep of the store", (test) => {
  test("lets go of old tags by policy, and never of what is wished for", async () => {
    await using controller = await aControllerProcess();
    const old = await push(controller, { repository: "web", tag: "1", command: "/one" });
    await put(controller, "/v1/partitions/p", {});
    await put(controller, "/v1/cartridges/web", { image: "web:1", partition: "p" });
    await put(controller, "/v1/subscriptions/shop", { cartridge: "web", processes: 0 });
    for (const tag of ["2", "3", "4"])
      await push(controller, { repository: "web", tag, command: `/${tag}` });
    await put(controller, "/v1/retention-policies/few", { repositories: ["web"], keepLast: 1 });

    const collect = async (body: object): Promise<{ tags: number; removed: unknown[] }> =>
      (await controller.call("POST", "/v1/store/collect", { body: { grace: 0, ...body } })).body;
    const rehearsed = await collect({ dryRun: true });
    assert.is(rehearsed.tags, 2, "2 and 3 would go");
    assert.is(await manifestStatus(controller, "web", "2"), 200, "a dry run takes nothing");
    const done = await collect({});
    assert.equal(done.removed, rehearsed.removed);
    assert.equal(
      await Promise.all(
        ["1", "2", "3", "4", old].map((at) => manifestStatus(controller, "web", at)),
      ),
      [200, 404, 404, 200, 200],
    );
    const { body: status } = await controller.call("GET", "/v1/store");
    assert.is(status.lastCollection.tags, 2);
    const { body: events } = await controller.call("GET", "/v1/events?type=store.collected");
    assert.match(JSON.stringify(events), /let go of 2 tags/);
  });

  test("keeps what a roll-back would bring back", async () => {
    await using controller = await aControllerProcess();
    const old = await push(controller, { repository: "web", tag: "1", command: "/one" });
    await put(controller, "/v1/partitions/p", {});
    await put(controller, "/v1/cartridges/web", { image: "web:1", partition: "p" });
    await put(controller, "/v1/subscriptions/shop", { cartridge: "web", processes: 0 });
    await push(controller, { repository: "web", tag: "1", command: "/two" });
    await put(controller, "/v1/cartridges/web", { image: "web:1", partition: "p" });
    await put(controller, "/v1/retention-policies/few", { repositories: ["web"], keepLast: 1 });
    await controller.call("POST", "/v1/store/collect", { body: { grace: 0 } });
    assert.is(await manifestStatus(controller, "web", old), 200);
  });

  test("holds a tenant to its quota, with the numbers", async () => {
    await using controller = await aControllerProcess();
    await put(controller, "/v1/store-quotas/acme", { bytes: "1Ki" });
    await push(controller, { repository: "free/web", tag: "1", command: "/big" });
    const refused = await push(controller, {
      repository: "acme/web",
      tag: "1",
      command: `/${"x".repeat(4096)}`,
    }).then(
      () => "accepted",
      (error: unknown) => String(error),
    );
    assert.match(refused, /403/);
    const { body } = await controller.call("GET", "/v1/store");
    assert.equal(
      body.quotas.map(({ name, bytes }: { name: string; bytes: number }) => [name, bytes]),
      [["acme", 1024]],
    );
    assert.ok(body.quotas[0].usedBytes <= 1024);
  });

  test("finds a blob that was altered on disk, and says so", async () => {
    await using controller = await aControllerProcess();
    await push(controller, { repository: "web", tag: "1", command: "/one" });
    const folder = join(controller.dataDirectory, "store", "blobs");
    const [file] = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    assert.ok(file);
    writeFileSync(join(file.parentPath, file.name), "altered");
    const { body: report } = await controller.call("POST", "/v1/store/scrub");
    assert.is(report.corrupt.length, 1);
    const { body: events } = await controller.call("GET", "/v1/events?type=store.blob-corrupt");
    assert.match(JSON.stringify(events), new RegExp(report.corrupt[0]));
    const { body: status } = await controller.call("GET", "/v1/store");
    assert.equal(status.lastScrub.lost, report.corrupt);
  });

  test("refuses a pattern and a quota that make no sense", async () => {
    await using controller = await aControllerProcess();
    for (const [path, body] of [
      ["/v1/retention-policies/x", { repositories: [] }],
      ["/v1/retention-policies/x", { repositories: ["a b"] }],
      ["/v1/retention-policies/x", { repositories: ["web"], keepLast: -1 }],
      ["/v1/store-quotas/x", { bytes: "much" }],
    ] as const) {
      const { status, body: problem } = await controller.call("PUT", path, { body });
      assert.is(status, 422, JSON.stringify(problem));
      assert.is(problem.code, "INVALID");
    }
  });
});
