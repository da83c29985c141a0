/** Level 2 at work: nodes that come. */
import { join } from "node:path";

import { aFleet, type Fleet, type FleetOptions } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

async function aFleetIn(
  folder: { readonly path: string },
  options: FleetOptions = {},
): Promise<Fleet> {
  return aFleet({ ...options, file: join(folder.path, "strata.db") });
}

suite("nodes that come", (test) => {
  test("from none, as many as are needed are asked for in one step, within two seconds", async () => {
    await using folder = aTemporaryDirectory();
    await using fleet = await aFleetIn(folder);
    await fleet.scale(10);
    await fleet.pass(2);
    assert.is(fleet.requests.length, 3);
    await fleet.until("all are running", async () => (await fleet.running()) === 10);
    assert.is(fleet.requests.length, 3);
    assert.is((await fleet.cloudVms()).length, 3);
    assert.ok((await fleet.reasons()).includes("add 3 of cloud/small: 10 of hi had no room"));
  });
});
