/** What the driver of S3 does when its bucket is silent, refused, another's, or away for a while. */
import { randomBytes } from "node:crypto";

import { put, requireBlob } from "../../contract/blob-store.ts";
import { createClient, errorCodes } from "../../support/registry-client.ts";
import { aRegistryServer } from "../../support/registry-server.ts";
import { s3ServerMissing } from "../../support/s3-server.ts";
import { assert, rejectsWithCode, suite, type Test } from "../../support/suite.ts";
import { aGate, aPlace, credentials, type Place, placeAt, slow } from "./place.ts";

const define = (test: Test): void => {
  test(
    "a server that says nothing is given up in time",
    async () => {
      await using gate = await aGate(await aPlace(), () => undefined);
      const { open } = placeAt(gate.address, credentials);
      const limits = { silenceMsMax: 200, attemptsMax: 2, operationMsMax: 20_000 };
      await rejectsWithCode(open(limits), "STORAGE_UNAVAILABLE");
      await rejectsWithCode(
        open({ silenceMsMax: 60_000, operationMsMax: 500 }),
        "STORAGE_UNAVAILABLE",
      );
    },
    slow,
  );

  test("a bucket that is not there, or is not ours, is named with the remedy", async () => {
    const { address } = await aPlace();
    const missing = placeAt(address.replace("s3://store", "s3://no-such-bucket"), credentials);
    assert.match(await refusal(missing), /NoSuchBucket.*check the bucket's name/);
    const foreign = placeAt(address, { ...credentials, secretAccessKey: "wrong" });
    assert.match(await refusal(foreign), /SignatureDoesNotMatch.*what the credentials may do/);
  });

  test(
    "the blobs of another store are refused, with the way to take them over",
    async () => {
      const { open, bucket } = await aPlace();
      const blob = await put(await open());
      const error = await rejectsWithCode(open({}, "another"), "STORAGE_REFUSED");
      assert.match("hint" in error ? String(error.hint) : "", /delete place\/\d+\/store$/);
      await bucket.delete("store");
      await using read = await requireBlob(await open({}, "another"), blob);
      assert.ok(read.sizeBytes > 0);
    },
    slow,
  );

  test(
    "while the bucket is away, clients are told to come back, and nothing is taken for lost",
    async () => {
      const place = await aPlace();
      let away = false;
      await using gate = await aGate(place, (client, server) => {
        if (away) client.destroy();
        client.on("data", () => {
          if (away) client.destroy();
        });
        client.pipe(server).pipe(client);
      });
      const store = await placeAt(gate.address, credentials).open({ attemptsMax: 2 });
      await using server = await aRegistryServer({ blobs: store });
      const client = createClient(server.url);
      const bytes = randomBytes(300_000);
      const path = `/v2/a/blobs/${await client.pushBlob("a", bytes)}`;
      away = true;
      const answer = await client.send("GET", path);
      assert.equal([answer.status, ...errorCodes(answer)], [503, "STORAGE_UNAVAILABLE"]);
      assert.ok(answer.headers["retry-after"] !== undefined);
      assert.is((await client.send("POST", "/v2/a/blobs/uploads/")).status, 503);
      away = false;
      assert.ok((await client.send("GET", path)).body.equals(bytes));
    },
    slow,
  );
};

async function refusal({ open }: Place): Promise<string> {
  const error = await rejectsWithCode(open(), "STORAGE_REFUSED");
  return `${error.message} ${"hint" in error ? String(error.hint) : ""}`;
}

suite("a bucket of S3 that fails", (test) => {
  if (s3ServerMissing === undefined) define(test);
  else test.skip("is survived", s3ServerMissing);
});
