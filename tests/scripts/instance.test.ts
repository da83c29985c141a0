import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { loadInstance, saveInstance, SetupError } from "../../scripts/instance/instance.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const messageOf = (body: () => unknown): string => {
  try {
    body();
  } catch (error) {
    if (error instanceof SetupError) return `${error.message}; ${error.remedy}`;
    throw error;
  }
  throw new Error("did not throw");
};

suite("an instance", (test) => {
  test("keeps its run-time files with its data when the data is moved", async () => {
    await using folder = aTemporaryDirectory();
    const instance = loadInstance({ STRATA_DATA: folder.path, STRATA_PORT: "7170" });
    assert.is(instance.run, join(folder.path, "run"));
    assert.is(instance.url, "http://127.0.0.1:7171");
    assert.is(instance.agentUrl, "https://127.0.0.1:7170");
  });

  test("listens on one port only without TLS", async () => {
    await using folder = aTemporaryDirectory();
    const environment = { STRATA_DATA: folder.path, STRATA_PORT: "7170", STRATA_TLS: "off" };
    const { url, agentUrl } = loadInstance(environment);
    assert.equal([url, agentUrl], ["http://127.0.0.1:7170", "http://127.0.0.1:7170"]);
  });

  test("has a bridge, subnet, ports and user ids apart from the default's and another's", async () => {
    await using one = aTemporaryDirectory();
    await using other = aTemporaryDirectory();
    const settings = loadInstance({ STRATA_DATA: one.path }).settings;
    const others = loadInstance({ STRATA_DATA: other.path }).settings;
    assert.match(settings["STRATA_BRIDGE"] ?? "", /^st[0-9a-f]{6}$/);
    assert.match(settings["STRATA_SUBNET"] ?? "", /^10\.1[01]\d\.0\.0\/16$/);
    assert.is.not(settings["STRATA_BRIDGE"], others["STRATA_BRIDGE"]);
  });

  test("is found again with all that was decided for it", async () => {
    await using folder = aTemporaryDirectory();
    const data = join(folder.path, "data");
    const first = loadInstance({ STRATA_DATA: data, STRATA_PORT: "7270", STRATA_BRIDGE: "mine0" });
    saveInstance(first);
    assert.equal(loadInstance({ STRATA_DATA: data }), first);
    assert.is(
      loadInstance({ STRATA_DATA: data, STRATA_PORT: "7370" }).url,
      "http://127.0.0.1:7371",
    );
  });

  test("refuses a folder with files that are not its own, a relative one, and a port that is none", async () => {
    await using folder = aTemporaryDirectory();
    mkdirSync(join(folder.path, "data"));
    writeFileSync(join(folder.path, "data/mine.txt"), "");
    const foreign = { STRATA_DATA: join(folder.path, "data") };
    assert.match(
      messageOf(() => loadInstance(foreign)),
      "point STRATA_DATA at a new or empty folder",
    );
    assert.match(
      messageOf(() => loadInstance({ STRATA_DATA: "data" })),
      "give an absolute path",
    );
    for (const port of ["0", "65535", "http", "-1"]) {
      const environment = { STRATA_DATA: join(folder.path, "new"), STRATA_PORT: port };
      assert.match(
        messageOf(() => loadInstance(environment)),
        "give a port from 1 to 65534",
      );
    }
  });
});
