import { Readable } from "node:stream";

import { encodeFrame } from "@strata/protocol/agent/stream";
import { request } from "undici";

import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { assert, suite } from "../support/suite.ts";
import { aRunningProcess, openStream, readFrames } from "./stream-scene.ts";

type Sent = { readonly status: number; readonly body: object };

async function put(
  controller: ControllerProcess,
  path: string,
  body: Readable | Buffer,
): Promise<Sent> {
  const answer = await request(new URL(path, controller.url), {
    method: "PUT",
    headers: { authorization: `Bearer ${controller.adminToken()}` },
    body,
  });
  return { status: answer.statusCode, body: Object(await answer.body.json()) };
}

/** Each starts a controller. */
const slow = { timeoutMs: 150_000 };

suite("files of a process", (test) => {
  test(
    "come as the archive that the node sends",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      const answer = controller.call("GET", `/v1/processes/${processId}/files?path=/etc/.`);
      const { wish, socket } = await openStream(controller, agent);
      assert.equal({ ...wish, id: "" }, { kind: "copyOut", id: "", processId, path: "/etc/." });
      for (const part of ["tar", "bytes"]) socket.write(encodeFrame("stdout", part));
      socket.end(encodeFrame("exit", { code: 0 }));
      const { status, headers, body } = await answer;
      assert.equal(
        [status, headers.get("content-type"), body],
        [200, "application/x-tar", "tarbytes"],
      );
    },
    slow,
  );

  test(
    "that break off do not look whole; reasons of the node's have their status",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      const path = `/v1/processes/${processId}/files?path=/x`;
      const broken = controller.call("GET", path).then(
        () => "whole",
        () => "broken",
      );
      const first = await openStream(controller, agent);
      first.socket.end(encodeFrame("stdout", "half"));
      assert.is(await broken, "broken");
      for (const [code, status, shown] of [
        ["PATH_NOT_FOUND", 404, "PATH_NOT_FOUND"],
        ["PATH_UNUSABLE", 422, "PATH_UNUSABLE"],
        ["NOT_RUNNING", 409, "PROCESS_NOT_RUNNING"],
        ["OTHER", 502, "STREAM_FAILED"],
      ] as const) {
        const refused = controller.call("GET", path);
        const { socket } = await openStream(controller, agent);
        socket.end(encodeFrame("error", { code, message: "/x: why" }));
        const answer = await refused;
        assert.equal([answer.status, answer.body.code], [status, shown]);
        assert.match(answer.body.detail, "/x: why");
      }
    },
    slow,
  );

  test(
    "go to the node as they come, and what became of them comes back",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      const size = 5_000_000;
      const body = Readable.from(Array.from({ length: 50 }, () => Buffer.alloc(size / 50, "t")));
      const answer = put(controller, `/v1/processes/${processId}/files?path=/srv&top=x`, body);
      const { wish, socket } = await openStream(controller, agent);
      assert.equal(
        { ...wish, id: "" },
        { kind: "copyIn", id: "", processId, path: "/srv", top: "x" },
      );
      const next = readFrames(socket);
      let received = 0;
      for (let frame = await next(); frame?.type === "stdin"; frame = await next())
        received += frame.payload.length;
      assert.is(received, size);
      socket.write(encodeFrame("stdout", "3 4999 1\n"));
      socket.end(encodeFrame("exit", { code: 0 }));
      assert.equal(await answer, { status: 200, body: { entries: 3, bytes: 4999, skipped: 1 } });
    },
    slow,
  );

  test(
    "are refused before all is sent when the node says no",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      async function* endless(): AsyncGenerator<Buffer> {
        for (;;) yield Buffer.alloc(65_536);
      }
      const path = `/v1/processes/${processId}/files?path=/srv`;
      const answer = put(controller, path, Readable.from(endless()));
      const { socket } = await openStream(controller, agent);
      const next = readFrames(socket);
      await next();
      socket.end(encodeFrame("error", { code: "PATH_UNUSABLE", message: "/srv: no space left" }));
      const { status, body } = await answer;
      assert.is(status, 422);
      assert.match(JSON.stringify(body), '"code":"PATH_UNUSABLE"');
    },
    slow,
  );

  test(
    "are an affair of deployers, with paths that are plain",
    async () => {
      await using controller = await aControllerProcess();
      const { processId } = await aRunningProcess(controller);
      const { body: viewer } = await controller.call("POST", "/v1/tokens", {
        body: { name: "v", scope: "viewer" },
      });
      const path = `/v1/processes/${processId}/files`;
      const asViewer = await controller.call("GET", `${path}?path=/etc`, { token: viewer.token });
      assert.is(asViewer.status, 403);
      for (const query of ["", "?path=etc", "?path=/a/../b", "?path=/a%00b"])
        assert.is((await controller.call("GET", `${path}${query}`)).status, 422, query);
      for (const query of ["?path=/a&top=a/b", "?path=/a&top=..", "?path=/a&top="])
        assert.is((await put(controller, `${path}${query}`, Buffer.alloc(0))).status, 422, query);
    },
    slow,
  );
});

suite("top", (test) => {
  test(
    "is what the node says, and nothing that is not understood",
    async () => {
      await using controller = await aControllerProcess();
      const { agent, processId } = await aRunningProcess(controller);
      const path = `/v1/processes/${processId}/top`;
      const said = { at: "2026-01-01T00:00:00Z", total: 0, processes: [] };
      const answer = controller.call("GET", path);
      const first = await openStream(controller, agent);
      assert.equal({ ...first.wish, id: "" }, { kind: "top", id: "", processId });
      first.socket.write(encodeFrame("stdout", JSON.stringify(said)));
      first.socket.end(encodeFrame("exit", { code: 0 }));
      assert.equal((await answer).body, said);
      const bad = controller.call("GET", path);
      const second = await openStream(controller, agent);
      second.socket.write(encodeFrame("stdout", "{}"));
      second.socket.end(encodeFrame("exit", { code: 0 }));
      assert.equal((await bad).status, 502);
    },
    slow,
  );
});
