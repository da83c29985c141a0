import { aScene, fails, type Scene } from "../controller/rollouts/support.ts";
import { assert, suite } from "../support/suite.ts";
import { aControllerServer, type ControllerServer } from "./support/controller-server.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

type Stage = { readonly scene: Scene; readonly strata: (...args: string[]) => Promise<CliResult> };

async function aStage(server: ControllerServer, subscription: object): Promise<Stage> {
  const scene = await aScene(subscription, { controller: server.controller });
  return { scene, strata: (...args) => runCli(args, { env: server.env }) };
}

suite("strata rollout", (test) => {
  test("shows how far it is, promotes, rolls back and lists what was", async () => {
    await using server = await aControllerServer();
    const { scene, strata } = await aStage(server, { processes: 2, rollout: { canary: 1 } });
    await scene.put({ env: { MODE: "b" } });
    await scene.work(20);
    const status = await strata("rollout", "status", "hi");
    assert.is(
      status.stdout,
      "hi generation 2 is canary (env changed): 1 of 2 processes are of it, 1 ready; " +
        "1 canaries of generation 2 are ready, and the rest waits for them to be promoted\n",
    );
    assert.match((await strata("rollout", "pause", "hi")).stdout, /generation 2 is paused/);
    assert.is((await strata("rollout", "promote", "hi")).status, 1);
    assert.is((await strata("rollout", "resume", "hi")).status, 0);
    await scene.work();
    assert.match((await strata("rollout", "promote", "hi")).stdout, /generation 2 is progressing/);
    await scene.work(20);
    assert.match(
      (await strata("rollout", "rollback", "hi")).stdout,
      /3 is progressing \(roll-back/,
    );
    await scene.work(20);
    const { stdout } = await strata("rollout", "history", "hi");
    const lines = stdout.trimEnd().split("\n");
    assert.match(lines[0] ?? "", /^GENERATION +STATE +IMAGE +AGE +CAUSE +REASON$/);
    assert.match(lines[1] ?? "", /^3 +complete +sha256:\w+ .*roll-back to generation 1/);
    assert.match(lines[2] ?? "", /^2 +rolledBack .*rolled back by hand/);
    const json = await strata("rollout", "history", "hi", "-o", "json");
    assert.is(JSON.parse(json.stdout).length, 3);
    const none = await strata("rollout", "rollback", "hi", "--to", "99");
    assert.is(none.status, 1);
    assert.match(none.stderr, /generation 99 of subscription hi is not kept/);
  });

  test("says with --wait that what it waited for was rolled back, and why", async () => {
    await using server = await aControllerServer();
    const { scene, strata } = await aStage(server, { processes: 1 });
    scene.conduct.set(2, fails);
    await scene.put({ env: { MODE: "bad" } });
    const waiting = strata("rollout", "status", "hi", "--wait");
    // Until the command has looked once.
    while (server.answered() < 2) await new Promise((resolve) => void setImmediate(resolve));
    await scene.work(20);
    const { status, stderr } = await waiting;
    assert.is(status, 1);
    assert.match(stderr, /generation 2 of hi did not come up: .*no such image/);
  });
});
