import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { runCli } from "./support/run-cli.ts";

suite("on the controller's own machine", (test) => {
  test("STRATA_DATA alone leads to a moved installation, with its port and token", async () => {
    await using server = await aControllerServer();
    await using data = aTemporaryDirectory();
    const { STRATA_TOKEN: token = "" } = server.env;
    writeFileSync(join(data.path, "admin-token"), `${token}\n`);
    const port = Number(new URL(server.url).port) - 1;
    writeFileSync(join(data.path, "instance.env"), `STRATA_RUN=/run/x\nSTRATA_PORT=${port}\n`);

    const { status, stdout, stderr } = await runCli(["get", "partitions", "-o", "json"], {
      env: { STRATA_DATA: data.path },
      isRoot: true,
    });
    assert.is(status, 0, stderr);
    assert.equal(JSON.parse(stdout), []);
  });
});
