import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { connect } from "node:tls";

import { type BlobCache, openBlobCache } from "@strata/agent/image/blob-cache";
import { downloadFromPeer } from "@strata/agent/peer/download";
import { type PeerServer, startPeerServer } from "@strata/agent/peer/server";
import { ensureAuthority } from "@strata/controller/pki/authority";
import { issueNodeCertificate } from "@strata/controller/pki/node-certificate";
import { derivePeerKey, signPeerTicket } from "@strata/protocol/agent/peer-ticket";
import { parseDigest } from "@strata/protocol/oci/digest";
import { Agent } from "undici";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const bytes = randomBytes(1_000_000);
const digest = parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
const otherDigest = parseDigest(`sha256:${"0".repeat(64)}`);
const claim = { nodeId: "node-a", repository: "team/app", digest };
const key = derivePeerKey("ab".repeat(32));
const path = `/v2/team/app/blobs/${digest}`;
const good = signPeerTicket(key, claim, Date.now() + 3_600_000);

suite("peer server", (test) => {
  test("serves a blob to who has a ticket for it, whole and from an offset", async () => {
    await using scene = await aScene();
    await keep(scene.blobs);
    const whole = await scene.ask(path, good);
    assert.is(whole.status, 200);
    assert.ok(whole.body.equals(bytes));
    const rest = await scene.ask(path, good, "bytes=999990-");
    assert.is(rest.status, 206);
    assert.is(rest.contentRange, "bytes 999990-999999/1000000");
    assert.ok(rest.body.equals(bytes.subarray(999_990)));
  });

  test("refuses every ticket but one that the controller made for just this", async () => {
    await using scene = await aScene();
    await keep(scene.blobs);
    const hour = Date.now() + 3_600_000;
    const refused = {
      none: "",
      garbage: "abc",
      forged: `${hour}.${"A".repeat(43)}`,
      expired: signPeerTicket(key, claim, Date.now() - 1),
      "of another key": signPeerTicket(derivePeerKey("cd".repeat(32)), claim, hour),
      "for another blob": signPeerTicket(key, { ...claim, digest: otherDigest }, hour),
      "for another repository": signPeerTicket(key, { ...claim, repository: "team/other" }, hour),
      "for another node": signPeerTicket(key, { ...claim, nodeId: "node-b" }, hour),
    };
    for (const [what, ticket] of Object.entries(refused)) {
      const { status, body } = await scene.ask(path, ticket);
      assert.is(status, 401, what);
      assert.is(JSON.parse(body.toString()).errors[0].code, "UNAUTHORIZED");
    }
  });

  test("has nothing but blobs, and says what is not here only to who may have it", async () => {
    await using scene = await aScene();
    assert.is((await scene.ask(path, good)).status, 404);
    assert.is((await scene.ask(path, "")).status, 401);
    await keep(scene.blobs);
    assert.is((await scene.ask(path, good, "bytes=1000000-")).status, 416);
    for (const other of [
      "/",
      "/v2/",
      "/v2/team/app/manifests/latest",
      `/v2/team/../app/blobs/${digest}`,
      `/v2/team/app/blobs/${digest}?x=1`,
      "/v2/team/app/blobs/sha256:..%2f..%2fetc",
    ])
      assert.is((await scene.ask(other, good)).status, 404, other);
    assert.is((await scene.ask(path, good, "bytes=5-9")).status, 404);
  });

  test("sends a blob that is on its way as it comes, and ends broken when it does not", async () => {
    await using scene = await aScene();
    for (const isKept of [false, true]) {
      const writer = scene.blobs.writer(digest, bytes.length);
      await writer?.write(bytes.subarray(0, 300_000));
      const chunks = download(scene, good);
      let received = 0;
      while (received < 300_000) received += (await chunks.next()).value?.length ?? 0;
      if (isKept) {
        await writer?.write(bytes.subarray(300_000));
        assert.is(await writer?.commit(), true);
      } else await writer?.abandon();
      const rest = drain(chunks).then(
        (length) => received + length,
        () => "broken",
      );
      assert.is(await rest, isKept ? bytes.length : "broken");
    }
  });

  test("is known by its node's name alone, and speaks no old TLS", async () => {
    await using scene = await aScene();
    await keep(scene.blobs);
    const stranger = { kind: "node", nodeId: "node-b", port: scene.server.port } as const;
    const peer = { ...stranger, address: "127.0.0.1", ticket: good };
    const request = {
      ...claim,
      size: bytes.length,
      offset: 0,
      signal: new AbortController().signal,
    };
    const failure = await drain(downloadFromPeer(peer, scene.caPem, request)).catch(String);
    assert.match(String(failure), /altnames|ERR_TLS_CERT_ALTNAME_INVALID/i);
    const socket = connect({
      port: scene.server.port,
      host: "127.0.0.1",
      maxVersion: "TLSv1.2",
      rejectUnauthorized: false,
    });
    const [error] = await once(socket, "error");
    assert.match(String(error), /alert|EPROTO|ECONNRESET|version/i);
  });

  test("serves sixteen at the same time, and no more until one ends", async () => {
    await using scene = await aScene();
    const writer = scene.blobs.writer(digest, bytes.length);
    await writer?.write(bytes.subarray(0, 10));
    const abort = new AbortController();
    const downloads = Array.from({ length: 16 }, () => download(scene, good, abort.signal));
    for (const chunks of downloads) await chunks.next();
    assert.is((await scene.ask(path, good)).status, 503);
    abort.abort();
    await Promise.all(downloads.map((chunks) => drain(chunks).catch(() => 0)));
    await writer?.write(bytes.subarray(10));
    await writer?.commit();
    while ((await scene.ask(path, good)).status !== 200);
  });
});

