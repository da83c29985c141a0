import { encodeFrame } from "@strata/protocol/agent/stream";
import { request } from "undici";

import { aControllerProcess } from "../support/controller-process.ts";
import { assert, suite } from "../support/suite.ts";
import { aRunningProcess, openStream } from "./stream-scene.ts";

/** Each starts a controller. */
const slow = { timeoutMs: 150_000 };

suite("a log that is followed", (test) => {
  test(
    "goes on where it was when the agent comes back, and ends when the agent says so",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      const url = new URL(`/v1/processes/${processId}/logs?follow=true&tail=1`, controller.url);
      const authorization = `Bearer ${controller.adminToken()}`;
      const answer = request(url, { headers: { authorization } });
      const first = await openStream(controller, agent);
      first.socket.write(encodeFrame("position", { offset: 100 }));
      first.socket.write(encodeFrame("stdout", "one\n"));
      const { body, headers, statusCode } = await answer;
      assert.equal([statusCode, headers["strata-log-offset"]], [200, "100"]);
      const chunks = body[Symbol.asyncIterator]();
      assert.is(String((await chunks.next()).value), "one\n");
      // As a kill of the agent leaves it: half a line, and no last word.
      first.socket.write(encodeFrame("stdout", "tw"));
      assert.is(String((await chunks.next()).value), "tw");
      first.socket.destroy();
      const second = await openStream(controller, agent);
      assert.equal(second.wish.kind === "logs" && second.wish.from, 106);
      second.socket.write(encodeFrame("position", { offset: 106 }));
      second.socket.write(encodeFrame("stdout", "o\n"));
      assert.is(String((await chunks.next()).value), "o\n");
      second.socket.end(encodeFrame("exit", { code: 0 }));
      assert.is((await chunks.next()).done, true);
    },
    slow,
  );

  test(
    "breaks off where the node has no longer what comes next, and does not look whole",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      const url = new URL(`/v1/processes/${processId}/logs?follow=true&from=7`, controller.url);
      const authorization = `Bearer ${controller.adminToken()}`;
      const answer = request(url, { headers: { authorization } });
      const { wish, socket } = await openStream(controller, agent);
      assert.equal(wish.kind === "logs" && wish.from, 7);
      socket.write(encodeFrame("position", { offset: 50 }));
      const { body, headers } = await answer;
      assert.is(headers["strata-log-offset"], "50", "what is gone already is said, not hidden");
      socket.write(encodeFrame("stdout", "abc"));
      const chunks = body[Symbol.asyncIterator]();
      assert.is(String((await chunks.next()).value), "abc");
      socket.write(encodeFrame("position", { offset: 90 }));
      socket.write(encodeFrame("stdout", "later"));
      const next = await chunks.next().then(
        ({ value }) => String(value),
        () => "broken",
      );
      assert.is(next, "broken");
    },
    slow,
  );

  test(
    "ends when the node has forgotten the process meanwhile",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      const answer = controller.call("GET", `/v1/processes/${processId}/logs?follow=true`);
      const first = await openStream(controller, agent);
      first.socket.write(encodeFrame("position", { offset: 0 }));
      first.socket.write(encodeFrame("stdout", "last"));
      first.socket.end();
      const second = await openStream(controller, agent);
      second.socket.end(encodeFrame("error", { code: "NOT_RUNNING", message: "no such process" }));
      const { status, body } = await answer;
      assert.equal([status, body], [200, "last"]);
    },
    slow,
  );

  test(
    "is refused with both a number of lines and a byte to begin at",
    async () => {
      await using controller = await aControllerProcess();
      const { processId } = await aRunningProcess(controller);
      const answer = await controller.call("GET", `/v1/processes/${processId}/logs?tail=1&from=1`);
      assert.is(answer.status, 422);
    },
    slow,
  );
});
