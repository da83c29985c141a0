import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect as connectH2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect, createServer, type Socket } from "node:net";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anEndpoint, aRoute, aService, aState } from "../support/a-network.ts";
import { aCertificate } from "./a-certificate.ts";
import { anIngress, aProcess, freePorts, listenOn } from "./an-ingress.ts";
import { ask, get } from "./ask.ts";

const limits = { answerMsMax: 30_000, idleMsMax: 60_000, queueMsMax: 10_000, queueMax: 100 };

suite("what an ingress carries", (test) => {
  test("WebSockets, both ways, after the handshake", async () => {
    await using web = await aProcess("web-1");
    web.server.on("upgrade", (request, socket) => {
      const key = String(request.headers["sec-websocket-key"]);
      const accept = createHash("sha1")
        .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest("base64");
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
      );
      socket.on("data", (data: Buffer) => socket.write(`echo ${data.toString("utf8")}`));
    });
    await using ingress = await anIngress(aState(1, [aService({ endpoints: [web.endpoint] })]));
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const headers = {
      host: "web.test",
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const asked = httpRequest({ host: "127.0.0.1", port: ingress.httpPort, headers, agent: false });
    asked.on("error", reject);
    asked.on("upgrade", (_, socket) => {
      socket.once("data", (data: Buffer) => {
        resolve(data.toString("utf8"));
        socket.destroy();
      });
      socket.write("hello");
    });
    asked.end();
    assert.is(await promise, "echo hello");
  });

  test("events as they come, longer than an answer may take", async () => {
    const more = Promise.withResolvers<void>();
    await using web = await aProcess("web-1", (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: first\n\n");
      void more.promise.then(() => response.end("data: last\n\n"));
    });
    const routes = [aRoute({ limits: { ...limits, answerMsMax: 300 } })];
    const state = aState(1, [aService({ endpoints: [web.endpoint] })], { routes });
    await using ingress = await anIngress(state);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const headers = { host: "web.test", accept: "text/event-stream" };
    const asked = httpRequest({ host: "127.0.0.1", port: ingress.httpPort, headers, agent: false });
    asked.on("error", reject);
    asked.on("response", (response) => {
      let text = "";
      response.on("data", (data: Buffer) => {
        text += data.toString("utf8");
        // The last one comes after several times of what an answer may take.
        if (text === "data: first\n\n") setTimeout(more.resolve, 1500);
      });
      response.on("error", reject);
      response.on("end", () => resolve(text));
    });
    asked.end();
    assert.is(await promise, "data: first\n\ndata: last\n\n");
  });

  test("TLS by the server's name, HTTP/2, and HTTP sent to HTTPS", async () => {
    await using folder = aTemporaryDirectory();
    await using web = await aProcess("web-1");
    const [one, two] = [
      aCertificate(folder.path, "web.test"),
      aCertificate(folder.path, "two.test"),
    ];
    const routes = [aRoute({ hosts: ["web.test", "two.test"], redirectToHttps: true })];
    const certificates = [
      { id: "one", hosts: ["web.test"], pem: one },
      { id: "two", hosts: ["two.test"], pem: two },
      { id: "broken", hosts: ["broken.test"], pem: "no certificate" },
    ];
    const services = [aService({ endpoints: [web.endpoint] })];
    await using ingress = await anIngress(aState(1, services, { routes, certificates }));
    for (const [servername, ca] of [
      ["web.test", one],
      ["two.test", two],
    ] as const) {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      const asked = httpsRequest(
        {
          host: "127.0.0.1",
          port: ingress.httpsPort,
          servername,
          ca,
          headers: { host: servername },
          agent: false,
        },
        (response) => resolve(response.resume().statusCode ?? 0),
      );
      asked.on("error", reject);
      asked.end();
      assert.is(await promise, 200);
    }
    assert.is(web.requests[0]?.headers["x-forwarded-proto"], "https");
    assert.is(await getByH2(ingress.httpsPort, one), "web-1");
    const { status, headers } = await get(ingress.httpPort, "web.test", "/a?b=c");
    assert.is(status, 308);
    assert.is(headers.location, `https://web.test:${ingress.httpsPort}/a?b=c`);
    const report = await ingress.untilReport(() => true);
    assert.match(report.problems.join(), 'certificate "broken" cannot be used');
  });

  test("TCP by port, with who the client is where that is asked for", async () => {
    const [port = 0] = await freePorts(1);
    const got = Promise.withResolvers<Buffer>();
    const server = createServer((socket: Socket) => {
      socket.once("data", (data: Buffer) => got.resolve(data));
      socket.end("bye");
    });
    const own = await listenOn(server);
    const endpoint = anEndpoint({ nodeId: "node-2", ports: { http: own } });
    const routes = [aRoute({ tcpPort: port, sendProxyProtocol: true })];
    await using ingress = await anIngress(
      aState(1, [aService({ endpoints: [endpoint] })], { routes }),
    );
    const socket = connect(port, "127.0.0.1");
    socket.write("hello");
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    assert.is(Buffer.concat(chunks).toString("utf8"), "bye");
    // PROXY protocol, version 2: its signature, PROXY over TCP4, then addresses.
    const data = await got.promise;
    assert.is(data.subarray(0, 14).toString("hex"), "0d0a0d0a000d0a515549540a2111");
    assert.is(data.subarray(16, 20).join("."), "127.0.0.1");
    const report = await ingress.untilReport(({ endpoints }) => endpoints[0]?.requests === 1);
    assert.is(report.services[0]?.requests, 1);
    server.close();
  });

  test("the client that a trusted front names", async () => {
    await using web = await aProcess("web-1");
    const state = aState(1, [aService({ endpoints: [web.endpoint] })]);
    await using ingress = await anIngress(state, { STRATA_INGRESS_PROXY_FROM: "127.0.0.0/8" });
    const socket = connect(ingress.httpPort, "127.0.0.1");
    socket.write("PROXY TCP4 203.0.113.7 127.0.0.1 1234 80\r\n");
    socket.write("GET / HTTP/1.1\r\nhost: web.test\r\nconnection: close\r\n\r\n");
    for await (const chunk of socket) assert.ok(chunk);
    assert.is(web.requests[0]?.headers["x-forwarded-for"], "203.0.113.7");
  });
});