type Scene = AsyncDisposable & {
  readonly server: PeerServer;
  readonly blobs: BlobCache;
  readonly caPem: string;
  readonly ask: (path: string, ticket: string, range?: string) => Promise<Answer>;
};
type Answer = {
  readonly status: number;
  readonly contentRange: unknown;
  readonly body: Buffer;
};

async function aScene(): Promise<Scene> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(aTemporaryDirectory());
  const authority = await ensureAuthority(join(folder.path, "ca"), Date.now());
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issued = await issueNodeCertificate(authority, {
    nodeId: "node-a",
    publicKeyPem: publicKey.export({ type: "spki", format: "pem" }),
    nowMs: Date.now(),
  });
  const blobs = openBlobCache({
    directory: join(folder.path, "blobs"),
    bytesMax: 1024 ** 3,
    clock: Date.now,
    logger: { warn: () => undefined },
  });
  const server = await startPeerServer({
    blobs,
    nodeId: "node-a",
    key,
    certificate: {
      certPem: issued?.certificatePem ?? "",
      keyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
    },
    port: 0,
    clock: Date.now,
    takeBytes: () => Promise.resolve(),
  });
  undo.defer(() => server.close());
  const caPem = authority.certificatePem;
  const dispatcher = new Agent({ connect: { ca: caPem, servername: "node-a" } });
  undo.defer(() => dispatcher.destroy());
  const whole = undo.move();
  return {
    server,
    blobs,
    caPem,
    ask: async (target, ticket, range) => {
      const { statusCode, headers, body } = await dispatcher.request({
        origin: `https://127.0.0.1:${server.port}`,
        path: target,
        method: "GET",
        headers: {
          ...(ticket === "" ? {} : { authorization: `Bearer ${ticket}` }),
          ...(range === undefined ? {} : { range }),
        },
      });
      const received = Buffer.from(await body.arrayBuffer());
      return { status: statusCode, contentRange: headers["content-range"], body: received };
    },
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}

function download(
  { server, caPem }: Scene,
  ticket: string,
  signal: AbortSignal = new AbortController().signal,
): AsyncGenerator<Buffer, void> {
  const peer = { kind: "node", nodeId: "node-a", address: "127.0.0.1", port: server.port } as const;
  const request = { ...claim, size: bytes.length, offset: 0, signal };
  return downloadFromPeer({ ...peer, ticket }, caPem, request);
}

async function drain(chunks: AsyncIterable<Buffer>): Promise<number> {
  let length = 0;
  for await (const chunk of chunks) length += chunk.length;
  return length;
}

async function keep(blobs: BlobCache): Promise<void> {
  const writer = blobs.writer(digest, bytes.length);
  await writer?.write(bytes);
  await writer?.commit();
}
