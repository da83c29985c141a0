import type { BuiltImage } from "../../support/images.ts";
import { type Client, digestOf } from "../../support/registry-client.ts";
import { assert } from "../../support/suite.ts";

/** What a tag may lead to: a digest, or nothing. */
type Target = string | undefined;

/** What clients know of the store: for each tag all that it may lead to. That is one thing once the last answer came, and
 * two while there is none. A tag has one client, so its requests follow each other. */
export type Ledger = {
  /** Notes what a request wants, runs it, and takes its answer for certain: true done, false refused. A client that
   * gets no answer throws, and both stay possible. */
  readonly attempt: (wish: Wish, request: () => Promise<boolean>) => Promise<void>;
  /** Wishes that were acknowledged so far. */
  readonly acknowledged: () => number;
  /** What the tag surely leads to. */
  readonly find: (place: Place) => string | undefined;
  /** Holds all that a store shows against what it may show, and takes it for certain. */
  readonly verify: (client: Client) => Promise<void>;
};

export type Place = { readonly repository: string; readonly tag: string };
export type Wish = Place & { readonly image: BuiltImage | undefined };

export function createLedger(): Ledger {
  const possible = new Map<string, readonly Target[]>();
  const images = new Map<string, BuiltImage>();
  let acknowledged = 0;
  const read = (place: Place): readonly Target[] => possible.get(keyOf(place)) ?? [undefined];
  return {
    attempt: async ({ image, ...place }, request) => {
      const before = read(place);
      const after = image?.manifest.digest;
      if (image !== undefined) images.set(image.manifest.digest, image);
      possible.set(keyOf(place), [...before, after]);
      const done = await request();
      if (done) acknowledged += 1;
      possible.set(keyOf(place), done ? [after] : before);
    },
    acknowledged: () => acknowledged,
    find: (place) => {
      const targets = read(place);
      return targets.length === 1 ? targets[0] : undefined;
    },
    verify: async (client) => {
      const shown = new Map<string, Set<string>>();
      const needed = new Set<string>();
      for (const [key, targets] of possible) {
        const place = parseKey(key);
        const tags = shown.get(place.repository) ?? new Set();
        shown.set(place.repository, tags);
        const found = await findTag(client, place);
        assert.ok(targets.includes(found), `${key} leads to ${found}, not to ${targets.join()}`);
        possible.set(key, [found]);
        if (found === undefined) continue;
        needed.add(found);
        await expectWhole(client, { ...place, image: images.get(found) });
        tags.add(place.tag);
      }
      for (const digest of images.keys()) if (!needed.has(digest)) images.delete(digest);
      await expectNoOtherTags(client, shown);
    },
  };
}

function keyOf({ repository, tag }: Place): string {
  return `${repository}:${tag}`;
}

function parseKey(key: string): Place {
  const [repository = "", tag = ""] = key.split(":");
  return { repository, tag };
}

async function findTag(client: Client, { repository, tag }: Place): Promise<Target> {
  const head = await client.send("HEAD", `/v2/${repository}/manifests/${tag}`);
  if (head.status === 404) return undefined;
  assert.is(head.status, 200);
  return head.headers["docker-content-digest"];
}

async function expectWhole(client: Client, { repository, tag, image }: Wish): Promise<void> {
  if (image === undefined) throw new Error(`${tag} leads to what nobody pushed`);
  const { manifest, blobs } = image;
  for (const reference of [tag, manifest.digest]) {
    const answer = await client.send("GET", `/v2/${repository}/manifests/${reference}`);
    assert.is(answer.status, 200);
    assert.ok(answer.body.equals(manifest.bytes));
  }
  for (const blob of blobs) {
    const digest = digestOf(blob);
    const answer = await client.send("GET", `/v2/${repository}/blobs/${digest}`);
    assert.is(answer.status, 200, `${tag} has lost ${digest}`);
    assert.is(digestOf(answer.body), digest);
  }
}

async function expectNoOtherTags(
  client: Client,
  shown: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<void> {
  for (const [repository, tags] of shown) {
    const { status, body } = await client.send("GET", `/v2/${repository}/tags/list`);
    assert.equal(status === 404 ? [] : parseTags(body), [...tags].toSorted());
  }
}

function parseTags(body: Buffer): readonly string[] {
  // Compared with what is expected by the assertion around it.
  return (JSON.parse(body.toString()) as { readonly tags: readonly string[] }).tags;
}
