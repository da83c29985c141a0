import { connect } from "node:net";

import { encodeFrame } from "@strata/protocol/agent/stream";
import { request, upgrade } from "undici";

import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { assert, suite } from "../support/suite.ts";
import { aRunningProcess, openStream, readFrames } from "./stream-scene.ts";

suite("logs", (test) => {
  test("come from the node as plain text, with what was asked for", async () => {
    await using controller = await aControllerProcess();
    const { agent, processId } = await aRunningProcess(controller);
    const answer = controller.call("GET", `/v1/processes/${processId}/logs?tail=5`);
    const { wish, socket } = await openStream(controller, agent);
    assert.equal(
      { ...wish, id: "" },
      { kind: "logs", id: "", processId, follow: false, positions: true, tail: 5 },
    );
    socket.write(encodeFrame("stdout", "one\n"));
    socket.write(encodeFrame("stderr", "two\n"));
    socket.end();
    const { status, headers, body } = await answer;
    assert.equal(
      [status, headers.get("content-type"), body],
      [200, "text/plain; charset=utf-8", "one\ntwo\n"],
    );
  });

  test("follow: lines arrive while the process runs, and the node is told when the reader leaves", async () => {
    await using controller = await aControllerProcess();
    const { agent, processId } = await aRunningProcess(controller);
    const url = new URL(`/v1/processes/${processId}/logs?follow=true`, controller.url);
    const answer = request(url, {
      headers: { authorization: `Bearer ${controller.adminToken()}` },
    });
    const { socket } = await openStream(controller, agent);
    const { body } = await answer;
    const lines = body[Symbol.asyncIterator]();
    for (const line of ["a\n", "b\n"]) {
      socket.write(encodeFrame("stdout", line));
      assert.is(String((await lines.next()).value), line);
    }
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.resume();
    body.on("error", () => undefined);
    body.destroy();
    await closed;
  });

  test("what the node refuses is an error with its reason", async () => {
    await using controller = await aControllerProcess();
    const { agent, processId } = await aRunningProcess(controller);
    const answer = controller.call("GET", `/v1/processes/${processId}/logs`);
    const { socket } = await openStream(controller, agent);
    socket.end(encodeFrame("error", { code: "LOG_GONE", message: "no log" }));
    const { status, body } = await answer;
    assert.equal([status, body.code], [502, "STREAM_FAILED"]);
    assert.match(body.detail, /no log \(LOG_GONE\)/);
  });
});

