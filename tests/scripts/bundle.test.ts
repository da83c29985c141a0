import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { gzipSync } from "node:zlib";

import { bundleController } from "../../scripts/bundle.ts";
import { controllerCommand, controllerEnvironment } from "../../scripts/instance/services.ts";
import { root } from "../../scripts/root.ts";
import { aControllerProcess } from "../support/controller-process.ts";
import { assert, suite } from "../support/suite.ts";

suite("the controller's bundle", (test) => {
  test("serves, finds its files and starts its threads", async () => {
    const { program } = await bundleController();
    assert.is(controllerCommand.at(-1), program);
    await using controller = await aControllerProcess({
      command: controllerCommand,
      environment: controllerEnvironment,
    });
    const help = await controller.call("GET", "/");
    assert.match(help.body, controller.dataDirectory);
    const put = await controller.call("PUT", "/v1/scaling-policies/auto", {
      body: { max: 9, metrics: [{ kind: "in-flight", target: 10 }] },
    });
    assert.is(put.status, 201, JSON.stringify(put.body));
    const simulated = await controller.call("POST", "/v1/scaling-policies/auto/simulate", {
      body: { csv: "0,1\n200,50\n400,9" },
    });
    assert.is(simulated.status, 200, JSON.stringify(simulated.body));
    const backup = await controller.call("POST", "/v1/backups", { body: {} });
    assert.is(backup.status, 200);
    assert.is(await controller.kill("SIGTERM"), 0);
  });

  test("is not made twice of the same", async () => {
    await bundleController();
    assert.is((await bundleController()).built, false);
  });

  test("makes deltas in a thread of its own", async () => {
    await bundleController();
    const same = randomBytes(100_000);
    const [base, target] = [1, 2].map(() => gzipSync(Buffer.concat([same, randomBytes(100)])));
    const worker = new Worker(join(root, "controller/dist/delta-worker.mjs"), {
      workerData: { bases: [base], target },
    });
    const [made] = await once(worker, "message");
    assert.ok(made.bytes.length < 5000, `${made.bytes.length} bytes`);
  });
});
