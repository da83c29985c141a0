import { existsSync } from "node:fs";
import { join } from "node:path";

import { JoinTokenCreated, listOf, Node } from "@strata/protocol/api/resources";

import { root } from "../../scripts/root.ts";
import { aMachine } from "../support/machine.ts";
import {
  aRunningInstance,
  mustBecome,
  pageOf,
  type RunningInstance,
  urlOf,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

// The program itself: the one in .bin is a parent that passes no signal on.
const deno = join(root, "agent/node_modules/deno/deno");

/** A token for a partition of the test's own, so that what runs there runs on the second machine. */
async function aJoinToken({ mustCall }: RunningInstance): Promise<JoinTokenCreated> {
  await mustCall("PUT", "/v1/partitions/second", {});
  const body = { partition: "second" };
  return JoinTokenCreated.parse(await mustCall("POST", "/v1/join-tokens", body));
}

async function nodeOfSecond({ mustCall }: RunningInstance): Promise<Node> {
  return mustBecome("the second node is ready", async () => {
    const { items } = listOf(Node).parse(await mustCall("GET", "/v1/nodes"));
    return items.find((node) => node.partition === "second" && node.state === "ready");
  });
}

/** Runs two processes there, asks them for their page from this machine, and takes them away again. */
async function assertServes(strata: RunningInstance, address: string): Promise<void> {
  const { call, mustCall, readyProcesses } = strata;
  const wish = { cartridge: "hello", partition: "second", processes: 2 };
  await mustCall("PUT", "/v1/subscriptions/away", wish);
  for (const one of await readyProcesses("away", 2)) {
    assert.is(new URL(urlOf(one)).hostname, address);
    assert.match(await pageOf(urlOf(one)), one.id);
    const command = ["hostname"];
    const exec = await mustCall("POST", `/v1/processes/${one.id}/exec`, { command });
    assert.match(JSON.stringify(exec), one.id);
  }
  await mustCall("DELETE", "/v1/subscriptions/away");
  await mustBecome("the subscription is gone", async () =>
    (await call("GET", "/v1/subscriptions/away")).status === 404 ? true : undefined,
  );
}

suite("a second machine", (test) => {
  test(
    "joins with the one curl line, runs processes, and is clean after --uninstall",
    async () => {
      await using strata = await aRunningInstance();
      await using machine = await aMachine();
      const { command } = await aJoinToken(strata);
      const data = join(strata.scratch, "second");
      const prefix = join(strata.scratch, "prefix");
      const env = { STRATA_DATA: data, STRATA_PREFIX: prefix };
      // The test stays on addresses that it made.
      const line = command.replaceAll(
        /https:\/\/[^/\s]+:(\d+)/g,
        `https://${machine.hostAddress}:$1`,
      );
      const withAddress = `${line} --address ${machine.address}`;

      const output = await machine.shell(withAddress, env);
      assert.match(output, "joined as node");
      await nodeOfSecond(strata);
      await assertServes(strata, machine.address);
      assert.match(await machine.shell(withAddress, env), "the agent runs already");

      const script = `curl -fsSk https://${machine.hostAddress}:${strata.instance.settings["STRATA_PORT"]}/install.sh`;
      await machine.shell(`${script} | sh -s -- --uninstall`, env);
      assert.not(existsSync(join(data, "agent")));
      assert.not(existsSync(join(prefix, "bin/strata-agent")));
      assert.is(await machine.shell("nft list tables", {}), "");
    },
    { timeoutMs: 240_000 },
  );

  test(
    "trusts nobody but the CA that its token names",
    async () => {
      await using strata = await aRunningInstance();
      await using machine = await aMachine();
      const { token, command } = await aJoinToken(strata);
      const forged = command.replace(token, token.replace(/[0-9a-f]{64}$/, "0".repeat(64)));
      const data = join(strata.scratch, "second");
      const env = { STRATA_DATA: data, STRATA_PREFIX: join(strata.scratch, "prefix") };
      const line = forged.replaceAll(
        /https:\/\/[^/\s]+:(\d+)/g,
        `https://${machine.hostAddress}:$1`,
      );
      const failure = await machine.shell(line, env).then(() => "", String);
      assert.match(failure, "the controller's CA is not the one that the token names");
      assert.not(existsSync(join(data, "agent")));
    },
    { timeoutMs: 120_000 },
  );

  test(
    "runs the agent under deno as well",
    async () => {
      await using strata = await aRunningInstance();
      await using machine = await aMachine();
      const { token } = await aJoinToken(strata);
      const env = { STRATA_DATA: join(strata.scratch, "second") };
      const agent = `${deno} run -A ${join(root, "agent/src/main.ts")}`;
      const url = `https://${machine.hostAddress}:${strata.instance.settings["STRATA_PORT"]}`;
      await machine.shell(
        `echo ${token} | ${agent} join --token - --controller ${url} --address ${machine.address}`,
        env,
      );
      const stop = machine.start([deno, "run", "-A", join(root, "agent/src/main.ts"), "run"], env);
      await nodeOfSecond(strata);
      await assertServes(strata, machine.address);
      await stop();
      await machine.shell(`${agent} purge`, env);
    },
    { timeoutMs: 240_000 },
  );
});