suite("exec", (test) => {
  test("as one request: standard input goes in, output and exit code come out", async () => {
    await using controller = await aControllerProcess();
    const { agent, processId } = await aRunningProcess(controller);
    const answer = controller.call("POST", `/v1/processes/${processId}/exec`, {
      body: { command: ["tr", "a", "b"], stdin: "banana", env: { A: "1" } },
    });
    const { wish, socket } = await openStream(controller, agent);
    assert.is(wish.kind === "exec" && wish.command.join(" "), "tr a b");
    const next = readFrames(socket);
    assert.is((await next())?.payload.toString(), "banana");
    assert.is((await next())?.type, "stdinEnd");
    socket.write(encodeFrame("stdout", "bbnbnb"));
    socket.write(encodeFrame("stderr", "warning"));
    socket.write(encodeFrame("exit", { code: 3 }));
    const { status, body } = await answer;
    assert.is(status, 200);
    assert.equal(body, { exitCode: 3, stdout: "bbnbnb", stderr: "warning", truncated: false });
  });

  test("a command that runs too long is ended, and output past the limit is dropped", async () => {
    await using controller = await aControllerProcess();
    const { agent, processId } = await aRunningProcess(controller);
    const path = `/v1/processes/${processId}/exec`;
    const slow = controller.call("POST", path, {
      body: { command: ["sleep", "9"], timeout: "100ms" },
    });
    const first = await openStream(controller, agent);
    first.socket.resume();
    const closed = new Promise((resolve) => first.socket.once("close", resolve));
    const answer = await slow;
    assert.equal([answer.status, answer.body.code], [504, "EXEC_TIMEOUT"]);
    await closed;
    const loud = controller.call("POST", path, { body: { command: ["yes"] } });
    const second = await openStream(controller, agent);
    const megabyte = Buffer.alloc(1024 * 1024, "y");
    second.socket.write(encodeFrame("stdout", megabyte));
    second.socket.write(encodeFrame("stdout", megabyte));
    second.socket.write(encodeFrame("exit", { code: 0 }));
    const { body } = await loud;
    assert.equal([body.stdout.length, body.truncated, body.exitCode], [1024 * 1024, true, 0]);
  });

  test("interactive: frames pass both ways between client and node", async () => {
    await using controller = await aControllerProcess();
    const { agent, processId } = await aRunningProcess(controller);
    const url = new URL(
      `/v1/processes/${processId}/exec?command=sh&command=-i&tty=true&env=TERM%3Dxterm`,
      controller.url,
    );
    const opening = upgrade(url, {
      protocol: "strata-stream",
      headers: { authorization: `Bearer ${controller.adminToken()}` },
    });
    const { wish, socket } = await openStream(controller, agent);
    assert.equal(
      { ...wish, id: "" },
      { kind: "exec", id: "", processId, command: ["sh", "-i"], tty: true, env: { TERM: "xterm" } },
    );
    const { socket: client } = await opening;
    const fromClient = readFrames(socket);
    const fromNode = readFrames(client);
    client.write(encodeFrame("resize", { columns: 80, rows: 24 }));
    assert.is((await fromClient())?.type, "resize");
    for (let turn = 0; turn < 3; turn += 1) {
      client.write(encodeFrame("stdin", `in ${turn}`));
      assert.is((await fromClient())?.payload.toString(), `in ${turn}`);
      socket.write(encodeFrame("stdout", `out ${turn}`));
      assert.is((await fromNode())?.payload.toString(), `out ${turn}`);
    }
    socket.end(encodeFrame("exit", { code: 7 }));
    assert.is((await fromNode())?.payload.toString(), '{"code":7}');
    assert.is(await fromNode(), undefined, "the end of the node is the end of both");
  });

  test("does not keep a controller from stopping", async () => {
    await using controller = await aControllerProcess();
    const { agent, processId } = await aRunningProcess(controller);
    const url = new URL(`/v1/processes/${processId}/exec?command=sh`, controller.url);
    const opening = upgrade(url, {
      protocol: "strata-stream",
      headers: { authorization: `Bearer ${controller.adminToken()}` },
    });
    const { socket } = await openStream(controller, agent);
    const { socket: client } = await opening;
    const ended = [socket, client].map(
      (end) =>
        new Promise((resolve) =>
          end
            .on("error", () => undefined)
            .once("close", resolve)
            .resume(),
        ),
    );
    assert.is(await controller.kill("SIGTERM"), 0);
    await Promise.all(ended);
  });

  test("is refused without a token, with another scope, for a bad query, and for what is not there", async () => {
    await using controller = await aControllerProcess();
    const { processId, agent } = await aRunningProcess(controller);
    const viewer = await controller.call("POST", "/v1/tokens", {
      body: { name: "v", scope: "viewer" },
    });
    const dial = (path: string, token: string): Promise<number> =>
      upgradeStatus(controller, { path, token });
    const exec = `/v1/processes/${processId}/exec`;
    assert.is(await dial(`${exec}?command=id`, "nonsense"), 401);
    assert.is(await dial(`${exec}?command=id`, viewer.body.token), 403);
    assert.is(await dial(exec, controller.adminToken()), 422);
    assert.is(await dial(`${exec}?command=id&env=novalue`, controller.adminToken()), 422);
    assert.is(await dial("/v1/processes/none/exec?command=id", controller.adminToken()), 404);
    assert.is(await dial("/v1/nodes", controller.adminToken()), 404);
    assert.is(await dial("/v1/nodes/other/streams/x", agent.credential), 403);
  });
});

/** By hand: undici hides the answer to an upgrade that is refused. */
async function upgradeStatus(
  controller: ControllerProcess,
  { path, token }: { readonly path: string; readonly token: string },
): Promise<number> {
  const { port, host } = new URL(controller.url);
  const socket = connect(Number(port), "127.0.0.1");
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: strata-stream\r\n\r\n`,
  );
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
}
