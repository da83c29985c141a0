/** A bad change on a real machine: it takes itself back, and nobody who asks the old processes notices. */
import { setTimeout } from "node:timers/promises";

import type { Process } from "@strata/protocol/api/resources";
import { Rollout } from "@strata/protocol/api/rollouts";
import { z } from "zod";

import { waitFor } from "../../scripts/instance/wait.ts";
import {
  aRunningInstance,
  killDaemon,
  mustBecome,
  type RunningInstance,
  urlOf,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

const wish = { cartridge: "hello", processes: 2, rollout: { progressDeadline: "10m" } };
/** Between two questions to one process, and how long an answer may take on a machine that is very busy. */
const PAUSE_MS = 5;
const PATIENCE_MS = 60_000;
/** Four starts of a container and a start of the controller. */
const ROLLBACK_MS = 300_000;

const History = z.object({ items: z.array(Rollout) });

async function history({ mustCall }: RunningInstance): Promise<readonly Rollout[]> {
  return History.parse(await mustCall("GET", "/v1/subscriptions/web/rollouts")).items;
}

/** Asks every process for its page, again and again, until the scope ends. */
function aVisitor(processes: readonly Process[]): Disposable & {
  readonly answered: () => number;
  readonly failures: readonly string[];
} {
  const stop = new AbortController();
  const failures: string[] = [];
  let answered = 0;
  const visit = async (process: Process): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        const answer = await fetch(urlOf(process), { signal: AbortSignal.timeout(PATIENCE_MS) });
        const page = await answer.text();
        await setTimeout(PAUSE_MS);
        if (!page.includes(process.id)) failures.push(`another page: ${page}`);
        answered += 1;
      } catch (error) {
        failures.push(String(error));
      }
    }
  };
  const visits = processes.map(visit);
  return {
    answered: () => answered,
    failures,
    [Symbol.dispose]: () => {
      stop.abort();
      void Promise.allSettled(visits);
    },
  };
}

suite("a bad change", (test) => {
  test(
    "rolls back by itself with its reason, over a kill of the controller, and no request fails",
    async () => {
      await using strata = await aRunningInstance();
      await strata.mustCall("PUT", "/v1/subscriptions/web", wish);
      const before = await strata.readyProcesses("web", 2);
      using visitor = aVisitor(before);
      const bad = { ...wish, command: ["/bin/sh", "-c", "echo no such setting; exit 3"] };
      await strata.mustCall("PUT", "/v1/subscriptions/web", bad);
      await mustBecome("a process of the bad generation is there", async () =>
        (await strata.processes("web")).find(({ generation }) => generation === 2),
      );
      await killDaemon(strata.instance, "controller");
      const look = async (): Promise<readonly Rollout[] | undefined> => {
        const all = await history(strata).catch(() => []);
        return all[0]?.rollbackTo === 1 && all[0].state === "complete" ? all : undefined;
      };
      const rolledBack = await waitFor(look, { timeoutMs: ROLLBACK_MS });
      assert.ok(rolledBack !== undefined, "it is rolled back");
      const [back, failed] = rolledBack ?? [];
      assert.is(back?.generation, 3);
      assert.is(failed?.state, "rolledBack");
      assert.match(failed?.reason ?? "", /ended with 3/);
      const after = await strata.readyProcesses("web", 2);
      const facts = (all: readonly Process[]): unknown =>
        all.map(({ id, pid, restarts, startedAt }) => ({ id, pid, restarts, startedAt }));
      assert.equal(facts(after), facts(before));
      const answered = visitor.answered();
      await mustBecome("they go on answering", async () =>
        visitor.answered() > answered + 10 ? true : undefined,
      );
      assert.equal(visitor.failures, []);
      const { status } = await strata.subscription("web");
      assert.match(status.message ?? "", /generation 2 was rolled back/);
    },
    { timeoutMs: 600_000 },
  );
});
