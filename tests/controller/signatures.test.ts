import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { putImage } from "../cli/support/store-images.ts";
import { aController, type Answer, type TestController } from "../support/controller.ts";
import { aFakeAgent } from "../support/fake-agent.ts";
import { anImage, type BuiltImage } from "../support/images.ts";
import { digestOf } from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import {
  aBundledSignature,
  aPayload,
  aSignature,
  aSigner,
  type Signer,
  signatureTagOf,
} from "../support/signatures.ts";
import { assert, suite } from "../support/suite.ts";

/** An image that could run; each is another one. */
function aRunnableImage(): BuiltImage {
  const tar = Buffer.alloc(1024);
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: {
        Cmd: ["/bin/true"],
        Labels: { nonce: digestOf(Buffer.from(String((counter += 1)))) },
      },
      rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
    }),
  );
  return anImage({ config, layers: [gzipSync(tar)] });
}
let counter = 0;

async function pushApp({ url }: RegistryServer, app: BuiltImage): Promise<void> {
  await putImage(url, app, { repository: "team/app", reference: "1" });
}

async function pushTagged(
  { url }: RegistryServer,
  app: BuiltImage,
  signature: BuiltImage,
): Promise<void> {
  await putImage(url, signature, {
    repository: "team/app",
    reference: signatureTagOf(app.manifest),
  });
}

function putPolicy(
  { call }: TestController,
  {
    signer,
    ...fields
  }: {
    readonly signer?: Signer;
    readonly mode?: string;
    readonly repositories?: readonly string[];
  },
): Promise<Answer> {
  const keys = signer === undefined ? [] : [{ name: "release", publicKey: signer.pem }];
  return call("PUT", "/v1/signature-policies/team", {
    body: { repositories: ["team/*"], keys, ...fields },
  });
}

function putCartridge({ call }: TestController): Promise<Answer> {
  return call("PUT", "/v1/cartridges/app", { body: { image: "team/app:1" } });
}

async function eventsOf({ call }: TestController, type: string): Promise<readonly string[]> {
  const { body } = await call("GET", "/v1/events?limit=1000");
  const items: readonly { type: string; message: string }[] = body.items;
  return items.filter((event) => event.type === type).map(({ message }) => message);
}

const signer = aSigner();

