/** What a store with its blobs in a bucket has acknowledged must outlive `kill -9` at any moment. */
import process from "node:process";

import { createClient } from "../../support/registry-client.ts";
import { anS3Server, s3ServerMissing } from "../../support/s3-server.ts";
import { startStore } from "../../support/store-process.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { killAtWork } from "../crash/kill-at-work.ts";
import { createLedger } from "../crash/ledger.ts";
import { ownerIn, type Place, placeAt } from "./place.ts";

const KILLS = 15;
/** A slow machine does fewer. */
const BUDGET_MS = 180_000;
const ROUND = { clients: 3, afterMsMax: 100 };

const program = new URL("crash-store.ts", import.meta.url).pathname;

suite("kill -9 of a store in a bucket", (test) => {
  if (s3ServerMissing !== undefined) {
    test.skip("loses nothing and leaves nothing", s3ServerMissing);
    return;
  }
  test(
    "loses nothing, invents nothing, and leaves no data that nothing names",
    async () => {
      await using s3 = await anS3Server();
      await using folder = aTemporaryDirectory();
      const { accessKeyId, secretAccessKey } = s3.credentials;
      // The store reads them where every tool of AWS does.
      process.env["AWS_ACCESS_KEY_ID"] = accessKeyId;
      process.env["AWS_SECRET_ACCESS_KEY"] = secretAccessKey;
      const address = s3.newAddress();
      const args = [program, folder.path, address];
      const ledger = createLedger();
      const deadline = performance.now() + BUDGET_MS;
      let kills = 0;
      while (kills < KILLS && performance.now() < deadline) {
        await killAtWork(args, ledger, ROUND);
        kills += 1;
      }
      const last = await startStore(args);
      try {
        await ledger.verify(createClient(last.url));
        await expectNoOrphans(placeAt(address, s3.credentials));
      } finally {
        await last.kill();
      }
      const acknowledged = ledger.acknowledged();
      console.log(`${kills} kills, ${acknowledged} pushes and deletes kept`);
      assert.ok(kills >= KILLS / 5 && acknowledged >= KILLS / 5, `only ${kills} kills`);
    },
    { timeoutMs: 550_000 },
  );
});

/** Each folder of data belongs to a record, and nothing waits to be deleted or finished. */
async function expectNoOrphans({ bucket, keys }: Place): Promise<void> {
  const owners = new Set<string>();
  for (const key of [...(await keys("blobs/")), ...(await keys("uploads/"))]) {
    owners.add(ownerIn(await bucket.getWhole(key)));
  }
  const data = await keys("data/");
  assert.ok(data.length > 0);
  assert.equal(
    data.filter((key) => !owners.has(key.split("/")[1] ?? "")),
    [],
  );
  assert.equal(await keys("trash/"), []);
  for await (const { key } of bucket.listMultiparts("data/")) {
    assert.ok(owners.has(key.split("/")[1] ?? ""), key);
  }
}
