/** A controller with one process, and a test that plays its agent. */
import type { Duplex } from "node:stream";

import { Assignments, type StreamRequest } from "@strata/protocol/agent/messages";
import { createFrameDecoder, type Frame } from "@strata/protocol/agent/stream";
import { upgrade } from "undici";

import type { ControllerProcess } from "../support/controller-process.ts";
import { aFakeAgent, type FakeAgent } from "../support/fake-agent.ts";
import { pushImage } from "../support/push-image.ts";

export type Running = { readonly agent: FakeAgent; readonly processId: string };

export async function aRunningProcess(controller: ControllerProcess): Promise<Running> {
  await pushImage(
    { url: controller.url, token: controller.adminToken() },
    { repository: "hello", tag: "1" },
  );
  await controller.call("PUT", "/v1/partitions/web", { body: {} });
  await controller.call("PUT", "/v1/cartridges/hello", {
    body: { image: "hello:1", partition: "web" },
  });
  await controller.call("PUT", "/v1/subscriptions/hi", { body: { cartridge: "hello" } });
  const agent = await aFakeAgent(controller);
  for (let round = 0; agent.told.size === 0; round += 1) {
    if (round > 100) throw new Error("nothing was assigned");
    await agent.work();
  }
  return { agent, processId: [...agent.told.keys()][0] ?? "" };
}

/** Waits as an agent does for a stream request, and opens the connection that it asks for. */
export async function openStream(
  controller: ControllerProcess,
  agent: FakeAgent,
): Promise<{ readonly wish: StreamRequest; readonly socket: Duplex }> {
  const node = `/v1/nodes/${agent.nodeId}`;
  for (let revision = 0, round = 0; round < 100; round += 1) {
    const answer = await controller.call(
      "GET",
      `${node}/assignments?revision=${revision}&wait=10s`,
      {
        token: agent.credential,
      },
    );
    if (answer.status !== 200) continue;
    const { streams, revision: now } = Assignments.parse(answer.body);
    revision = now;
    const [wish] = streams;
    if (wish === undefined) continue;
    const { socket } = await upgrade(new URL(`${node}/streams/${wish.id}`, controller.url), {
      protocol: "strata-stream",
      headers: { authorization: `Bearer ${agent.credential}` },
    });
    return { wish, socket };
  }
  throw new Error("no stream was asked for");
}

/** Frames as they come; undefined at the end. */
export function readFrames(socket: Duplex): () => Promise<Frame | undefined> {
  const decode = createFrameDecoder();
  const chunks = socket[Symbol.asyncIterator]();
  const ready: Frame[] = [];
  return async () => {
    while (ready.length === 0) {
      const { done, value } = await chunks.next();
      if (done === true) return undefined;
      ready.push(...decode(value));
    }
    return ready.shift();
  };
}
