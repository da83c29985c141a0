import { execFileSync, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { seeOwnDevices } from "../../support/machine.ts";

const MARK = "STRATA_TEST_OWN_NETWORK";

/** Runs the suites of a test file in a network namespace of their own, by running the file again in one: what they
 * change of addresses, routes and settings concerns nobody else. `prepare` is shell that runs there first. */
export function inOwnNetwork(url: string, define: () => void, prepare = "true"): void {
  if (process.env[MARK] !== undefined) return define();
  const line = `ip link set lo up; ${prepare}; ${seeOwnDevices}`;
  const { status } = spawnSync(
    "unshare",
    ["--net", "--mount", "sh", "-ec", line, "sh", process.execPath, fileURLToPath(url)],
    { stdio: "inherit", env: { ...process.env, [MARK]: "1" } },
  );
  process.exitCode = status ?? 1;
}

/** Another machine, next to this one: a network namespace with one wire between them. */
export type Outsider = AsyncDisposable & {
  /** Of the other machine. */
  readonly address: string;
  readonly address6: string;
  /** Of this one, on the wire. */
  readonly ownAddress: string;
  readonly ownAddress6: string;
  /** Name of this end of the wire. */
  readonly wire: string;
  /** Runs shell there to its end, and gives what it wrote. */
  readonly shell: (line: string) => string;
  /** Serves HTTP on all addresses there, and answers with the address that asks. */
  readonly serve: (port: number) => Promise<void>;
};

export async function anOutsider(): Promise<Outsider> {
  const keeper = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec sleep infinity"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const started: number[] = [];
  const end = (): void => {
    for (const pid of [...started, keeper.pid ?? 0]) if (pid > 0) process.kill(pid, "SIGKILL");
  };
  await firstOutput(keeper.stdout);
  const pid = keeper.pid ?? 0;
  if (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync("/proc/self/ns/net")) {
    throw new Error("the other machine has this network");
  }
  const wire = `o${randomInt(0x1000000).toString(16)}`;
  const here = (line: string): string => execFileSync("sh", ["-ec", line], { encoding: "utf8" });
  const enter = ["-t", String(pid), "--net"];
  const shell = (line: string): string =>
    execFileSync("nsenter", [...enter, "sh", "-ec", line], { encoding: "utf8" });
  here(`ip link add ${wire} type veth peer name wire netns ${pid}
    ip address add 192.0.2.1/24 dev ${wire}; ip -6 address add 2001:db8::1/64 dev ${wire} nodad
    ip link set ${wire} up`);
  shell(`ip link set lo up
    ip address add 192.0.2.2/24 dev wire; ip -6 address add 2001:db8::2/64 dev wire nodad
    ip link set wire up; ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8::1`);

  return {
    address: "192.0.2.2",
    address6: "2001:db8::2",
    ownAddress: "192.0.2.1",
    ownAddress6: "2001:db8::1",
    wire,
    shell,
    serve: async (port) => {
      const program = `require("node:http")
        .createServer(({ socket }, response) => response.end(socket.remoteAddress))
        .listen(${port}, "::", () => console.log("ready"))`;
      const server = spawn("nsenter", [...enter, process.execPath, "-e", program], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      started.push(server.pid ?? 0);
      await firstOutput(server.stdout);
    },
    [Symbol.asyncDispose]: () => {
      end();
      return Promise.resolve();
    },
  };
}

async function firstOutput(stream: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of stream) return;
  throw new Error("ended before it was ready");
}

/** Shell that asks an HTTP server with busybox, and says `closed` when nothing answers within two seconds. */
export function askLine(address: string, port: number): string {
  const ask = `busybox nc -w 2 ${address} ${port} 2> /dev/null`;
  return `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | ${ask} | busybox tail -n 1 | busybox grep . || echo closed`;
}

/** What an HTTP server answers; `closed` when it does not within two seconds. */
export async function ask(address: string, port: number): Promise<string> {
  const host = address.includes(":") ? `[${address}]` : address;
  try {
    const signal = AbortSignal.timeout(2000);
    const response = await fetch(`http://${host}:${port}/`, { signal });
    return (await response.text()).trim();
  } catch {
    return "closed";
  }
}
