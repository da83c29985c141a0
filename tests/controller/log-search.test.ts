/** The real controller in one process, fake agents that search real files with the real search. */
import { appendFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { type Duplex, duplexPair } from "node:stream";

import { searchLog } from "@strata/agent/container/log-search";
import { noteLogTime } from "@strata/agent/container/log-times";
import type { StreamRequest } from "@strata/protocol/agent/messages";
import { encodeFrame } from "@strata/protocol/agent/stream";

import { type Answer, aController, type TestController } from "../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

type Scene = {
  readonly controller: TestController;
  readonly agents: readonly FakeAgent[];
  /** By their ids, in order. */
  readonly processes: readonly string[];
};

/** Two nodes with two processes each. */
async function aScene(controller: TestController): Promise<Scene> {
  await prepare(controller);
  const capacity = { cpuMillis: 250, memoryBytes: 1024 ** 3, pids: 100_000 };
  const agents = [
    await aFakeAgent(controller, { name: "node-a", capacity }),
    await aFakeAgent(controller, { name: "node-b", capacity }),
  ];
  await controller.call("PUT", "/v1/subscriptions/hi", {
    body: {
      cartridge: "hello",
      processes: 4,
      resources: { memory: "400Mi", cpu: 0.1, pids: 100 },
    },
  });
  controller.settle();
  for (const agent of agents) await agent.work();
  controller.settle();
  const { body } = await controller.call("GET", "/v1/subscriptions/hi/processes");
  return { controller, agents, processes: body.items.map(({ id }: { id: string }) => id) };
}

type Answers = (wish: Extract<StreamRequest, { kind: "logs" }>, socket: Duplex) => Promise<void>;

/** Plays both agents until the answer is there. */
async function search(scene: Scene, query: string, answers: Answers): Promise<Answer> {
  const { controller, agents } = scene;
  const { rendezvous } = controller.services;
  const asked = { isOver: false };
  const answer = controller
    .call("GET", `/v1/subscriptions/hi/logs?${query}`)
    .finally(() => (asked.isOver = true));
  while (!asked.isOver) {
    for (const { nodeId } of agents)
      for (const wish of rendezvous.pendingFor(nodeId)) {
        const [ours, theirs] = duplexPair();
        if (rendezvous.accept(nodeId, wish.id, theirs) && wish.kind === "logs")
          answers(wish, ours).catch((error: unknown) => ours.destroy(Error(String(error))));
      }
    await new Promise((resolve) => void setImmediate(resolve));
  }
  return await answer;
}

/** As the agent does it: `streams.ts`. */
function fromFiles(folder: string, nowMs: number): Answers {
  return async ({ processId, search: asked }, socket) => {
    if (asked === undefined) throw new Error("no search was asked for");
    const { lines, ...end } = await searchLog(join(folder, processId), {
      search: asked,
      nowMs,
      monotonicMs: () => 0,
      signal: new AbortController().signal,
    });
    for (const part of [{ strataLogSearch: 1 }, ...lines, end])
      socket.write(encodeFrame("stdout", `${JSON.stringify(part)}\n`));
    socket.end(encodeFrame("exit", { code: 0 }));
  };
}

/** Each process writes a line a second, in turn. */
function writeLogs(folder: string, { processes, controller }: Scene): void {
  const nowMs = controller.services.clock.nowMs();
  for (const [index, id] of processes.entries()) {
    const path = join(folder, id);
    let notedAtMs: number | undefined;
    let earlier: { size: number; atMs: number } | undefined;
    let size = 0;
    for (let line = 0; line < 10; line += 1) {
      const atMs = nowMs - 3_600_000 + (line * 4 + index) * 60_000;
      // A look just before, as at a log that was quiet.
      earlier = { size, atMs: atMs - 2000 };
      const text = `${line % 3 === 0 ? "ERROR" : "info"} ${line * 4 + index}\n`;
      appendFileSync(path, text);
      size += text.length;
      notedAtMs = noteLogTime(path, { size, earlier, notedAtMs, nowMs: atMs });
    }
    utimesSync(path, nowMs / 1000, (notedAtMs ?? 0) / 1000);
  }
}

const texts = ({ body }: Answer): readonly string[] =>
  body.items.map(({ text }: { text: string }) => text);

suite("a search in the logs of a subscription", (test) => {
  test("finds the lines of all processes on all nodes, by time", async () => {
    await using controller = await aController();
    await using folder = aTemporaryDirectory();
    const scene = await aScene(controller);
    writeLogs(folder.path, scene);
    const answers = fromFiles(folder.path, controller.services.clock.nowMs());
    const all = await search(scene, "", answers);
    assert.is(all.status, 200, JSON.stringify(all.body));
    assert.equal(
      texts(all).map((text) => Number(text.split(" ")[1])),
      Array.from({ length: 40 }, (_, index) => index),
    );
    assert.equal([all.body.truncated, all.body.missing], [false, []]);
    assert.equal(
      new Set(all.body.items.map(({ node }: { node: string }) => node)),
      new Set(["node-a", "node-b"]),
    );
    const errors = await search(scene, "grep=error&ignoreCase=true&since=30m", answers);
    assert.equal(
      texts(errors),
      [36, 37, 38, 39].map((n) => `ERROR ${n}`),
    );
    const regex = await search(
      scene,
      `grep=${encodeURIComponent("^info [12]\\d$")}&regex=true`,
      answers,
    );
    assert.ok(texts(regex).length > 5 && texts(regex).every((text) => /^info [12]\d$/.test(text)));
    const last = await search(scene, "tail=3", answers);
    assert.equal([texts(last), last.body.truncated], [["ERROR 37", "ERROR 38", "ERROR 39"], true]);
    const [, second = ""] = scene.processes;
    const one = await search(scene, `process=${second}&tail=1`, answers);
    assert.equal(texts(one), ["ERROR 37"]);
  });

  test("names the processes that could not be asked, and gives the others' lines", async () => {
    await using controller = await aController();
    await using folder = aTemporaryDirectory();
    const scene = await aScene(controller);
    writeLogs(folder.path, scene);
    const files = fromFiles(folder.path, controller.services.clock.nowMs());
    const [first = "", second = "", third = ""] = scene.processes;
    const answer = await search(scene, "grep=ERROR", async (wish, socket) => {
      // An agent of an earlier version sends the log as it is; one breaks off; one knows no such process.
      if (wish.processId === first) socket.write(encodeFrame("stdout", "ERROR plain\n"));
      if (wish.processId === first) return void socket.end(encodeFrame("exit", { code: 0 }));
      if (wish.processId === second) return void socket.destroy();
      if (wish.processId !== third) return await files(wish, socket);
      return void socket.end(encodeFrame("error", { code: "NOT_RUNNING", message: "none" }));
    });
    assert.is(answer.status, 200);
    assert.is(texts(answer).length, 4);
    const codes = answer.body.missing.map((one: { process: string; code: string }) => [
      one.process,
      one.code,
    ]);
    assert.equal(
      new Map(codes),
      new Map([
        [first, "AGENT_TOO_OLD"],
        [second, "STREAM_FAILED"],
        [third, "PROCESS_NOT_RUNNING"],
      ]),
    );
  });

  test("says of a silent node that it is away", async () => {
    await using controller = await aController();
    const scene = await aScene(controller);
    for (let minute = 0; minute < 3; minute += 1) {
      controller.advance(60_000);
      await scene.agents[0]?.work();
      controller.settle();
    }
    const answer = await search(scene, "", async (_wish, socket) => {
      const parts = [{ strataLogSearch: 1 }, { truncated: false, timedOut: true }];
      for (const part of parts) socket.write(encodeFrame("stdout", `${JSON.stringify(part)}\n`));
      socket.end(encodeFrame("exit", { code: 0 }));
    });
    const codes = answer.body.missing.map(
      ({ node, code }: { node: string; code: string }) => `${node} ${code}`,
    );
    assert.equal(new Set(codes), new Set(["node-a STREAM_TIMEOUT", "node-b NODE_AWAY"]));
  });

  test("is refused where it could not be carried out", async () => {
    await using controller = await aController();
    await aScene(controller);
    for (const [query, status] of [
      ["grep=(&regex=true", 422],
      ["grep=(?=x)&regex=true", 422],
      ["since=yesterday", 422],
      ["tail=100001", 422],
      ["process=nobody", 404],
      ["follow=true", 422],
    ] as const) {
      const answer = await controller.call("GET", `/v1/subscriptions/hi/logs?${query}`);
      assert.is(answer.status, status, `${query}: ${JSON.stringify(answer.body)}`);
    }
  });

  test("shows a tenant its own alone", async () => {
    await using controller = await aController();
    await aScene(controller);
    await controller.call("PUT", "/v1/tenants/other", { body: {} });
    const { body } = await controller.call("POST", "/v1/tokens", {
      body: { name: "other", scope: "viewer", tenant: "other" },
    });
    const path = "/v1/subscriptions/hi/logs";
    assert.is((await controller.call("GET", path, { token: body.token })).status, 404);
    const reaching = `${path}?tenant=default`;
    assert.is((await controller.call("GET", reaching, { token: body.token })).status, 403);
  });
});
