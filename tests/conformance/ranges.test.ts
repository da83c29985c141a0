import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { algorithms } from "./checks.ts";

const bytes = randomBlob(2048);

/** Asked for, then first and last byte answered. */
const satisfiable = [
  ["500-1499", 500, 1499],
  ["500-", 500, 2047],
  ["-500", 1548, 2047],
  ["2000-5000", 2000, 2047],
] as const;

for (const algorithm of algorithms) {
  suite(`conformance: ${algorithm} ranges`, (test) => {
    for (const [range, first, last] of satisfiable) {
      test(`end-2, RFC 9110 14.2: bytes=${range} is 206`, async () => {
        await using server = await aRegistryServer();
        const client = createClient(server.url);
        const digest = await client.pushBlob("repo1", bytes, algorithm);
        const headers = { range: `bytes=${range}` };
        const answer = await client.send("GET", `/v2/repo1/blobs/${digest}`, { headers });
        assert.is(answer.status, 206);
        assert.is(answer.headers["content-length"], String(last - first + 1));
        assert.is(answer.headers["content-range"], `bytes ${first}-${last}/2048`);
        assert.is(answer.headers["docker-content-digest"], digestOf(bytes, algorithm));
        assert.ok(answer.body.equals(bytes.subarray(first, last + 1)));
      });
    }

    for (const range of ["500-0", "5000-10000"]) {
      test(`end-2, RFC 9110 14.2: bytes=${range} is 416`, async () => {
        await using server = await aRegistryServer();
        const client = createClient(server.url);
        const digest = await client.pushBlob("repo1", bytes, algorithm);
        const headers = { range: `bytes=${range}` };
        const answer = await client.send("GET", `/v2/repo1/blobs/${digest}`, { headers });
        assert.is(answer.status, 416);
        assert.is(answer.headers["content-range"], "bytes */2048");
        assert.is(answer.headers["content-length"], String(answer.body.length));
      });
    }
  });
}
