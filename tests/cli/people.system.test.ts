import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { Process } from "@strata/protocol/api/resources";

import { root } from "../../scripts/root.ts";
import {
  aRunningInstance,
  killDaemon,
  mustBecome,
  type RunningInstance,
  strata,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

/** A process that counts, a line each 20 ms. */
async function aCounter(running: RunningInstance): Promise<string> {
  const script = "i=0; while :; do echo line $i; i=$((i+1)); busybox usleep 20000; done";
  await running.mustCall("PUT", "/v1/subscriptions/counter", {
    cartridge: "hello",
    processes: 1,
    command: ["/bin/sh", "-c", script],
    args: [],
  });
  return await mustBecome("the counter runs", async () => {
    const [process] = await running.processes("counter");
    return process !== undefined && Process.parse(process).state === "running"
      ? process.id
      : undefined;
  });
}

type Follower = Disposable & { readonly text: () => string };

function follow({ instance }: RunningInstance, id: string): Follower {
  const child = spawn(join(root, "strata"), ["logs", "-f", id], {
    env: { ...process.env, ...instance.settings },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  return { text: () => text, [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

/** The same as curl sees it. */
function followPlainly({ instance }: RunningInstance, id: string): Follower {
  const token = readFileSync(join(instance.data, "admin-token"), "utf8").trim();
  const gone = new AbortController();
  let text = "";
  const read = async (): Promise<void> => {
    const { body } = await fetch(`${instance.url}/v1/processes/${id}/logs?follow=true`, {
      headers: { authorization: `Bearer ${token}` },
      signal: gone.signal,
    });
    const decoder = new TextDecoder();
    for await (const chunk of body ?? []) text += decoder.decode(chunk, { stream: true });
  };
  void read().catch(() => undefined);
  return { text: () => text, [Symbol.dispose]: () => gone.abort() };
}

async function untilLonger(follower: Follower, lines: number): Promise<void> {
  const wanted = follower.text().split("\n").length + lines;
  await mustBecome(`${lines} more lines`, () =>
    Promise.resolve(follower.text().split("\n").length >= wanted || undefined),
  );
}

/** Every line from the first on, each once. */
function assertWhole(text: string): void {
  const lines = text.split("\n").slice(0, -1);
  lines.forEach((line, index) => assert.is(line, `line ${index}`));
}

suite("people at a running process", (test) => {
  test(
    "follow its log without a gap while agent and controller are killed",
    async () => {
      await using running = await aRunningInstance();
      const id = await aCounter(running);
      using follower = follow(running, id);
      using plain = followPlainly(running, id);
      await untilLonger(follower, 20);
      await untilLonger(plain, 20);
      for (let round = 0; round < 2; round += 1) {
        await killDaemon(running.instance, "agent");
        await untilLonger(follower, 50);
        await untilLonger(plain, 50);
      }
      await killDaemon(running.instance, "controller");
      await untilLonger(follower, 50);
      assertWhole(follower.text());
      assertWhole(plain.text());
    },
    { timeoutMs: 300_000 },
  );

  test(
    "copy files in and out, and see what runs",
    async () => {
      await using running = await aRunningInstance();
      const { instance, scratch } = running;
      const id = await aCounter(running);
      const tree = join(scratch, "tree");
      mkdirSync(join(tree, "sub"), { recursive: true });
      writeFileSync(join(tree, "sub/file"), "from outside\n");
      await strata(instance, "cp", tree, `${id}:/srv/new`);
      assert.is(
        await strata(instance, "exec", id, "--", "cat", "/srv/new/sub/file"),
        "from outside\n",
      );
      await strata(instance, "cp", "counter:/srv/new", join(scratch, "back"));
      assert.is(readFileSync(join(scratch, "back/sub/file"), "utf8"), "from outside\n");
      const refused = await strata(instance, "cp", "counter:/no/such", scratch).then(
        () => "",
        (error: unknown) => String(Object(error).stderr),
      );
      assert.match(refused, "/no/such: No such file or directory (PATH_NOT_FOUND)");
      assert.match(await strata(instance, "top", "counter"), /line \$i/);
    },
    { timeoutMs: 300_000 },
  );
});
