import type { MirrorRule } from "@strata/registry/mirror/rules";

import { aDockerRegistry, aRelay, type DockerRegistry, type Relay } from "./docker-registry.ts";
import type { BuiltImage } from "./images.ts";
import { type Client, createClient, digestOf } from "./registry-client.ts";
import {
  aRegistryServer,
  type RegistryServer,
  type RegistryServerOptions,
} from "./registry-server.ts";
import { assert } from "./suite.ts";
import { aTemporaryDirectory } from "./temporary.ts";

/** docker-registry, a relay that counts and breaks, and our store that mirrors it under `hub`. */
export type MirrorScene = AsyncDisposable & {
  readonly upstream: DockerRegistry;
  readonly relay: Relay;
  readonly server: RegistryServer;
  /** Of our store. */
  readonly client: Client;
  /** Straight to docker-registry. */
  readonly source: Client;
  readonly warnings: readonly string[];
  readonly folder: string;
  readonly clock: { nowMs: number };
};

export function aRule(rule: Partial<MirrorRule> & Pick<MirrorRule, "upstream">): MirrorRule {
  return {
    prefix: "hub",
    hosts: [],
    credentials: undefined,
    ca: undefined,
    repositories: ["*"],
    tagTtlMs: 60_000,
    offline: false,
    sync: [],
    ...rule,
  };
}

export type MirrorSceneOptions = {
  readonly rule?: Partial<MirrorRule>;
  readonly server?: RegistryServerOptions;
};

export async function aMirrorScene(options: MirrorSceneOptions = {}): Promise<MirrorScene> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(aTemporaryDirectory());
  const upstream = undo.use(await aDockerRegistry({ folder: `${folder.path}/upstream` }));
  const relay = undo.use(await aRelay(upstream.url));
  const warnings: string[] = [];
  const clock = { nowMs: Date.parse("2026-01-01T00:00:00Z") };
  const server = undo.use(
    await aRegistryServer({
      folder: `${folder.path}/store`,
      clock: () => clock.nowMs,
      onWarning: (message) => warnings.push(message),
      mirrors: [aRule({ upstream: relay.url, ...options.rule })],
      ...options.server,
    }),
  );
  const all = undo.move();
  return {
    upstream,
    relay,
    server,
    client: createClient(server.url),
    source: createClient(upstream.url),
    warnings,
    folder: folder.path,
    clock,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Pushes an image to `repository:tag` of a registry that asks for no log-in. */
export async function pushTo(
  client: Client,
  [repository, ...tags]: readonly [string, ...string[]],
  image: BuiltImage,
): Promise<void> {
  for (const blob of image.blobs) await client.pushBlob(repository, blob);
  for (const reference of tags.length === 0 ? [image.manifest.digest] : tags) {
    const { status, body } = await client.putManifest(
      `/v2/${repository}/manifests/${reference}`,
      image.manifest,
    );
    if (status !== 201) throw new Error(`manifest: ${status} ${body.toString()}`);
  }
}

/** Pulls the image with this name, tag v1, and holds it against what was pushed. */
export async function expectImage(client: Client, name: string, image: BuiltImage): Promise<void> {
  const manifest = await client.send("GET", `/v2/${name}/manifests/v1`);
  assert.is(manifest.status, 200, manifest.body.toString());
  assert.ok(manifest.body.equals(image.manifest.bytes));
  assert.is(manifest.headers["docker-content-digest"], image.manifest.digest);
  for (const blob of image.blobs) {
    const { status, body } = await client.send("GET", `/v2/${name}/blobs/${digestOf(blob)}`);
    assert.is(status, 200);
    assert.ok(body.equals(blob));
  }
}

/** What asked the upstream for the bytes of this blob. */
export function blobRequests({ relay }: MirrorScene, blob: Buffer): readonly string[] {
  return relay.requests.filter(
    (line) => line.startsWith("GET ") && line.includes(`/blobs/${digestOf(blob)}`),
  );
}
