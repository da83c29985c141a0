import type { ImageStore, ReadyImage } from "@strata/agent/image/image-store";
import { createPrefetcher, type Prefetcher } from "@strata/agent/image/prefetch";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";

import { aRegistryServer } from "../../support/registry-server.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTar, file } from "../layer/tar-builder.ts";
import { anAppImage, pushApp } from "./an-app-image.ts";
import { anImageStore } from "./an-image-store.ts";

const a = parseDigest(`sha256:${"a".repeat(64)}`);
const b = parseDigest(`sha256:${"b".repeat(64)}`);
const c = parseDigest(`sha256:${"c".repeat(64)}`);
const wishOf = (digest: Digest): { repository: string; digest: Digest } => ({
  repository: "app",
  digest,
});

suite("prefetcher", (test) => {
  test("has an image ready before it is asked for", async () => {
    let requests = 0;
    await using registry = await aRegistryServer({
      authorize: () => {
        requests += 1;
        return { kind: "allowed", subject: "tester" };
      },
    });
    await using images = anImageStore(registry.url);
    const digest = parseDigest(
      await pushApp(registry.url, anAppImage([aTar([file("data", "here")])])),
    );
    using prefetcher = aPrefetcher(images.store);
    prefetcher.wish([{ repository: "app", digest }]);
    await until(() => images.store.list().length === 1);
    const before = requests;
    const { signal } = new AbortController();
    const ready = await prefetcher.ensure({ repository: "app", digest }, { signal });
    assert.is(ready.layers.length, 1);
    assert.is(requests, before);
  });

  test("fetches one image after the other, and none twice", async () => {
    const store = aScriptedStore();
    using prefetcher = aPrefetcher(store);
    prefetcher.wish([wishOf(a), wishOf(b)]);
    await until(() => store.underWay().length === 1);
    assert.equal(store.underWay(), [a]);
    store.finish(a);
    await until(() => store.underWay().includes(b));
    store.finish(b);
    await until(() => store.underWay().length === 0);
    prefetcher.wish([wishOf(b), wishOf(a), wishOf(c)]);
    await until(() => store.underWay().includes(c));
    assert.equal(store.asked, [a, b, c]);
  });

  test("gives up what is no longer wished for", async () => {
    const store = aScriptedStore();
    using prefetcher = aPrefetcher(store);
    prefetcher.wish([wishOf(a)]);
    await until(() => store.underWay().includes(a));
    prefetcher.wish([wishOf(b)]);
    await until(() => store.underWay().includes(b));
    assert.equal(store.underWay(), [b]);
    prefetcher.close();
    await until(() => store.underWay().length === 0);
  });

  test("makes way for a pull that is wanted now, and goes on after it", async () => {
    const store = aScriptedStore();
    using prefetcher = aPrefetcher(store);
    prefetcher.wish([wishOf(a)]);
    await until(() => store.underWay().includes(a));
    const { signal } = new AbortController();
    const wanted = prefetcher.ensure(wishOf(b), { signal });
    await until(() => store.underWay().includes(b) && !store.underWay().includes(a));
    store.finish(b);
    await wanted;
    await until(() => store.underWay().includes(a));
  });

  test("fetches nothing while the disk has no room", async () => {
    const store = aScriptedStore();
    let hasRoom = false;
    using prefetcher = aPrefetcher(store, () => hasRoom);
    prefetcher.wish([wishOf(a)]);
    await turns();
    assert.equal(store.asked, []);
    hasRoom = true;
    prefetcher.wish([wishOf(a)]);
    await until(() => store.underWay().includes(a));
  });
});

const logger = { info: () => undefined };

function aPrefetcher(
  store: Pick<ImageStore, "ensure">,
  hasRoom: () => boolean = () => true,
): Prefetcher & Disposable {
  const prefetcher = createPrefetcher({ store, hasRoom, logger });
  return { ...prefetcher, [Symbol.dispose]: prefetcher.close };
}

type ScriptedStore = Pick<ImageStore, "ensure"> & {
  readonly asked: readonly Digest[];
  readonly underWay: () => readonly Digest[];
  readonly finish: (digest: Digest) => void;
};

/** Every image is a pull that lasts until the test says so. */
function aScriptedStore(): ScriptedStore {
  const asked: Digest[] = [];
  const pulls = new Map<Digest, PromiseWithResolvers<ReadyImage>>();
  return {
    asked,
    underWay: () => [...pulls.keys()],
    finish: (digest) => {
      const ready = { digest, manifestDigest: digest, config: {} as never, layers: [] };
      pulls.get(digest)?.resolve(ready);
    },
    ensure: async ({ digest }, { signal, onProgress }) => {
      asked.push(digest);
      const pull = Promise.withResolvers<ReadyImage>();
      pulls.set(digest, pull);
      signal.addEventListener("abort", () => pull.reject(new Error("aborted")), { once: true });
      onProgress?.({ layersReady: 0, layers: 1, receivedBytes: 0, totalBytes: 1 });
      try {
        return await pull.promise;
      } finally {
        pulls.delete(digest);
      }
    },
  };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => void setTimeout(resolve, 2));
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1)
    await new Promise((resolve) => void setImmediate(resolve));
}
