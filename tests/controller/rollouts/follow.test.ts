/** Subscriptions that follow what is pushed to the store, with the controller and its store as they run. */
import { candidateImages, failedDigests } from "@strata/controller/domain/follow";

import { aControllerProcess, type ControllerProcess } from "../../support/controller-process.ts";
import { anImage } from "../../support/images.ts";
import { pushImage } from "../../support/push-image.ts";
import { createClient, digestOf } from "../../support/registry-client.ts";
import { assert, suite } from "../../support/suite.ts";

suite("following", (test) => {
  test("tries the newest first, each image once, and none that failed", () => {
    assert.equal(candidateImages(["c", "b", "c", "a"], new Set(["b"])), ["c", "a"]);
    assert.equal(candidateImages(["b"], new Set(["b"])), []);
  });

  test("takes the last word about an image", () => {
    const trials = [
      { digest: "a", hasFailed: true },
      { digest: "b", hasFailed: true },
      { digest: "a", hasFailed: false },
    ];
    assert.equal([...failedDigests(trials)], ["b"]);
  });
});

suite("a tag that is moved in the store", (test) => {
  test("takes every follower with it at once, and nobody else", async () => {
    await using controller = await aControllerProcess();
    const first = await push(controller, "1", "/bin/one");
    await prepare(controller, "app:1");
    await subscribe(controller, "follower", { follow: "tag" });
    await subscribe(controller, "other", { follow: "tag", env: { A: "1" } });
    await subscribe(controller, "pinned", {});
    for (const alias of ["follower", "other", "pinned"]) await runs(controller, alias, first);

    const second = await push(controller, "1", "/bin/two");
    await runs(controller, "follower", second);
    await runs(controller, "other", second);
    await runs(controller, "pinned", first);

    // The same again, and another tag, are nothing to do with it.
    await push(controller, "1", "/bin/two");
    const third = await push(controller, "2", "/bin/three");
    await runs(controller, "follower", second);

    await subscribe(controller, "follower", { follow: "newest" });
    await runs(controller, "follower", third);
    await subscribe(controller, "follower", {});
    await runs(controller, "follower", first);
    // A PUT of the cartridge resolves the tag for those that are pinned.
    await prepare(controller, "app:1");
    await runs(controller, "pinned", second);
  });

  test("is followed by a controller that was away when it was moved", async () => {
    await using controller = await aControllerProcess();
    await push(controller, "1", "/bin/one");
    await prepare(controller, "app:1");
    await subscribe(controller, "follower", { follow: "tag" });
    const second = await push(controller, "1", "/bin/two");
    await controller.kill("SIGKILL");
    await controller.start();
    await runs(controller, "follower", second);
  });

  test("must be one, and what is newest must be able to run", async () => {
    await using controller = await aControllerProcess();
    const first = await push(controller, "1", "/bin/one");
    await prepare(controller, `app@${first}`);
    const body = { cartridge: "app", follow: "tag" };
    const refused = await controller.call("PUT", "/v1/subscriptions/follower", { body });
    assert.is(refused.status, 422, JSON.stringify(refused.body));
    assert.match(JSON.stringify(refused.body), "names an image by digest");

    await subscribe(controller, "newest", { follow: "newest" });
    await pushArtifact(controller, "2");
    await told(controller, "subscription.image-refused");
    await runs(controller, "newest", first);
    const third = await push(controller, "3", "/bin/three");
    await runs(controller, "newest", third);
  });
});

async function push(controller: ControllerProcess, tag: string, command: string): Promise<string> {
  const store = { url: controller.url, token: controller.adminToken() };
  return pushImage(store, { repository: "app", tag, command });
}

/** Something in the repository that nobody can run. */
async function pushArtifact(controller: ControllerProcess, tag: string): Promise<void> {
  const artifact = anImage({ config: Buffer.from("{}"), layers: [Buffer.from("text")] });
  const client = createClient(controller.url);
  const login = Buffer.from(`x:${controller.adminToken()}`).toString("base64");
  const headers = { authorization: `Basic ${login}` };
  for (const blob of artifact.blobs) {
    const path = `/v2/app/blobs/uploads/?digest=${digestOf(blob)}`;
    await client.send("POST", path, { headers, body: blob });
  }
  const { status } = await client.send("PUT", `/v2/app/manifests/${tag}`, {
    headers: { ...headers, "content-type": artifact.manifest.mediaType },
    body: artifact.manifest.bytes,
  });
  assert.is(status, 201);
}

async function prepare({ call }: ControllerProcess, image: string): Promise<void> {
  assert.ok((await call("PUT", "/v1/partitions/main", { body: {} })).status < 300);
  const body = { image, partition: "main" };
  const { status, body: answer } = await call("PUT", "/v1/cartridges/app", { body });
  assert.ok(status < 300, JSON.stringify(answer));
}

async function subscribe(
  { call }: ControllerProcess,
  alias: string,
  fields: object,
): Promise<void> {
  const body = { cartridge: "app", ...fields };
  const answer = await call("PUT", `/v1/subscriptions/${alias}`, { body });
  assert.ok(answer.status < 300, JSON.stringify(answer.body));
}

/** Waits until all its processes are of this image. */
async function runs({ call }: ControllerProcess, alias: string, digest: string): Promise<void> {
  for (;;) {
    const { body } = await call("GET", `/v1/subscriptions/${alias}/processes`);
    const images: readonly string[] = body.items.map(({ image }: { image: string }) => image);
    if (images.length > 0 && images.every((image) => image.endsWith(digest))) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits for an event of the type. */
async function told({ call }: ControllerProcess, type: string): Promise<void> {
  for (;;) {
    const { body } = await call("GET", `/v1/events?type=${type}`);
    if (body.items.length > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
