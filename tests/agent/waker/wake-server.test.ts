import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:http";
import { createServer as createTcpServer, type Socket } from "node:net";

import { AgentError } from "@strata/agent/errors";

import { aLoopbackServer } from "../../support/loopback-server.ts";
import { assert, suite } from "../../support/suite.ts";
import { aWaker } from "./a-waker.ts";

/** A process that says what it was sent. */
async function aProcess(): Promise<AsyncDisposable & { readonly port: number }> {
  const server = await aLoopbackServer((incoming, outgoing) => {
    void incoming.toArray().then((parts) => {
      outgoing.writeHead(201, { "x-own": "yes", "set-cookie": ["a=1", "b=2"] });
      outgoing.end(`${incoming.method} ${incoming.url} ${parts.join("")}`);
    });
  });
  return {
    port: Number(new URL(server.url).port),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

suite("the wake server", (test) => {
  test("holds a request with its body until a process is ready, and passes it on as it came", async () => {
    await using process = await aProcess();
    const asked = Promise.withResolvers<void>();
    await using waker = await aWaker({
      port: process.port,
      onWake: async () => asked.resolve(),
    });
    const answer = waker.ask({ method: "POST", path: "/a?b=c", body: "x".repeat(100_000) });
    await asked.promise;
    assert.equal([...waker.server.queued()], [["service-1", 1]]);
    waker.tell({ processId: "web-9", nodeId: "node-2", ports: { http: process.port } });
    const { status, headers, body } = await answer;
    assert.equal([status, headers["x-own"], headers["set-cookie"]], [201, "yes", ["a=1", "b=2"]]);
    assert.is(body, `POST /a?b=c ${"x".repeat(100_000)}`);
    assert.equal([...waker.server.inFlight()], []);
    assert.equal([...waker.server.queued()], []);
  });

  test("asks the controller once for many requests", async () => {
    await using process = await aProcess();
    const granted = Promise.withResolvers<void>();
    await using waker = await aWaker({ port: process.port, onWake: () => granted.promise });
    const answers = Array.from({ length: 50 }, () => waker.ask());
    while (waker.server.queued().get("service-1") !== 50)
      await new Promise((resolve) => setImmediate(resolve));
    granted.resolve();
    waker.tell({});
    assert.ok((await Promise.all(answers)).every(({ status }) => status === 201));
    assert.equal(waker.asked, ["service-1"]);
  });

  test("wakes what is frozen on its own node without waiting for the controller", async () => {
    await using process = await aProcess();
    await using waker = await aWaker({
      port: process.port,
      onWake: () =>
        Promise.reject(new AgentError("CONTROLLER_UNREACHABLE", "away", { retryable: true })),
    });
    waker.tell({ state: "frozen" });
    assert.is((await waker.ask()).status, 201);
    assert.equal(waker.woken, ["web-1"]);
    assert.is(waker.asked[0], "service-1");
  });

  test("sends a request to what is frozen elsewhere once the controller has agreed", async () => {
    await using process = await aProcess();
    await using waker = await aWaker({ port: 1 });
    waker.tell({ state: "frozen", nodeId: "node-2", ports: { http: process.port } });
    assert.is((await waker.ask()).status, 201);
    assert.equal(waker.woken, []);
  });

  test("refuses at once what the queue has no room for, and what nothing may wake", async () => {
    const granted = Promise.withResolvers<void>();
    await using waker = await aWaker({
      port: 1,
      limits: { queueMax: 1 },
      onWake: () => granted.promise,
    });
    const held = waker.ask();
    while (waker.server.queued().size === 0) await new Promise((resolve) => setImmediate(resolve));
    const full = await waker.ask();
    assert.equal([full.status, full.headers["retry-after"]], [503, "1"]);
    assert.is(JSON.parse(full.body).code, "QUEUE_FULL");
    granted.reject(new AgentError("CONTROLLER_REFUSED", "subscription web stays asleep: by hand"));
    const refused = await held;
    assert.is(refused.status, 503);
    const { code, title } = JSON.parse(refused.body);
    assert.is(code, "WAKE_REFUSED");
    assert.match(title, /stays asleep: by hand/);
  });

  test("answers 503 with the reason when nothing is ready in the time of the route", async () => {
    await using waker = await aWaker({
      port: 1,
      limits: { queueMsMax: 50 },
      onWake: () =>
        Promise.reject(new AgentError("CONTROLLER_UNREACHABLE", "away", { retryable: true })),
    });
    const late = await waker.ask({ method: "POST", body: "never read" });
    assert.is(late.status, 503);
    const { code, title } = JSON.parse(late.body);
    assert.equal(
      [code, title],
      ["WAKE_LATE", "no process was ready in time: the controller cannot be reached"],
    );
  });

  test("drops what its client no longer waits for", async () => {
    const asked = Promise.withResolvers<void>();
    await using waker = await aWaker({ port: 1, onWake: async () => asked.resolve() });
    const outgoing = waker.open();
    outgoing.on("error", () => undefined);
    outgoing.end();
    await asked.promise;
    outgoing.destroy();
    while (waker.server.queued().size > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("leaves a process that takes no connection for another", async () => {
    await using process = await aProcess();
    await using waker = await aWaker({ port: 1 });
    const answer = waker.ask();
    waker.tell(
      { processId: "web-1" },
      { processId: "web-2", nodeId: "node-2", ports: { http: process.port } },
    );
    assert.is((await answer).status, 201);
  });

  test("streams a body both ways while it is sent", async () => {
    await using process = await aLoopbackServer((incoming, outgoing) => {
      outgoing.writeHead(200);
      outgoing.flushHeaders();
      incoming.pipe(outgoing);
    });
    await using waker = await aWaker({ port: Number(new URL(process.url).port) });
    const outgoing = waker.open({ method: "POST" });
    outgoing.write("first");
    waker.tell({});
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    incoming.setEncoding("utf8");
    assert.equal(await once(incoming, "data"), ["first"]);
    assert.equal([...waker.server.inFlight()], [["web-1", 1]]);
    outgoing.end("last");
    assert.is((await incoming.toArray()).join(""), "last");
  });

  test("lets WebSockets through, and holds them like requests", async () => {
    const process = createServer();
    process.on("upgrade", (incoming, socket: Socket, head: Buffer) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n`,
      );
      socket.write(`${String(incoming.headers["x-strata-route"] ?? "none")} ${head.toString()}`);
      socket.pipe(socket);
    });
    process.listen(0, "127.0.0.1");
    await once(process, "listening");
    const address = process.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    await using waker = await aWaker({ port });
    const outgoing = waker.open({ headers: { connection: "Upgrade", upgrade: "echo" } });
    outgoing.end();
    waker.tell({});
    const [, socket, first] = (await once(outgoing, "upgrade")) as [
      IncomingMessage,
      Socket,
      Buffer,
    ];
    let text = first.toString();
    socket.write("ping");
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      text += String(chunk);
      if (text.includes("ping")) break;
    }
    assert.match(text, /^none /);
    socket.destroy();
    process.close();
  });

  test("tells a process of the client by PROXY protocol where the route says so", async () => {
    const heard = Promise.withResolvers<string>();
    const process = createTcpServer((socket) => {
      socket.setEncoding("utf8");
      socket.once("data", (text: string) => {
        heard.resolve(text);
        socket.end("HTTP/1.1 204 No Content\r\n\r\n");
      });
    });
    process.listen(0, "127.0.0.1");
    await once(process, "listening");
    const address = process.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    await using waker = await aWaker({ port, sendProxyProtocol: true });
    const answer = waker.ask({ headers: { "x-forwarded-for": "192.0.2.7" } });
    waker.tell({});
    assert.is((await answer).status, 204);
    assert.match(
      await heard.promise,
      new RegExp(`^PROXY TCP4 192\\.0\\.2\\.7 127\\.0\\.0\\.1 0 ${port}\r\n`),
    );
    process.close();
  });
});
