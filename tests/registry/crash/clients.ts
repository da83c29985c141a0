import { anImage } from "../../support/images.ts";
import { type Client, createClient, digestOf, randomBlob } from "../../support/registry-client.ts";
import { assert } from "../../support/suite.ts";
import type { Ledger, Place } from "./ledger.ts";

const TAGS_EACH = 4;
const REPOSITORIES = 2;
/** Layers that images of all clients share, so that they are mounted, deleted and collected under each other. */
const shared = [0, 1, 2].map((number) => Buffer.from(`a layer that many images have: ${number}`));

/** Number in 0 … `below` - 1. */
export type Choose = (below: number) => number;

export type Churn = {
  readonly worker: number;
  readonly choose: Choose;
  /** Called for the most part of the answers. */
  readonly onAnswer: () => void;
};

/** Pushes and deletes images, one request after the other, until the store is gone.
 * @throws when it answers what it must not */
export async function churn(
  url: string,
  ledger: Ledger,
  { worker, choose, onAnswer }: Churn,
): Promise<void> {
  const plain = createClient(url);
  const client: Client = {
    ...plain,
    send: (...call) => plain.send(...call).finally(onAnswer),
    putManifest: (...call) => plain.putManifest(...call).finally(onAnswer),
  };
  const repository = `r${worker % REPOSITORIES}`;
  for (;;) {
    const place = { repository, tag: `w${worker}-${choose(TAGS_EACH)}` };
    const digest = ledger.find(place);
    try {
      if (digest !== undefined && choose(3) === 0) {
        await remove(client, ledger, { ...place, reference: choose(2) === 0 ? digest : place.tag });
      } else await push(client, ledger, { ...place, layer: shared[choose(shared.length)] });
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
  }
}

type Removal = Place & { readonly reference: string };

async function remove(client: Client, ledger: Ledger, removal: Removal): Promise<void> {
  const { repository, tag, reference } = removal;
  await ledger.attempt({ repository, tag, image: undefined }, async () => {
    const { status } = await client.send("DELETE", `/v2/${repository}/manifests/${reference}`);
    assert.is(status, 202);
    return true;
  });
}

type Pushed = Place & { readonly layer: Buffer | undefined };

async function push(client: Client, ledger: Ledger, pushed: Pushed): Promise<void> {
  const { repository, tag, layer } = pushed;
  const image = anImage({ layers: [randomBlob(60_000), ...(layer === undefined ? [] : [layer])] });
  for (const blob of image.blobs) await pushUnlessThere(client, repository, blob);
  await ledger.attempt({ repository, tag, image }, async () => {
    const path = `/v2/${repository}/manifests/${tag}`;
    const { status, body } = await client.putManifest(path, image.manifest);
    // The collector was quicker: its grace is short here.
    if (body.includes("MANIFEST_BLOB_UNKNOWN")) return false;
    assert.is(status, 201, body.toString());
    return true;
  });
}

async function pushUnlessThere(client: Client, repository: string, blob: Buffer): Promise<void> {
  const digest = digestOf(blob);
  const head = await client.send("HEAD", `/v2/${repository}/blobs/${digest}`);
  if (head.status === 200) return;
  const mount = `/v2/${repository}/blobs/uploads/?mount=${digest}`;
  const answer = await client.send("POST", mount);
  if (answer.status !== 201) await client.pushBlob(repository, blob);
}

/** No answer came, or half of one: undici's own errors have such codes, assertions and refusals have none. */
function isGone(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(ECONN|EPIPE|UND_ERR_|HPE_)/.test(code);
}
