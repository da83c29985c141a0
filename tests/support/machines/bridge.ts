import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { aTemporaryDirectory } from "../temporary.ts";

/** A bridge of this machine on which others get addresses by DHCP; gone with its scope. */
export type Bridge = AsyncDisposable & {
  readonly name: string;
  /** Of this machine on it. */
  readonly address: string;
};

export function aBridge(): Bridge {
  const number = findFreeNumber();
  const name = `stbr${number}`;
  const network = `10.215.${number}`;
  const ip = (...args: readonly string[]) => execFileSync("ip", args);
  const undo = new AsyncDisposableStack();
  const folder = undo.use(aTemporaryDirectory());
  ip("link", "add", name, "type", "bridge");
  undo.defer(() => void ip("link", "delete", name));
  ip("address", "add", `${network}.1/24`, "dev", name);
  ip("link", "set", name, "up");
  const leases = `--dhcp-leasefile=${join(folder.path, "leases")}`;
  const options = [
    ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--port=0", leases],
    [`--interface=${name}`, "--bind-interfaces", "--except-interface=lo"],
    [`--dhcp-range=${network}.10,${network}.250,1h`, "--dhcp-authoritative"],
  ];
  const server = spawn("dnsmasq", options.flat(), { stdio: ["ignore", "ignore", "inherit"] });
  undo.defer(async () => {
    if (server.exitCode !== null) throw new Error(`dnsmasq ended with ${server.exitCode}`);
    server.kill("SIGTERM");
    await once(server, "exit");
  });
  return { name, address: `${network}.1`, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

function findFreeNumber(): number {
  const numbers = Array.from({ length: 256 }, (_, step) => (process.pid + step) % 256);
  const free = numbers.find((number) => !existsSync(`/sys/class/net/stbr${number}`));
  if (free === undefined) throw new Error("every network of 10.215.0.0/16 is taken");
  return free;
}
