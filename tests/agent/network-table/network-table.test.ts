import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { createLogger } from "@strata/agent/logger";
import {
  createNetworkFollower,
  type NetworkFollower,
} from "@strata/agent/network-table/network-follower";
import {
  applyTable,
  emptyNetwork,
  KeptNetwork,
  type NetworkState,
} from "@strata/agent/network-table/network-state";
import type { NetworkTable, Service } from "@strata/protocol/agent/network";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aService, aTable } from "../support/a-network.ts";

const ids = (state: NetworkState | undefined): readonly string[] =>
  [...(state?.services.keys() ?? [])].toSorted();

suite("applyTable", (test) => {
  test("replaces all by a whole table, and keeps what did not change of a difference", () => {
    const first = applyTable(
      emptyNetwork("epoch-1"),
      aTable({ services: [aService({ id: "a" }), aService({ id: "b" })], nodes: [] }),
    );
    assert.ok(first !== undefined);
    const next = applyTable(
      first,
      aTable({ since: 1, revision: 2, services: [aService({ id: "c" })], removed: ["a"] }),
    );
    assert.equal(ids(next), ["b", "c"]);
    assert.is(next?.services.get("b"), first.services.get("b"));
    const whole = applyTable(first, aTable({ revision: 9, services: [aService({ id: "z" })] }));
    assert.equal(ids(whole), ["z"]);
  });

  test("refuses a difference to what is not known", () => {
    const known = { ...emptyNetwork("epoch-1"), boot: "boot-1", revision: 4 };
    assert.is(applyTable(known, aTable({ since: 3, revision: 5 })), undefined);
    assert.is(applyTable(known, aTable({ epoch: "other", since: 4, revision: 5 })), undefined);
    assert.is(applyTable(known, aTable({ boot: "other", since: 4, revision: 5 })), undefined);
  });

  test("says whether this node is an ingress only when the message says so", () => {
    const ingress = { routes: [], certificates: [], challenges: [] };
    const first = applyTable(emptyNetwork("epoch-1"), aTable({ ingress }));
    assert.equal(first?.ingress, ingress);
    const next = first && applyTable(first, aTable({ since: 1, revision: 2 }));
    assert.equal(next?.ingress, ingress);
    const last = next && applyTable(next, aTable({ since: 2, revision: 3, ingress: null }));
    assert.is(last?.ingress, null);
  });

  test("comes by differences to what the whole says, whatever they are", () => {
    const names = fc.constantFrom("a", "b", "c", "d", "e");
    const step = fc.record({
      services: fc.uniqueArray(names),
      removed: fc.uniqueArray(names),
      generation: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const truth = new Map<string, Service>();
        let state: NetworkState | undefined = emptyNetwork("epoch-1");
        for (const [index, { services, removed, generation }] of steps.entries()) {
          const gone = removed.filter((id) => !services.includes(id));
          const changed = services.map((id) => aService({ id, alias: `x${generation}` }));
          for (const id of gone) truth.delete(id);
          for (const service of changed) truth.set(service.id, service);
          const message = aTable({ since: index, revision: index + 1, removed: gone });
          state = state && applyTable(state, { ...message, services: changed });
        }
        assert.equal(ids(state), [...truth.keys()].toSorted());
        for (const [id, service] of truth) assert.is(state?.services.get(id), service);
      }),
    );
  });
});

type Told = { readonly revision: number };

/** Answers polls by hand: each waits until there is something to say. */
function aTeller() {
  const asked: Told[] = [];
  const answers: (NetworkTable | Error)[] = [];
  let resume = (): void => undefined;
  return {
    asked,
    say: (answer: NetworkTable | Error): void => {
      answers.push(answer);
      resume();
    },
    client: {
      pollNetwork: async ({ revision }: Told, { signal }: { readonly signal: AbortSignal }) => {
        asked.push({ revision });
        while (answers.length === 0) {
          const { promise, resolve, reject } = Promise.withResolvers<void>();
          resume = resolve;
          signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
          signal.throwIfAborted();
          await promise;
        }
        const answer = answers.shift();
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
  };
}

type Following = AsyncDisposable & {
  readonly follower: NetworkFollower;
  readonly until: (revision: number) => Promise<NetworkState>;
};

function follow(
  { client }: ReturnType<typeof aTeller>,
  path: string,
  epoch: () => string = () => "epoch-1",
): Following {
  const logger = createLogger("silent");
  const follower = createNetworkFollower({ client, epoch, path, random: () => 0, logger });
  const waiting: { revision: number; resolve: (state: NetworkState) => void }[] = [];
  follower.subscribe((_, after) => {
    for (const { revision, resolve } of waiting) if (after.revision === revision) resolve(after);
  });
  const done = follower.run();
  return {
    follower,
    until: (revision) => {
      if (follower.state().revision === revision) return Promise.resolve(follower.state());
      const { promise, resolve } = Promise.withResolvers<NetworkState>();
      waiting.push({ revision, resolve });
      return promise;
    },
    [Symbol.asyncDispose]: async () => {
      follower.close();
      await done;
    },
  };
}

suite("a follower of the network", (test) => {
  test("goes on from the file when the controller is silent", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "network.json");
    {
      const teller = aTeller();
      await using first = follow(teller, path);
      teller.say(aTable({ services: [aService({ id: "a" })] }));
      await first.until(1);
      // Within the pause between two writes: the end of the follower writes it.
      teller.say(aTable({ since: 1, revision: 2, services: [aService({ id: "b" })] }));
      await first.until(2);
    }
    assert.is(KeptNetwork.parse(JSON.parse(readFileSync(path, "utf8"))).revision, 2);
    const teller = aTeller();
    teller.say(new Error("nobody there"));
    await using second = follow(teller, path);
    assert.equal(ids(second.follower.state()), ["a", "b"]);
    assert.is(teller.asked[0]?.revision, 2);
  });

  test("writes the first table at once", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "network.json");
    const teller = aTeller();
    await using follower = follow(teller, path);
    teller.say(aTable());
    await follower.until(1);
    assert.ok(existsSync(path));
  });

  test("asks for everything when a difference does not fit, and when its file is damaged", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "network.json");
    writeFileSync(path, "{");
    const teller = aTeller();
    await using follower = follow(teller, path);
    teller.say(aTable({ revision: 3, services: [aService({ id: "a" })] }));
    await follower.until(3);
    teller.say(aTable({ since: 7, revision: 8, services: [aService({ id: "b" })] }));
    teller.say(aTable({ revision: 9, services: [aService({ id: "c" })] }));
    assert.equal(ids(await follower.until(9)), ["c"]);
    assert.equal(
      teller.asked.slice(0, 3).map(({ revision }) => revision),
      [0, 3, 0],
    );
  });

  test("takes nothing of an epoch that this node does not obey, until it does", async () => {
    await using folder = aTemporaryDirectory();
    const teller = aTeller();
    let epoch = "epoch-1";
    await using follower = follow(teller, join(folder.path, "network.json"), () => epoch);
    teller.say(aTable({ services: [aService({ id: "a" })] }));
    await follower.until(1);
    teller.say(aTable({ epoch: "epoch-2", revision: 5, services: [] }));
    teller.say(aTable({ since: 1, revision: 2, services: [aService({ id: "b" })] }));
    assert.equal(ids(await follower.until(2)), ["a", "b"]);
    epoch = "epoch-2";
    teller.say(aTable({ epoch: "epoch-2", revision: 6, services: [aService({ id: "z" })] }));
    assert.equal(ids(await follower.until(6)), ["z"]);
  });
});
