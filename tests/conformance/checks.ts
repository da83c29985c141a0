/** What the conformance suite of distribution-spec does after every push: look, pull, delete, look again. */
import { type Answer, type Client, digestOf } from "../support/registry-client.ts";
import { assert } from "../support/suite.ts";

export const algorithms = ["sha256", "sha512"] as const;
export type Algorithm = (typeof algorithms)[number];

export type BlobPlace = {
  readonly repository: string;
  readonly bytes: Buffer;
  readonly algorithm: Algorithm;
};

/** Starts an upload; gives its URL. */
export async function startUpload(client: Client, repository: string): Promise<string> {
  const answer = await client.send("POST", `/v2/${repository}/blobs/uploads/`);
  assert.is(answer.status, 202);
  return requireLocation(answer);
}

export function requireLocation(answer: Answer): string {
  const location = answer.headers["location"];
  if (location === undefined) throw new Error(`no Location in an answer of ${answer.status}`);
  return location;
}

/** The answer to a push must be 201, and its Location must give the bytes. */
export async function checkCreated(client: Client, answer: Answer, blob: BlobPlace): Promise<void> {
  assert.is(answer.status, 201, answer.body.toString());
  checkDigestHeader(answer, digestOf(blob.bytes, blob.algorithm));
  const pulled = await client.send("GET", requireLocation(answer));
  assert.is(pulled.status, 200);
  assert.ok(pulled.body.equals(blob.bytes));
}

/** distribution-spec `dev`: Docker-Content-Digest is there, and of the algorithm that the client used. */
function checkDigestHeader(answer: Answer, digest: string): void {
  assert.is(answer.headers["docker-content-digest"], digest);
}

/** blob-head, blob-get, blob-delete, and HEAD once more. */
export async function checkLifeOfBlob(client: Client, blob: BlobPlace): Promise<void> {
  const { repository, bytes, algorithm } = blob;
  const digest = digestOf(bytes, algorithm);
  const path = `/v2/${repository}/blobs/${digest}`;
  const head = await client.send("HEAD", path);
  assert.is(head.status, 200);
  assert.is(head.body.length, 0);
  assert.is(head.headers["content-length"], String(bytes.length));
  checkDigestHeader(head, digest);
  // Go adds this to its requests; the answer must come as it is stored all the same.
  const got = await client.send("GET", path, { headers: { "accept-encoding": "gzip" } });
  assert.is(got.status, 200);
  assert.is(got.headers["content-length"], String(bytes.length));
  assert.is(got.headers["content-encoding"], undefined);
  assert.ok(got.body.equals(bytes));
  checkDigestHeader(got, digest);
  assert.is((await client.send("DELETE", path)).status, 202);
  assert.is((await client.send("HEAD", path)).status, 404);
  assert.is((await client.send("DELETE", path)).status, 404);
}
