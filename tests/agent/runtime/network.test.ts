import { execFileSync } from "node:child_process";
import { connect, createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";

import { gatewayAddress } from "@strata/agent/network/subnet";
import type { ProcessSpec } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anOwnEndpoint, aService, aView } from "../support/a-service.ts";
import { anAssignment } from "../support/an-assignment.ts";

const port: ProcessSpec["ports"][number] = { name: "http", containerPort: 8080, protocol: "tcp" };
const probe: NonNullable<ProcessSpec["health"]> = {
  kind: "http",
  port: 8080,
  path: "/",
  intervalMs: 100,
  timeoutMs: 1000,
  failureThreshold: 1,
};
const httpd: Partial<ProcessSpec> = {
  command: ["sh", "-c", "echo $HOSTNAME > /var/www/index.html; exec httpd -f -p 8080 -h /var/www"],
  ports: [port],
  stopGraceMs: 0,
  health: probe,
};

async function hostPortOf(node: TestNode, processId = "web-1"): Promise<number> {
  const report = await node.until(processId, ({ ready }) => ready);
  return report.ports[0]?.hostPort ?? 0;
}

async function get(address: string, hostPort: number): Promise<string> {
  const response = await fetch(`http://${address}:${hostPort}/`);
  return (await response.text()).trim();
}

function ownAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address;
}

async function firstLine(hostPort: number): Promise<string> {
  let text = "";
  for await (const chunk of connect(hostPort, "127.0.0.1")) text += String(chunk);
  return text.trim();
}

async function aListener(wanted = 0): Promise<{ port: number } & AsyncDisposable> {
  const server: Server = createServer((socket) => socket.end("host\n"));
  await new Promise<void>((resolve) => server.listen(wanted, "0.0.0.0", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

suite("the network of a node", (test) => {
  test("publishes a port on every address of the host, loopback included", async () => {
    await using node = await aNode();
    node.assign(anAssignment("", { spec: httpd }));
    const hostPort = await hostPortOf(node);
    assert.ok(hostPort >= 23_000 && hostPort <= 23_999);
    assert.is(await get("127.0.0.1", hostPort), "web-1");
    const address = ownAddress();
    if (address !== undefined) assert.is(await get(address, hostPort), "web-1");
  });

  test("keeps the port of a process over a crash and over a life of the agent", async () => {
    await using node = await aNode();
    node.assign(anAssignment("", { spec: httpd }));
    const hostPort = await hostPortOf(node);
    const { pid = 0 } = node.report("web-1") ?? {};
    process.kill(pid, "SIGKILL");
    await node.until("web-1", (report) => report.ready && report.pid !== pid);
    assert.is(await hostPortOf(node), hostPort);
    await node.restart();
    assert.is(await hostPortOf(node), hostPort);
    assert.is(await get("127.0.0.1", hostPort), "web-1");
  });

  test("leaves a port to the program of the host that took it before a restart", async () => {
    await using node = await aNode();
    node.assign(anAssignment("", { spec: httpd }));
    const hostPort = await hostPortOf(node);
    await using _listener = await aListener(hostPort);
    const { pid = 0 } = node.report("web-1") ?? {};
    process.kill(pid, "SIGKILL");
    const moved = await node.until("web-1", (report) => report.ready && report.pid !== pid);
    assert.is.not(moved.ports[0]?.hostPort, hostPort);
    assert.is(await firstLine(hostPort), "host");
  });

  test("makes bridge and table again when somebody removed them, without losing a port", async () => {
    await using node = await aNode();
    node.assign(anAssignment("", { spec: httpd }));
    const hostPort = await hostPortOf(node);
    execFileSync("nft", ["delete", "table", "inet", node.config.bridge]);
    await node.restart();
    assert.is(await get("127.0.0.1", await hostPortOf(node)), "web-1");
    assert.is(await hostPortOf(node), hostPort);
  });

  test("refuses a host port that a process of this node or a program of the host has", async () => {
    await using listener = await aListener();
    await using node = await aNode();
    const wants = (processId: string, hostPort: number) =>
      anAssignment("", { processId, spec: { ...httpd, ports: [{ ...port, hostPort }] } });
    node.assign(wants("web-1", 23_500), wants("web-2", 23_500), wants("web-3", listener.port));
    const refused = await Promise.race([
      node.until("web-1", ({ problem }) => problem !== undefined),
      node.until("web-2", ({ problem }) => problem !== undefined),
    ]);
    assert.is(refused.problem?.code, "PORT_TAKEN");
    const other = await node.until("web-3", ({ problem }) => problem !== undefined);
    assert.match(other.problem?.message ?? "", /held by another program of the host/);
  });

  test("lets containers reach each other, but no program of the host", async () => {
    await using listener = await aListener();
    await using node = await aNode();
    node.assign(anAssignment("", { spec: httpd }));
    const hostPort = await hostPortOf(node);
    const { address } = node.report("web-1") ?? {};
    await node.learn(aView([aService({ endpoints: [anOwnEndpoint(node.report("web-1"))] })]));
    const gateway = gatewayAddress(node.config.subnet);
    const ask = (host: string, on: number): string =>
      `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 ${host} ${on} | tail -n 1 | grep . || echo closed`;
    const script = [
      ask(address ?? "", 8080),
      ask(gateway, hostPort),
      ask(gateway, listener.port),
      ask("169.254.169.254", 80),
      "exit 0",
    ].join("; ");
    node.assign(
      anAssignment("", { spec: httpd }),
      anAssignment(script, { processId: "ask-1", spec: { stopGraceMs: 0 } }),
    );
    await node.until("ask-1", ({ lastExit }) => lastExit !== undefined);
    const lines = node
      .log("ask-1")
      .split("\n")
      .filter((line) => !line.startsWith("nc:"));
    assert.equal(lines.slice(0, 4), ["web-1", "web-1", "closed", "closed"]);
  });

  test("is not ready before its probe succeeds", async () => {
    await using node = await aNode();
    const { command: _, ...spec } = httpd;
    node.assign(
      anAssignment("sleep 600", { processId: "idle-1", spec }),
      anAssignment("", { spec: { ...httpd, health: { ...probe, kind: "tcp" } } }),
    );
    await node.until("web-1", ({ ready }) => ready);
    const idle = await node.until("idle-1", ({ state }) => state === "running");
    assert.not.ok(idle.ready);
  });

  test("counts what goes over a container's wire", async () => {
    await using node = await aNode();
    node.assign(anAssignment("", { spec: httpd }));
    const hostPort = await hostPortOf(node);
    for (let index = 0; index < 20; index += 1) await get("127.0.0.1", hostPort);
    const { metrics } = node.report("web-1") ?? {};
    assert.ok((metrics?.networkRxBytes ?? 0) > 2000);
    assert.ok((metrics?.networkTxBytes ?? 0) > 2000);
    assert.ok((metrics?.memoryBytes ?? 0) > 0);
    assert.ok((metrics?.cpuUsageUs ?? 0) > 0);
  });
});
