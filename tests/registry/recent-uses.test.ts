import { parseDigest } from "@strata/protocol/oci/digest";
import type { UseRecord } from "@strata/registry/metadata-store";
import { createRecentUses, type RecentUses } from "@strata/registry/recent-uses";

import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

const digest = parseDigest(digestOf(Buffer.from("manifest")));
const place = { repository: "a", digest };

type Fixture = {
  readonly uses: RecentUses;
  readonly written: readonly UseRecord[];
  readonly errors: readonly unknown[];
  readonly wait: (ms: number) => void;
  /** Whether the next writes fail. */
  readonly disk: { full: boolean };
};

function aTracker(): Fixture {
  const written: UseRecord[] = [];
  const errors: unknown[] = [];
  const disk = { full: false };
  let now = 1_000;
  const uses = createRecentUses({
    metadata: {
      recordUses: async (record) => {
        if (disk.full) throw Object.assign(new Error("full"), { code: "SQLITE_FULL" });
        written.push(record);
      },
    },
    clock: () => now,
    onError: (error) => errors.push(error),
  });
  return { uses, written, errors, disk, wait: (ms) => (now += ms) };
}

suite("recent uses", (test) => {
  test("are written together, a minute after the last time, the latest of each kind", async () => {
    const { uses, written, wait } = aTracker();
    uses.pulled("a", digest);
    wait(10);
    uses.touched("a", digest);
    wait(10);
    uses.pulled("a", digest);
    assert.is(written.length, 0);
    wait(60_000);
    uses.blobTouched("b", digest);
    await uses.flush();
    assert.is(written.length, 1);
    const [{ manifests, blobs } = { manifests: [], blobs: [] }] = written;
    assert.equal([manifests[0]?.pulledAt, manifests[0]?.touchedAt], [1_020, 1_010]);
    assert.equal(blobs, [{ repository: "b", digest, at: 61_020 }]);
    await uses.flush();
    assert.is(written.length, 1);
  });

  test("that cannot be written are found all the same, and written later", async () => {
    const { uses, written, errors, disk } = aTracker();
    disk.full = true;
    uses.touched("a", digest);
    await uses.flush();
    assert.is(errors.length, 1);
    assert.ok(uses.isUsedSince(place, 999));
    assert.not(uses.isUsedSince(place, 1_000));
    disk.full = false;
    await uses.flush();
    assert.is(written.length, 1);
    assert.not(uses.isUsedSince(place, 999));
  });

  test("that come by the thousand do not wait for the minute, nor try at every one", async () => {
    const { uses, written, errors, disk, wait } = aTracker();
    disk.full = true;
    wait(2_000);
    for (let number = 0; number < 12_000; number += 1) uses.touched(`r${number}`, digest);
    await uses.flush();
    assert.ok(errors.length <= 2, `${errors.length} tries`);
    disk.full = false;
    wait(2_000);
    uses.touched("last", digest);
    await uses.flush();
    assert.is(
      written.reduce((sum, { manifests }) => sum + manifests.length, 0),
      12_001,
    );
  });
});
