import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";

import {
  type Counted,
  countConnections,
  countEstablished,
} from "@strata/agent/container/connections";
import { readUptimeMs } from "@strata/agent/container/metrics";

import { assert, suite } from "../../support/suite.ts";

suite("connections of a process", (test) => {
  test("counts the kernel's established ones to its own ports, and no others", async () => {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    // The cast: a server that listens on TCP has such an address.
    const { port } = server.address() as AddressInfo;
    const count = (...ports: readonly number[]): number =>
      countEstablished(readFileSync("/proc/self/net/tcp", "utf8"), new Set(ports));
    assert.is(count(port), 0, "one that listens is not established");
    const sockets = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    assert.is(count(port), 2, "the other ends have another port of their own");
    assert.is(count(port === 1 ? 2 : 1), 0);
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  test("are counted anew when sockets came or went, and after a second", async () => {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    // The cast: a server that listens on TCP has such an address.
    const { port } = server.address() as AddressInfo;
    const count = (uptimeMs: number, before?: Counted): Counted | undefined =>
      countConnections(process.pid, { ports: [port], uptimeMs, before });
    const client = connect(port, "127.0.0.1");
    await once(client, "connect");
    const first = count(0);
    assert.is(first?.connections, 1);
    assert.ok(first !== undefined && Number(first.sockets[0]) >= 3);
    const wrong = { ...first, connections: 99 };
    const soon = count(999, wrong);
    // Others of this machine may open and close sockets meanwhile.
    const isSame = soon?.sockets.join() === wrong.sockets.join();
    assert.is(soon?.connections, isSame ? 99 : 1);
    assert.is(count(1000, wrong)?.connections, 1);
    assert.is(count(1, { ...wrong, sockets: [0, 0] })?.connections, 1);
    client.destroy();
    server.close();
  });

  test("reads the lines of IPv6 as well", () => {
    const table = [
      "  sl  local_address                         remote_address                        st",
      "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000",
      "   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C350 01 00000000",
      "   2: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C351 06 00000000",
      "",
    ].join("\n");
    assert.is(countEstablished(table, new Set([8080])), 1);
  });

  test("the time since the boot only grows", () => {
    const before = readUptimeMs();
    assert.ok(before > 0);
    assert.ok(readUptimeMs() >= before);
  });
});