suite("signature policies", (test) => {
  for (const [form, sign] of [
    [
      "by cosign's tag",
      (app: BuiltImage) => ({ image: aSignature(app.manifest, { signer }), isTagged: true }),
    ],
    [
      "by a referrer",
      (app: BuiltImage) => ({
        image: aSignature(app.manifest, { signer, isReferrer: true }),
        isTagged: false,
      }),
    ],
    [
      "in a bundle of version 3",
      (app: BuiltImage) => ({
        image: aBundledSignature(app.manifest, { signer }),
        isTagged: false,
      }),
    ],
  ] as const) {
    test(`take an image that is signed ${form}, and refuse it before`, async () => {
      await using store = await aRegistryServer();
      await using controller = await aController({ images: store.registry });
      const app = aRunnableImage();
      await pushApp(store, app);
      assert.is((await putPolicy(controller, { signer })).status, 201);
      const refused = await putCartridge(controller);
      assert.is(refused.status, 422);
      assert.is(refused.body.code, "IMAGE_UNSIGNED");
      assert.match(refused.body.detail, "not signed as policy team wants: it has no signature");
      const { image, isTagged } = sign(app);
      const reference = isTagged ? signatureTagOf(app.manifest) : image.manifest.digest;
      await putImage(store.url, image, { repository: "team/app", reference });
      const taken = await putCartridge(controller);
      assert.is(taken.status, 201, JSON.stringify(taken.body));
      assert.equal(await eventsOf(controller, "cartridge.unsigned"), []);
    });
  }

  test("take a signature that skopeo brought", async () => {
    await using build = await aRegistryServer();
    await using store = await aRegistryServer();
    await using controller = await aController({ images: store.registry });
    const app = aRunnableImage();
    await pushTagged(build, app, aSignature(app.manifest, { signer }));
    await pushApp(store, app);
    await putPolicy(controller, { signer });
    const name = `team/app:${signatureTagOf(app.manifest)}`;
    const insecure = ["--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests"];
    const names = [`docker://${build.host}/${name}`, `docker://${store.host}/${name}`];
    await promisify(execFile)("skopeo", ["copy", "-q", ...insecure, ...names]);
    assert.is((await putCartridge(controller)).status, 201);
  });

  const wrong: readonly (readonly [string, (app: BuiltImage) => BuiltImage, RegExp])[] = [
    [
      "another key",
      ({ manifest }) => aSignature(manifest, { signer: aSigner() }),
      /none of its 1 signatures/,
    ],
    [
      "another digest",
      ({ manifest }) =>
        aSignature(manifest, { signer, payload: aPayload(aRunnableImage().manifest.digest) }),
      /its signature by release is for something else/,
    ],
    [
      "a payload that was changed",
      ({ manifest }) =>
        aSignature(manifest, { signer, stored: aPayload(manifest.digest, { identity: {} }) }),
      /none of its 1 signatures/,
    ],
  ];
  for (const [what, sign, words] of wrong) {
    test(`refuse a signature with ${what}`, async () => {
      await using store = await aRegistryServer();
      await using controller = await aController({ images: store.registry });
      const app = aRunnableImage();
      await pushApp(store, app);
      await pushTagged(store, app, sign(app));
      await putPolicy(controller, { signer });
      const { status, body } = await putCartridge(controller);
      assert.is(status, 422);
      assert.match(body.detail, words);
    });
  }

  test("only warn, say nothing, or leave other repositories alone, as they are told", async () => {
    await using store = await aRegistryServer();
    await using controller = await aController({ images: store.registry });
    await pushApp(store, aRunnableImage());
    await putPolicy(controller, { signer, mode: "off" });
    assert.is((await putCartridge(controller)).status, 201);
    await putPolicy(controller, { signer, repositories: ["other/*"] });
    assert.is((await putCartridge(controller)).status, 200);
    assert.equal(await eventsOf(controller, "cartridge.unsigned"), []);
    await putPolicy(controller, { signer, mode: "warn" });
    assert.is((await putCartridge(controller)).status, 200);
    const [event] = await eventsOf(controller, "cartridge.unsigned");
    assert.match(event ?? "", "not signed as policy team wants: it has no signature");
  });

  test("hold processes back that would be placed from now on, until the image is signed as wished", async () => {
    await using store = await aRegistryServer();
    await using controller = await aController({ images: store.registry });
    const app = aRunnableImage();
    await pushApp(store, app);
    await pushTagged(store, app, aSignature(app.manifest, { signer }));
    await controller.call("PUT", "/v1/partitions/web", { body: {} });
    await putCartridge(controller);
    await putPolicy(controller, { signer: aSigner() });
    await controller.call("PUT", "/v1/subscriptions/hi", {
      body: { cartridge: "app", partition: "web", processes: 1 },
    });
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.poll();
    assert.is(agent.told.size, 0);
    const { body } = await controller.call("GET", "/v1/subscriptions/hi");
    assert.match(body.status.message, "not signed as policy team wants");
    assert.match(body.status.message, "IMAGE_UNSIGNED");
    await putPolicy(controller, { signer });
    controller.settle();
    await agent.poll();
    assert.is(agent.told.size, 1);
  });

  test("go on letting run what runs when they become stricter", async () => {
    await using store = await aRegistryServer();
    await using controller = await aController({ images: store.registry });
    await pushApp(store, aRunnableImage());
    await controller.call("PUT", "/v1/partitions/web", { body: {} });
    await putCartridge(controller);
    await controller.call("PUT", "/v1/subscriptions/hi", {
      body: { cartridge: "app", partition: "web", processes: 1 },
    });
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.work();
    await putPolicy(controller, { signer });
    controller.settle();
    await agent.work();
    assert.equal(
      [...agent.told.values()].map(({ desired }) => desired),
      ["running"],
    );
  });

  test("say what is wrong with them", async () => {
    await using controller = await aController();
    const secret = signer.privateKey.export({ type: "pkcs8", format: "pem" });
    for (const body of [
      {},
      { repositories: [] },
      { repositories: ["../x y"] },
      { repositories: ["*"], mode: "maybe" },
      { repositories: ["*"], keys: [{ name: "k", publicKey: "x" }] },
      { repositories: ["*"], keys: [{ name: "k", publicKey: secret }] },
      { repositories: ["*"], keys: [{ name: "K K", publicKey: signer.pem }] },
      { repositories: ["*"], more: 1 },
    ]) {
      const answer = await controller.call("PUT", "/v1/signature-policies/p", { body });
      assert.is(answer.status, 422, JSON.stringify(body));
      assert.not.match(JSON.stringify(answer.body), secret.slice(40, 80));
    }
  });

  test("are shown, listed and deleted", async () => {
    await using controller = await aController();
    const made = await putPolicy(controller, { signer, mode: "warn" });
    const { createdAt, updatedAt, ...rest } = made.body;
    assert.ok(createdAt === updatedAt);
    const keys = [{ name: "release", publicKey: signer.pem.trim() }];
    assert.equal(rest, { name: "team", repositories: ["team/*"], mode: "warn", keys, revision: 1 });
    const path = "/v1/signature-policies";
    assert.equal((await controller.call("GET", path)).body.items, [made.body]);
    assert.is((await controller.call("DELETE", `${path}/team`)).status, 204);
    assert.is((await controller.call("GET", `${path}/team`)).status, 404);
  });
});
