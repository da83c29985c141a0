import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";

import { askNetwork } from "@strata/agent/container/ask-network";
import { type Ask, watchHealth } from "@strata/agent/container/health";
import type { Answer, HealthState } from "@strata/agent/container/health-state";
import type { ProbeName } from "@strata/agent/container/probe-plan";
import type { Probe } from "@strata/protocol/agent/probes";

import { assert, suite } from "../../support/suite.ts";

const probe: Probe = {
  kind: "tcp",
  port: 80,
  intervalMs: 100,
  timeoutMs: 1000,
  failureThreshold: 2,
};

/** A process whose answers the test decides. */
function aPatient(): {
  readonly ask: Ask;
  readonly say: (name: ProbeName, answer: Answer | undefined) => void;
  /** Questions so far, by probe. */
  readonly asked: Map<ProbeName, number>;
  /** Resolves when the probe has been asked so often. */
  readonly untilAsked: (name: ProbeName, times: number) => Promise<void>;
  readonly underWayMax: () => number;
} {
  const answers = new Map<ProbeName, Answer | undefined>();
  const asked = new Map<ProbeName, number>();
  const underWay = new Map<ProbeName, number>();
  const waiting: (() => void)[] = [];
  let most = 0;
  return {
    asked,
    ask: async ({ name }) => {
      asked.set(name, (asked.get(name) ?? 0) + 1);
      underWay.set(name, (underWay.get(name) ?? 0) + 1);
      most = Math.max(most, ...underWay.values());
      for (const look of waiting.splice(0)) look();
      await new Promise((resolve) => setImmediate(resolve));
      underWay.set(name, (underWay.get(name) ?? 0) - 1);
      return answers.has(name) ? answers.get(name) : { isWell: true };
    },
    say: (name, answer) => void answers.set(name, answer),
    untilAsked: async (name, times) => {
      while ((asked.get(name) ?? 0) < times)
        await new Promise<void>((resolve) => waiting.push(resolve));
    },
    underWayMax: () => most,
  };
}

const ill: Answer = { isWell: false, why: "no" };

suite("watchHealth", (test) => {
  test("asks for the startup alone until that has succeeded, then for the others", async () => {
    const patient = aPatient();
    patient.say("startup", ill);
    const seen: HealthState[] = [];
    const startup = { ...probe, failureThreshold: 10_000 };
    using watch = watchHealth(
      { startup, readiness: probe, liveness: probe },
      { ask: patient.ask, wasStarted: false, onChange: (state) => seen.push(state) },
    );
    await patient.untilAsked("startup", 5);
    assert.equal([...patient.asked.keys()], ["startup"]);
    assert.is(watch.state().reason, "startup probe: no");
    assert.equal(seen, []);
    patient.say("startup", { isWell: true });
    await patient.untilAsked("readiness", 3);
    await patient.untilAsked("liveness", 3);
    assert.ok(watch.state().isReady);
    assert.equal(
      seen.map(({ isStarted, isReady }) => [isStarted, isReady]),
      [
        [true, false],
        [true, true],
      ],
    );
    assert.is(patient.underWayMax(), 1);
  });

  test("goes straight on with what another life of the agent saw started", async () => {
    const patient = aPatient();
    using watch = watchHealth(
      { startup: probe, readiness: probe },
      { ask: patient.ask, wasStarted: true, onChange: () => undefined },
    );
    await patient.untilAsked("readiness", 2);
    assert.ok(watch.state().isReady);
    assert.not.ok(patient.asked.has("startup"));
  });

  test("tells of changes alone, and asks no more once the process is to be ended", async () => {
    const patient = aPatient();
    const failed = Promise.withResolvers<HealthState>();
    let changes = 0;
    using _watch = watchHealth(
      { readiness: probe, liveness: probe },
      {
        ask: patient.ask,
        wasStarted: false,
        onChange: (state) => {
          changes += 1;
          if (state.failing !== undefined) failed.resolve(state);
        },
      },
    );
    await patient.untilAsked("liveness", 3);
    assert.is(changes, 1);
    patient.say("liveness", ill);
    const { failing } = await failed.promise;
    assert.is(failing?.message, "liveness probe failed: 2 times: no");
    assert.is(changes, 2);
  });

  test("counts nothing for a process that cannot answer for itself", async () => {
    const patient = aPatient();
    patient.say("liveness", undefined);
    patient.say("startup", undefined);
    using watch = watchHealth(
      { startup: { ...probe, failureThreshold: 1 } },
      { ask: patient.ask, wasStarted: false, onChange: () => undefined },
    );
    await patient.untilAsked("startup", 6);
    assert.is(watch.state().failing, undefined);
  });

  test("tells a question that is under way of its own end", async () => {
    const ended = Promise.withResolvers<void>();
    const began = Promise.withResolvers<void>();
    const ask: Ask = async (_question, signal) => {
      signal.addEventListener("abort", () => ended.resolve());
      began.resolve();
      await ended.promise;
      return ill;
    };
    const watch = watchHealth(
      { readiness: probe },
      { ask, wasStarted: false, onChange: () => undefined },
    );
    await began.promise;
    watch[Symbol.dispose]();
    await ended.promise;
    assert.is(watch.state().reason, undefined);
  });
});

suite("probes over the network", (test) => {
  test("judge by status, and send the headers that were asked for", async () => {
    const server = createServer(({ url, headers }, response) => {
      const status =
        url === "/host" ? (headers.host === "app.test" ? 204 : 400) : Number(url?.slice(1));
      response.writeHead(status).end("body");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const get = (path: string, headers = {}): Promise<Answer> =>
      askNetwork("127.0.0.1", { ...probe, kind: "http", port, path, headers, timeoutMs: 20_000 });
    try {
      for (const path of ["/200", "/204", "/301", "/399"])
        assert.equal(await get(path), { isWell: true });
      for (const status of [400, 404, 500, 503])
        assert.equal(await get(`/${status}`), {
          isWell: false,
          why: `GET :${port}/${status} answered ${status}`,
        });
      assert.equal(await get("/host", { Host: "app.test" }), { isWell: true });
      assert.not.ok((await get("/host")).isWell);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test("say what is closed and what is silent", async () => {
    const server = createTcpServer((socket) => void socket.on("error", () => undefined).resume());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const silent = { ...probe, kind: "http", port, path: "/", timeoutMs: 50 } as const;
    assert.equal(await askNetwork("127.0.0.1", silent), {
      isWell: false,
      why: `GET :${port}/ did not answer within 0.05 s`,
    });
    const open = { ...probe, kind: "tcp", port, timeoutMs: 20_000 } as const;
    assert.equal(await askNetwork("127.0.0.1", open), { isWell: true });
    await new Promise((resolve) => server.close(resolve));
    assert.equal(await askNetwork("127.0.0.1", open), {
      isWell: false,
      why: `TCP port ${port}: ECONNREFUSED`,
    });
  });
});
