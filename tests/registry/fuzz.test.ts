/** Thousands of hostile requests, by a printed seed: never a 5xx, never a hang, and an answer in the spec's shape. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";

import fc from "fast-check";

import { anImage } from "../support/images.ts";
import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";

const REQUESTS = 4_000;
const seed = Number(process.env["STRATA_FUZZ_SEED"] ?? randomInt(2 ** 31));
const blob = randomBlob(5_000);
const digest = digestOf(blob);

const odd = fc.constantFrom(
  "..",
  ".",
  "%2e%2e",
  "%2F",
  "%00",
  "%",
  "%zz",
  "%ff",
  "A",
  "a".repeat(256),
  "_",
  "-a",
  "a-",
  "a__b",
  "a___b",
  "é",
  "%c3%a9",
  "\u00ff",
  "a%0d%0ab",
  "?",
  "#",
  ";",
  "\\",
  "sha256:",
  "blobs",
  "uploads",
  "manifests",
  "tags",
  "list",
  "referrers",
  "_catalog",
  "v2",
  "",
);
const digests = fc.oneof(
  fc.constantFrom(
    digest,
    digest.toUpperCase(),
    digest.slice(0, -1),
    `${digest}0`,
    "sha256:",
    "sha256:bad",
  ),
  fc.constantFrom(
    digestOf(blob, "sha512"),
    digest.replace("sha256", "sha512"),
    "md5:abc",
    "sha256:../../etc",
  ),
  fc.stringMatching(/^[a-z0-9+._-]{1,8}:[a-fA-F0-9=_-]{1,140}$/),
);
const names = fc.oneof(
  { weight: 3, arbitrary: fc.constant("repo") },
  fc
    .array(fc.oneof(odd, fc.stringMatching(/^[a-z0-9]{1,5}$/)), { minLength: 1, maxLength: 4 })
    .map((parts) => parts.join("/")),
);
const references = fc.oneof(digests, odd, fc.constantFrom("tag", ".tag", "t".repeat(129)));
const ids = fc.oneof(odd, fc.uuid(), fc.constant("../../store.db"));
const numbers = fc.oneof(
  fc.integer({ min: -10, max: 10_000 }).map(String),
  fc.constantFrom("", "9".repeat(30), "1e3", "0x10", "NaN", " ", "-"),
);
const ranges = fc
  .array(
    fc.tuple(numbers, numbers).map(([from, to]) => `${from}-${to}`),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(","));
const queries = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        "n",
        "last",
        "digest",
        "mount",
        "from",
        "tag",
        "artifactType",
        "digest-algorithm",
        "ns",
      ),
      fc.oneof(numbers, digests, odd),
    ),
    { maxLength: 4 },
  )
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));
const paths = fc.oneof(
  fc.tuple(names, digests).map(([name, text]) => `/v2/${name}/blobs/${text}`),
  fc.tuple(names, references).map(([name, text]) => `/v2/${name}/manifests/${text}`),
  fc.tuple(names, digests).map(([name, text]) => `/v2/${name}/referrers/${text}`),
  fc.tuple(names, ids).map(([name, id]) => `/v2/${name}/blobs/uploads/${id}`),
  names.map((name) => `/v2/${name}/blobs/uploads/`),
  names.map((name) => `/v2/${name}/tags/list`),
  fc.array(odd, { maxLength: 6 }).map((parts) => `/v2/${parts.join("/")}`),
);
const bodies = fc.oneof(
  fc.constant(""),
  fc.constant(blob.toString("latin1")),
  fc.constant(anImage().manifest.bytes.toString()),
  fc.json({ maxDepth: 4 }),
  fc.string({ maxLength: 200 }),
);
const headers = fc.record(
  {
    range: fc.oneof(
      ranges.map((text) => `bytes=${text}`),
      ranges,
    ),
    "content-range": ranges,
    "content-type": fc.constantFrom(
      "application/vnd.oci.image.manifest.v1+json",
      "",
      "x",
      "a/b; c=d",
    ),
    "if-none-match": fc.constantFrom("*", `"${digest}"`, "W/", ",,,"),
    "if-range": fc.constantFrom(`"${digest}"`, "x"),
  },
  { requiredKeys: [] },
);
const requests = fc.record({
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"),
  path: paths,
  query: queries,
  headers,
  body: bodies,
});

type HostileRequest = typeof requests extends fc.Arbitrary<infer Value> ? Value : never;

/** As bytes, so that nothing is put right on the way. */
function format({ method, path, query, headers: fields, body }: HostileRequest): Buffer {
  const clean = (text: string): string => text.replaceAll(/[\s\p{Cc}]/gu, "+");
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  const content = Buffer.from(body);
  const head = [
    `${method} ${clean(path)}${query === "" ? "" : `?${clean(query)}`} HTTP/1.1`,
    "Host: fuzz",
    "Connection: close",
    `Content-Length: ${content.length}`,
    ...lines,
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), content]);
}

async function exchange(port: number, message: Buffer): Promise<Buffer> {
  const socket: Socket = connect(port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  // A server that refuses early may reset the connection behind its answer.
  socket.on("error", () => undefined);
  socket.end(message);
  await once(socket, "close");
  return Buffer.concat(chunks);
}

suite("hostile requests", (test) => {
  test(
    `never make the registry fail (STRATA_FUZZ_SEED=${seed})`,
    async () => {
      await using server = await aRegistryServer();
      await createClient(server.url).pushBlob("repo", blob);
      const port = Number(server.host.split(":")[1]);
      await fc.assert(
        fc.asyncProperty(requests, async (request) => {
          const answer = await exchange(port, format(request));
          const status = Number(/^HTTP\/1.1 (\d{3}) /.exec(answer.subarray(0, 20).toString())?.[1]);
          assert.ok(
            status >= 200 && status < 500,
            `${status} for ${request.method} ${request.path}`,
          );
          assert.equal(server.faults, []);
        }),
        { seed, numRuns: REQUESTS },
      );
      const after = await createClient(server.url).send("GET", `/v2/repo/blobs/${digest}`);
      assert.ok(after.status === 404 || after.body.equals(blob));
    },
    { timeoutMs: 240_000 },
  );
});