suite("limits of a route", (test) => {
  test("refuse bodies that are too large or of no length, and clients that ask too often", async () => {
    await using web = await aProcess("web-1");
    const routes = [
      aRoute({ limits: { ...limits, bodyBytesMax: 10 } }),
      aRoute({ id: "rate", hosts: ["rate.test"], limits: { ...limits, requestsPerSecond: 3 } }),
    ];
    const state = aState(1, [aService({ endpoints: [web.endpoint] })], { routes });
    await using ingress = await anIngress(state);
    const post = async (body: string, headers: Record<string, string> = {}): Promise<number> =>
      (
        await ask(ingress.httpPort, {
          method: "POST",
          headers: { host: "web.test", ...headers },
          body,
        })
      ).status;
    assert.is(await post("1234567890", { "content-length": "10" }), 200);
    assert.is(await post("12345678901", { "content-length": "11" }), 413);
    assert.is(await post("1", { "transfer-encoding": "chunked" }), 411);
    assert.is((await get(ingress.httpPort, "web.test")).status, 200);
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => get(ingress.httpPort, "rate.test")),
    );
    const refused = answers.find(({ status }) => status === 429);
    assert.is(refused?.headers["retry-after"], "1");
    assert.ok(answers.some(({ status }) => status === 200));
  });

  test("hold what is too much for the processes, and refuse what is too much to hold", async () => {
    const held: (() => void)[] = [];
    const isHeld = Promise.withResolvers<void>();
    await using web = await aProcess("web-1", (_, response) => {
      held.push(() => response.end("web-1"));
      isHeld.resolve();
    });
    const routes = [aRoute({ limits: { ...limits, requestsPerProcess: 1, queueMax: 2 } })];
    const state = aState(1, [aService({ endpoints: [web.endpoint] })], { routes });
    await using ingress = await anIngress(state);
    const first = get(ingress.httpPort, "web.test");
    await isHeld.promise;
    const waiting = [get(ingress.httpPort, "web.test"), get(ingress.httpPort, "web.test")];
    const report = await ingress.untilReport(({ services }) => services[0]?.queued === 2);
    assert.is(report.endpoints[0]?.inFlight, 1);
    const { status, body } = await get(ingress.httpPort, "web.test");
    assert.is(status, 503);
    assert.is(JSON.parse(body).code, "QUEUE_FULL");
    const answered = Promise.all([first, ...waiting]);
    const release = setInterval(() => held.pop()?.(), 10);
    const statuses = (await answered).map((answer) => answer.status);
    clearInterval(release);
    assert.equal(statuses, [200, 200, 200]);
  });

  test("are written down, a line of JSON for each request, without its query", async () => {
    await using web = await aProcess("web-1");
    await using ingress = await anIngress(aState(1, [aService({ endpoints: [web.endpoint] })]));
    await get(ingress.httpPort, 'we"b.test', '/a"b?secret=1');
    await get(ingress.httpPort, "web.test", "/path?secret=1");
    const lines = readFileSync(ingress.paths.accessLog, "utf8")
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
    const last = lines.at(-1);
    assert.is(last.path, "/path");
    assert.is(last.process, "web-1");
    assert.is(last.status, 200);
    assert.ok(!JSON.stringify(lines).includes("secret"));
  });
});

async function getByH2(port: number, ca: string): Promise<string> {
  const session = connectH2(`https://127.0.0.1:${port}`, { ca, servername: "web.test" });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  session.on("error", reject);
  const stream = session.request({ ":path": "/", ":authority": "web.test" });
  stream.on("error", reject);
  let text = "";
  stream.on("data", (data: Buffer) => (text += data.toString("utf8")));
  stream.on("end", () => resolve(text));
  stream.end();
  try {
    return await promise;
  } finally {
    session.close();
  }
}
