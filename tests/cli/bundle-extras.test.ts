import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { pushImage } from "../support/push-image.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

function at(controller: ControllerProcess, ...args: readonly string[]): Promise<CliResult> {
  const env = { STRATA_URL: controller.url, STRATA_TOKEN: controller.adminToken() };
  return runCli(args, { env });
}

suite("bundle create --agent --policies", (test) => {
  test(
    "brings all that a site without a network needs",
    async () => {
      await using folder = aTemporaryDirectory();
      const agents = join(folder.path, "agents");
      mkdirSync(agents);
      const agent = randomBytes(3_000_000);
      writeFileSync(join(agents, "strata-agent-linux-amd64"), agent);
      const environment = { STRATA_TLS: "off", STRATA_LISTEN: "127.0.0.1" };
      await using here = await aControllerProcess({
        environment: { ...environment, STRATA_AGENT_DIR: agents },
      });
      await using there = await aControllerProcess({ environment });
      const { url } = here;
      await pushImage({ url, token: here.adminToken() }, { repository: "team/app", tag: "1" });
      await pushImage({ url, token: here.adminToken() }, { repository: "team/other", tag: "1" });
      await here.call("PUT", "/v1/scaling-policies/calm", { body: { min: 1, max: 3 } });
      await here.call("PUT", "/v1/partitions/edge", { body: { description: "far away" } });
      const cartridge = { image: "team/app:1", partition: "edge", env: { A: "b" } };
      const put = await here.call("PUT", "/v1/cartridges/app", { body: cartridge });
      assert.is(put.status, 201, JSON.stringify(put.body));
      await here.call("PUT", "/v1/cartridges/other", { body: { image: "team/other:1" } });

      const file = join(folder.path, "site.tar");
      const args = ["bundle", "create", "team/app:1", "-o", file, "--agent", "--policies"];
      const made = await at(here, ...args);
      assert.is(made.status, 0, made.stderr);
      const files = join(folder.path, "files");
      const loaded = await at(there, "bundle", "load", file, "--files", files);
      assert.is(loaded.status, 0, loaded.stderr);
      const binary = join(files, "strata-agent-linux-amd64");
      const hash = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
      assert.is(hash(readFileSync(binary)), hash(agent));
      assert.is(statSync(binary).mode & 0o777, 0o755);

      const applied = await at(there, "apply", "-f", join(files, "resources.yaml"));
      assert.is(applied.status, 0, applied.stderr);
      assert.match(applied.stdout, "ScalingPolicy/calm created");
      assert.match(applied.stdout, "Partition/edge created");
      assert.match(applied.stdout, "Cartridge/app created");
      assert.not.match(applied.stdout, "other");
      const shown = (await there.call("GET", "/v1/cartridges/app")).body;
      assert.is(shown.digest, put.body.digest);
      assert.equal(shown.env, { A: "b" });
    },
    { timeoutMs: 120_000 },
  );

  test(
    "says that there is no agent to bring",
    async () => {
      await using folder = aTemporaryDirectory();
      await using here = await aControllerProcess({
        environment: {
          STRATA_TLS: "off",
          STRATA_LISTEN: "127.0.0.1",
          STRATA_AGENT_DIR: folder.path,
        },
      });
      const { url } = here;
      await pushImage({ url, token: here.adminToken() }, { repository: "app", tag: "1" });
      const file = join(folder.path, "b.tar");
      const { status, stderr } = await at(here, "bundle", "create", "-o", file, "--agent");
      assert.is(status, 1);
      assert.match(stderr, "the controller has no binary of the agent");
    },
    { timeoutMs: 120_000 },
  );
});
